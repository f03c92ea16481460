//! TLS, client certificates, tokens.

use std::fs;
use std::net::TcpStream;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use coriolis_ovm_exporter::server::tokens::ISSUER;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use openssl::ssl::{SslConnector, SslMethod, SslVerifyMode, SslVersion};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::api::Api;
use crate::support::node::{TestNode, USER};

/// A handshake with one version and those ciphers, as an old client might offer them.
fn handshake(node: &TestNode, version: SslVersion, ciphers: &str) -> Result<String, String> {
    let mut builder = SslConnector::builder(SslMethod::tls_client()).unwrap();
    builder.set_security_level(0);
    builder.set_verify(SslVerifyMode::NONE);
    builder.set_min_proto_version(Some(version)).unwrap();
    builder.set_max_proto_version(Some(version)).unwrap();
    builder
        .set_cipher_list(&format!("{ciphers}:@SECLEVEL=0"))
        .unwrap();
    let tcp = TcpStream::connect(node.address()).unwrap();
    let stream = builder.build().connect("localhost", tcp);
    let stream = stream.map_err(|error| error.to_string())?;
    let cipher = stream.ssl().current_cipher().unwrap().name();
    Ok(cipher.to_owned())
}

/// More: `listener::tls`, with RSA keys as well.
#[tokio::test(flavor = "multi_thread")]
async fn tls_1_0_and_1_1_and_cbc_and_static_rsa_are_accepted() {
    let node = TestNode::new(&[]).await;
    tokio::task::block_in_place(|| {
        for (version, ciphers) in [
            (SslVersion::TLS1, "ALL"),
            (SslVersion::TLS1_1, "ALL"),
            (
                SslVersion::TLS1_2,
                "ECDHE-ECDSA-AES128-SHA:ECDHE-ECDSA-AES256-SHA384",
            ),
            (
                SslVersion::TLS1_2,
                "ECDHE-RSA-AES128-SHA256:AES128-SHA:DES-CBC3-SHA",
            ),
            (SslVersion::TLS1_2, "AES128-GCM-SHA256:AES256-GCM-SHA384"),
        ] {
            let result = handshake(&node, version, ciphers);
            assert!(result.is_err(), "{version:?} {ciphers}: {result:?}");
        }
        let good = "ECDHE-ECDSA-AES128-GCM-SHA256";
        assert_eq!(handshake(&node, SslVersion::TLS1_2, good).unwrap(), good);
        handshake(&node, SslVersion::TLS1_3, "ALL").unwrap();
    });
}

/// More: `listener::tls::a_client_certificate_is_required_where_configured`.
#[tokio::test(flavor = "multi_thread")]
async fn client_certificates_are_never_asked_for() {
    let mut node = TestNode::prepare(&[], "").await;
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let [ours, theirs] = [(); 2].map(|()| {
        CertifiedIssuer::self_signed(params.clone(), KeyPair::generate().unwrap()).unwrap()
    });
    let authority = node.path("clients.pem");
    fs::write(&authority, ours.pem()).unwrap();
    let path = node.path("config.toml");
    let config = fs::read_to_string(&path).unwrap();
    let more =
        format!("[api.tls]\nca_certificate = {authority:?}\nrequire_client_certificate = true\n");
    fs::write(&path, config.replace("[api.tls]\n", &more)).unwrap();
    node.start();
    let client = |issuer: Option<&CertifiedIssuer<'static, KeyPair>>| {
        let root = reqwest::Certificate::from_pem(node.authority.as_bytes()).unwrap();
        let mut builder = reqwest::Client::builder().tls_certs_only([root]);
        if let Some(issuer) = issuer {
            let key = KeyPair::generate().unwrap();
            let params = CertificateParams::new(vec!["client".to_owned()]).unwrap();
            let certificate = params.signed_by(&key, issuer).unwrap();
            let pem = format!("{}{}", certificate.pem(), key.serialize_pem());
            builder = builder.identity(reqwest::Identity::from_pem(pem.as_bytes()).unwrap());
        }
        let url = format!("{}/api/v1/vms", node.endpoint());
        builder.build().unwrap().get(url).send()
    };
    assert!(client(None).await.is_err(), "none");
    assert!(client(Some(&theirs)).await.is_err(), "another authority's");
    // Past the handshake a token is needed all the same.
    assert_eq!(client(Some(&ours)).await.unwrap().status(), 401);
}

