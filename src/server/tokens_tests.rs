//! Only our own tokens pass: each way in which others do not.

use super::*;
use serde_json::{Value, json};

const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";
const WEEK: Duration = Duration::from_secs(7 * 24 * 3600);

fn issuer() -> TokenIssuer {
    TokenIssuer::new(SECRET, WEEK)
}

fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs()
}

fn sign(algorithm: Algorithm, secret: &[u8], claims: &Value) -> String {
    jsonwebtoken::encode(
        &Header::new(algorithm),
        claims,
        &EncodingKey::from_secret(secret),
    )
    .unwrap()
}

fn good_claims() -> Value {
    json!({"user": "admin", "exp": now() + 60, "iss": ISSUER})
}

fn header(value: &str) -> HeaderValue {
    HeaderValue::from_str(value).unwrap()
}

#[test]
fn a_token_comes_back_as_it_was_issued() {
    let issuer = issuer();
    let before = now();
    let token = issuer.issue("admin").unwrap();
    let claims = issuer
        .verify(Some(&header(&format!("Bearer {token}"))))
        .unwrap();
    assert_eq!(claims.user, "admin");
    assert_eq!(claims.iss, ISSUER);
    assert!((before..=now()).contains(&(claims.exp - WEEK.as_secs())));
}

#[test]
fn its_claims_are_exactly_the_three() {
    let token = issuer().issue("admin").unwrap();
    let claims: Value = jsonwebtoken::dangerous::insecure_decode::<Value>(&token)
        .unwrap()
        .claims;
    let mut names: Vec<_> = claims.as_object().unwrap().keys().cloned().collect();
    names.sort();
    assert_eq!(names, ["exp", "iss", "user"]);
}

#[test]
fn the_scheme_is_bearer_in_any_case_with_any_number_of_spaces() {
    let issuer = issuer();
    let token = issuer.issue("admin").unwrap();
    for scheme in ["Bearer ", "bearer ", "BEARER   "] {
        let value = header(&format!("{scheme}{token}"));
        assert!(issuer.verify(Some(&value)).is_ok(), "{scheme:?}");
    }
    for wrong in ["JWT ", "Token ", "Basic ", "Bearer,", "Bearerx ", ""] {
        let value = header(&format!("{wrong}{token}"));
        assert_eq!(
            issuer.verify(Some(&value)),
            Err(TokenError::NotBearer),
            "{wrong:?}"
        );
    }
    assert_eq!(issuer.verify(None), Err(TokenError::Missing));
}

#[test]
fn other_algorithms_are_refused_even_with_our_secret() {
    for algorithm in [Algorithm::HS384, Algorithm::HS512] {
        let token = sign(algorithm, SECRET, &good_claims());
        assert_eq!(
            issuer().verify_token(&token),
            Err(TokenError::WrongAlgorithm),
            "{algorithm:?}"
        );
    }
    // {"alg":"none","typ":"JWT"} with an empty signature.
    let signed = sign(Algorithm::HS256, SECRET, &good_claims());
    let body = signed.split('.').nth(1).unwrap();
    let none = format!("eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.{body}.");
    assert!(issuer().verify_token(&none).is_err());
}

#[test]
fn each_claim_is_required_and_typed() {
    let issuer = issuer();
    for name in ["user", "exp", "iss"] {
        let mut claims = good_claims();
        claims.as_object_mut().unwrap().remove(name);
        let token = sign(Algorithm::HS256, SECRET, &claims);
        assert!(issuer.verify_token(&token).is_err(), "without {name}");
        for wrong in [json!(null), json!([1]), json!(true), json!("")] {
            let mut claims = good_claims();
            claims[name] = wrong.clone();
            let token = sign(Algorithm::HS256, SECRET, &claims);
            assert!(issuer.verify_token(&token).is_err(), "{name} = {wrong}");
        }
    }
    let token = sign(Algorithm::HS256, SECRET, &good_claims());
    assert!(issuer.verify_token(&token).is_ok(), "the same, untouched");
}

#[test]
fn expired_foreign_and_forged_tokens_are_told_apart_in_the_log() {
    let issuer = issuer();
    let mut claims = good_claims();
    claims["exp"] = json!(now() - 2);
    assert_eq!(
        issuer.verify_token(&sign(Algorithm::HS256, SECRET, &claims)),
        Err(TokenError::Expired)
    );
    let mut claims = good_claims();
    claims["iss"] = json!("somebody");
    assert_eq!(
        issuer.verify_token(&sign(Algorithm::HS256, SECRET, &claims)),
        Err(TokenError::WrongIssuer)
    );
    assert_eq!(
        issuer.verify_token(&sign(Algorithm::HS256, b"another", &good_claims())),
        Err(TokenError::WrongSignature)
    );
}

#[test]
fn a_changed_byte_anywhere_is_refused() {
    let issuer = issuer();
    let token = issuer.issue("admin").unwrap();
    // The last character of a part carries unused bits, so change the first and a middle one.
    for (start, part) in [(0, 0), (token.find('.').unwrap() + 1, 1)] {
        for offset in [start, start + 3] {
            let mut bytes = token.clone().into_bytes();
            bytes[offset] = if bytes[offset] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(bytes).unwrap();
            assert!(
                issuer.verify_token(&changed).is_err(),
                "part {part} at {offset}"
            );
        }
    }
}

#[test]
fn long_headers_and_rubbish_are_refused() {
    let issuer = issuer();
    let long = header(&format!("Bearer {}", "a".repeat(MAX_HEADER_BYTES)));
    assert_eq!(issuer.verify(Some(&long)), Err(TokenError::TooLong));
    for rubbish in [
        "Bearer ",
        "Bearer a",
        "Bearer a.b.c",
        "Bearer ...",
        "Bearer",
    ] {
        assert!(issuer.verify(Some(&header(rubbish))).is_err(), "{rubbish}");
    }
    let binary = HeaderValue::from_bytes(b"Bearer \xff\xfe").unwrap();
    assert_eq!(issuer.verify(Some(&binary)), Err(TokenError::Malformed));
}

#[test]
fn debug_shows_no_secret() {
    let shown = format!("{:?}", issuer());
    assert!(shown.contains("not shown"));
    assert!(!shown.contains("0123456789"), "{shown}");
    assert!(!shown.contains("48, 49"), "{shown}");
}
