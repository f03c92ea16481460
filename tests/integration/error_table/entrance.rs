//! Who is not let in: tokens and logins.

use std::net::{Ipv4Addr, SocketAddr};

use coriolis_ovm_exporter::operations::demo::manager::{Behaviour, Identity, StandInManager};
use coriolis_ovm_exporter::server::tokens::ISSUER;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use reqwest::Method;
use serde_json::json;

use super::{SECRET, Scene};
use crate::support::api::{Answer, Api};
use crate::support::node::{PASSWORD, TestNode, USER};

#[track_caller]
fn assert_no_token(answer: &Answer) {
    let said = answer.error(401);
    let expected = ("Authentication failed", "Invalid authentication token");
    assert_eq!((said.0.as_str(), said.1.as_str()), expected);
    assert_eq!(answer.header("www-authenticate"), "Bearer");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_good_token_nothing_is_answered() {
    let scene = Scene::set().await;
    let now = jiff::Timestamp::now().as_second();
    let expired = json!({"user": USER, "exp": now - 5, "iss": ISSUER});
    let key = EncodingKey::from_secret(SECRET.as_bytes());
    let expired = jsonwebtoken::encode(&Header::new(Algorithm::HS256), &expired, &key).unwrap();
    let good = scene.api.token.clone();
    let half = &good[..good.len() / 2];
    let cases = [
        String::new(),
        "Bearer".to_owned(),
        "Bearer ".to_owned(),
        "Bearer nonsense".to_owned(),
        "Bearer a.b.c".to_owned(),
        format!("Bearer {half}"),
        format!("Bearer {good}x"),
        format!("Bearer {expired}"),
        format!("Basic {good}"),
        format!("Token {good}"),
        format!("JWT {good}"),
        good.clone(),
        format!("Bearer {}", "x".repeat(10_000)),
    ];
    for authorization in &cases {
        let headers = [("authorization", authorization.as_str())];
        let answer = scene.api.send(Method::GET, "/vms", &headers).await;
        assert_no_token(&answer);
    }
    let snapshots = format!("/vms/{}/snapshots", scene.vm.id);
    for (method, path) in [
        (Method::GET, "/node".to_owned()),
        (Method::GET, "/vms".to_owned()),
        (Method::GET, format!("/vms/{}", scene.vm.id)),
        (Method::GET, "/vms/unknown".to_owned()),
        (Method::GET, snapshots.clone()),
        (Method::POST, snapshots.clone()),
        (Method::DELETE, snapshots),
        (Method::GET, scene.path(&scene.first)),
        (Method::DELETE, scene.path(&scene.first)),
        (Method::GET, scene.disk(&scene.first)),
    ] {
        for slash in ["", "/"] {
            let path = format!("{path}{slash}");
            let headers = [("authorization", cases[3].as_str())];
            assert_no_token(&scene.api.send(method.clone(), &path, &headers).await);
        }
    }
    let head = [("authorization", "Bearer nonsense")];
    let answer = scene
        .api
        .send(Method::HEAD, &scene.disk(&scene.first), &head)
        .await;
    assert_eq!(answer.status, 401);
    // Nothing was done for them, and the good token is still good.
    let listed = scene
        .api
        .json(&format!("/vms/{}/snapshots", scene.vm.id))
        .await;
    assert_eq!(listed.as_array().unwrap().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_credentials_are_not_authorized() {
    let node = TestNode::with_config(&[], "[api.login]\nmax_failures = 100\n").await;
    let api = Api::of(&node).await;
    for (user, password) in [
        (USER, "wrong"),
        ("nobody", PASSWORD),
        (USER, ""),
        ("", PASSWORD),
        ("", ""),
        ("a:b", PASSWORD),
    ] {
        let answer = api.login(user, password).await;
        let (error, details) = answer.error(401);
        assert_eq!(error, "Not Authorized");
        assert!(!details.contains(PASSWORD), "{details}");
    }
    assert_eq!(api.login(USER, PASSWORD).await.status, 200);
    assert!(
        !node.log().contains(PASSWORD),
        "the log holds the password: {}",
        node.log()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_that_is_no_json_object_is_a_bad_request() {
    let node = TestNode::new(&[]).await;
    let api = Api::of(&node).await;
    let asked = node.manager.requests();
    for body in [
        "",
        "   ",
        "not JSON",
        "{",
        "[]",
        r#"["admin", "correct horse"]"#,
        r#"[{"username": "admin", "password": "correct horse"}]"#,
        "null",
        "1",
        r#""admin""#,
        "{}",
        r#"{"username": "admin"}"#,
        r#"{"password": "correct horse"}"#,
        r#"{"username": 1, "password": "correct horse"}"#,
        r#"{"username": "admin", "password": ["correct horse"]}"#,
        r#"{"username": "admin", "password": null}"#,
        "username=admin&password=correct+horse",
        "{\"username\": \"\u{0}",
    ] {
        let (error, details) = api.login_with(body).await.error(400);
        assert_eq!(error, "Bad Request", "{body}");
        assert!(!details.contains("horse"), "{details}");
    }
    let bytes = vec![0xff_u8, 0xfe, b'{'];
    assert_eq!(api.login_with(bytes).await.error(400).0, "Bad Request");
    assert_eq!(node.manager.requests(), asked, "the manager was not asked");
    // More than is needed does no harm.
    let more = format!(r#" {{"username": "{USER}", "x": [1], "password": "{PASSWORD}"}}"#);
    assert_eq!(api.login_with(more).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manager_that_is_down_or_odd_is_a_bad_gateway() {
    let mut node = TestNode::new(&[]).await;
    let api = Api::of(&node).await;
    for behaviour in [
        Behaviour::Status(500),
        Behaviour::Status(503),
        Behaviour::Status(302),
        Behaviour::WebPage,
    ] {
        node.manager.behave(behaviour.clone());
        let (error, details) = api.login(USER, PASSWORD).await.error(502);
        assert_eq!(error, "Bad Gateway", "{behaviour:?}: {details}");
    }
    node.manager.behave(Behaviour::Honest);
    assert_eq!(api.login(USER, PASSWORD).await.status, 200);
    let elsewhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let gone = node.manager.address();
    let identity = Identity::self_signed().unwrap();
    node.manager = StandInManager::start(elsewhere, USER, PASSWORD, Vec::new(), identity)
        .await
        .unwrap();
    let (error, details) = api.login(USER, PASSWORD).await.error(502);
    assert_eq!(error, "Bad Gateway");
    assert!(details.contains(&gone.port().to_string()), "{details}");
    assert_eq!(api.get("/vms").await.status, 200, "tokens need no manager");
}