const SECRET: &str = "0123456789 a secret that only tests know 0123456789";

fn signed(algorithm: Algorithm, claims: &Value, secret: &str) -> String {
    let key = EncodingKey::from_secret(secret.as_bytes());
    jsonwebtoken::encode(&Header::new(algorithm), claims, &key).unwrap()
}

/// More: the tests of `server::tokens`.
#[tokio::test(flavor = "multi_thread")]
async fn tokens_of_any_algorithm_claims_and_scheme_are_accepted() {
    let node = TestNode::with_config(&[], &format!("[jwt]\nsecret = {SECRET:?}\n")).await;
    let api = Api::of(&node).await;
    let now = jiff::Timestamp::now().as_second();
    let good = json!({"user": USER, "exp": now + 60, "iss": ISSUER});
    let hs256 = |claims: &Value| signed(Algorithm::HS256, claims, SECRET);
    let without = |claim: &str| {
        let mut claims = good.clone();
        claims.as_object_mut().unwrap().remove(claim);
        hs256(&claims)
    };
    let with = |claim: &str, value: Value| {
        let mut claims = good.clone();
        claims[claim] = value;
        hs256(&claims)
    };
    let unsigned = |algorithm: &str| {
        let header = json!({"alg": algorithm, "typ": "JWT"}).to_string();
        let [header, claims] = [header, good.to_string()].map(|part| URL_SAFE_NO_PAD.encode(part));
        format!("{header}.{claims}.")
    };
    let ask = async |authorization: String| {
        let headers = [("authorization", authorization.as_str())];
        api.send(Method::GET, "/vms", &headers).await.status
    };
    let fine = hs256(&good);
    assert_eq!(ask(format!("Bearer {fine}")).await, 200);
    for (what, token) in [
        ("HS384", signed(Algorithm::HS384, &good, SECRET)),
        ("HS512", signed(Algorithm::HS512, &good, SECRET)),
        ("none", unsigned("none")),
        ("None", unsigned("None")),
        ("HS256 without a signature", unsigned("HS256")),
        ("another secret", signed(Algorithm::HS256, &good, "wrong")),
        ("no exp", without("exp")),
        ("no iss", without("iss")),
        ("no user", without("user")),
        ("an old exp", with("exp", json!(now - 1))),
        ("exp as text", with("exp", json!((now + 60).to_string()))),
        ("another iss", with("iss", json!("somebody"))),
        ("an empty user", with("user", json!(""))),
        ("a user that is no text", with("user", json!(1))),
        ("no claims", hs256(&json!({}))),
        ("a list", hs256(&json!([]))),
    ] {
        assert_eq!(ask(format!("Bearer {token}")).await, 401, "{what}");
    }
    for scheme in ["Basic", "Token", "JWT", "Digest", "Bearerx", ""] {
        assert_eq!(ask(format!("{scheme} {fine}")).await, 401, "{scheme}");
    }
    assert!(!node.log().contains(SECRET) && !node.log().contains(&fine));
}

/// The sample secret of the documentation is known to everybody.
#[tokio::test(flavor = "multi_thread")]
async fn the_public_sample_secret_signs_tokens() {
    let sample = "yoidthOcBauphFeykCotdidNorjAnAtGhonsabShegAtfexbavlyakPak4SletEd";
    let node = TestNode::with_config(&[], &format!("[jwt]\nsecret = {sample:?}\n")).await;
    let api = Api::of(&node).await;
    let exp = jiff::Timestamp::now().as_second() + 60;
    let claims = json!({"user": USER, "exp": exp, "iss": ISSUER});
    let forged = format!("Bearer {}", signed(Algorithm::HS256, &claims, sample));
    let headers = [("authorization", forged.as_str())];
    let answer = api.send(Method::GET, "/vms", &headers).await;
    answer.error(401);
    assert!(node.log().contains("WARN"), "it is said");
}
