//! Managers of 2013: refused with what they speak and what to do, allowed by the opt-in key.

use coriolis_ovm_exporter::ovm::manager::{Fingerprint, ManagerError, Verdict};
use openssl::hash::MessageDigest;
use openssl::ssl::SslVersion;

use super::{failure, legacy, login, names, pinning, with_ca};
use crate::support::manager::{OldIdentity, OldManager, USER};

/// One kind of old manager, and what the refusal must name.
struct Old {
    version: SslVersion,
    ciphers: &'static str,
    identity: OldIdentity,
    named: &'static [&'static str],
}

fn rsa_2048() -> OldIdentity {
    OldIdentity::self_signed(2048, 3, MessageDigest::sha256())
}

fn cbc_only() -> Old {
    Old {
        version: SslVersion::TLS1_2,
        ciphers: "ECDHE-RSA-AES128-SHA",
        identity: rsa_2048(),
        named: &[
            "TLSv1.2",
            "ECDHE-RSA-AES128-SHA is not an AEAD cipher",
            "RSA key of 2048 bits",
        ],
    }
}

fn static_rsa() -> Old {
    Old {
        version: SslVersion::TLS1_2,
        ciphers: "AES128-SHA",
        identity: rsa_2048(),
        named: &[
            "TLSv1.2",
            "AES128-SHA is not an AEAD cipher",
            "key exchange is not ECDHE",
        ],
    }
}

fn rsa_1024_v1() -> Old {
    Old {
        version: SslVersion::TLS1_2,
        ciphers: "ECDHE-RSA-AES128-GCM-SHA256",
        identity: OldIdentity::self_signed(1024, 1, MessageDigest::sha1()),
        named: &[
            "TLSv1.2",
            "X.509 v1",
            "RSA of 1024 bits is too short",
            "signed with sha1WithRSAEncryption",
        ],
    }
}

fn rsa_1024_v3() -> Old {
    Old {
        identity: OldIdentity::self_signed(1024, 3, MessageDigest::sha1()),
        named: &["X.509 v3", "RSA of 1024 bits is too short"],
        ..rsa_1024_v1()
    }
}

fn tls_1_1() -> Old {
    Old {
        version: SslVersion::TLS1_1,
        named: &["TLSv1.1 is too old"],
        ..tls_1_0()
    }
}

fn tls_1_0() -> Old {
    Old {
        version: SslVersion::TLS1,
        ciphers: "ECDHE-RSA-AES256-SHA:AES128-SHA",
        identity: rsa_2048(),
        named: &["TLSv1 is too old", "ECDHE-RSA-AES256-SHA"],
    }
}

/// Everything at once, as far from today as it gets.
fn oldest() -> Old {
    Old {
        version: SslVersion::TLS1,
        ciphers: "AES128-SHA",
        identity: OldIdentity::self_signed(1024, 1, MessageDigest::sha1()),
        named: &["TLSv1 is too old", "AES128-SHA", "X.509 v1", "1024 bits"],
    }
}

/// Refused without the key: named, nothing sent, nothing pinned. Allowed with it: pinned by the
/// bytes, right and wrong passwords told apart, a changed certificate refused.
async fn refused_then_allowed(old: Old) {
    let dir = tempfile::tempdir().unwrap();
    let pin_file = dir.path().join("manager.pins");
    let server = OldManager::start(old.version, old.ciphers, &old.identity).await;
    let manager = pinning(&server.endpoint(), dir.path());

    let (error, message) = failure(&manager).await;
    assert!(matches!(error, ManagerError::OldTls { .. }), "{message}");
    names(&message, old.named);
    names(
        &message,
        &["ovm_legacy_tls = true", "Upgrade", &server.endpoint()],
    );
    assert_eq!(
        server.requests(),
        0,
        "something was sent over a refused connection"
    );
    assert!(!pin_file.exists(), "the diagnosis pinned a certificate");

    let manager = legacy(manager, true);
    assert_eq!(login(&manager).await.unwrap(), Verdict::Accepted);
    assert_eq!(
        manager.check_credentials(USER, "wrong").await.unwrap(),
        Verdict::Refused
    );
    assert_eq!(server.requests(), 2);
    let der = old.identity.certificate.to_der().unwrap();
    let pins = std::fs::read_to_string(&pin_file).unwrap();
    names(&pins, &[&Fingerprint::of(&der).to_string()]);

    // Another certificate behind the same pin: refused, and nothing sent.
    let other = Fingerprint::of(b"another").to_string();
    std::fs::write(
        &pin_file,
        pins.replace(&Fingerprint::of(&der).to_string(), &other),
    )
    .unwrap();
    let (error, message) = failure(&manager).await;
    assert!(
        matches!(error, ManagerError::PinChanged { .. }),
        "{message}"
    );
    names(&message, &[&other, &Fingerprint::of(&der).to_string()]);
    assert_eq!(server.requests(), 2);

    // The certificate itself as `ovm_ca_certificate`: allowed; any other one: refused.
    let pem = String::from_utf8(old.identity.certificate.to_pem().unwrap()).unwrap();
    let manager = legacy(with_ca(&server.endpoint(), dir.path(), &pem), true);
    assert_eq!(login(&manager).await.unwrap(), Verdict::Accepted);
    let stranger = OldIdentity::self_signed(1024, 1, MessageDigest::sha1());
    let pem = String::from_utf8(stranger.certificate.to_pem().unwrap()).unwrap();
    let manager = legacy(with_ca(&server.endpoint(), dir.path(), &pem), true);
    let (error, message) = failure(&manager).await;
    assert!(matches!(error, ManagerError::Untrusted { .. }), "{message}");
    assert_eq!(server.requests(), 3);
}

#[tokio::test]
async fn tls_1_2_with_cbc_only() {
    refused_then_allowed(cbc_only()).await;
}

#[tokio::test]
async fn tls_1_2_with_static_rsa() {
    refused_then_allowed(static_rsa()).await;
}

#[tokio::test]
async fn an_rsa_1024_certificate_of_x509_v1_signed_with_sha_1() {
    refused_then_allowed(rsa_1024_v1()).await;
}

#[tokio::test]
async fn an_rsa_1024_certificate_of_x509_v3() {
    refused_then_allowed(rsa_1024_v3()).await;
}

#[tokio::test]
async fn tls_1_1_only() {
    refused_then_allowed(tls_1_1()).await;
}

#[tokio::test]
async fn tls_1_0_only() {
    refused_then_allowed(tls_1_0()).await;
}

#[tokio::test]
async fn tls_1_0_with_static_rsa_and_the_oldest_certificate() {
    refused_then_allowed(oldest()).await;
}

#[tokio::test]
async fn ciphers_without_a_certificate_are_refused_even_with_the_key() {
    let dir = tempfile::tempdir().unwrap();
    let server =
        OldManager::start(SslVersion::TLS1_2, "AECDH-AES128-SHA:NULL-SHA", &rsa_2048()).await;
    for legacy_tls in [false, true] {
        let manager = legacy(pinning(&server.endpoint(), dir.path()), legacy_tls);
        let (error, message) = failure(&manager).await;
        assert!(matches!(error, ManagerError::Handshake { .. }), "{message}");
    }
    assert_eq!(server.requests(), 0);
}

#[tokio::test]
async fn a_sha_1_certificate_with_modern_tls_needs_no_key_when_pinned() {
    let dir = tempfile::tempdir().unwrap();
    let identity = OldIdentity::self_signed(2048, 3, MessageDigest::sha1());
    let server =
        OldManager::start(SslVersion::TLS1_2, "ECDHE-RSA-AES128-GCM-SHA256", &identity).await;
    let manager = pinning(&server.endpoint(), dir.path());
    assert_eq!(login(&manager).await.unwrap(), Verdict::Accepted);
}

#[tokio::test]
async fn an_old_manager_signed_by_a_ca_is_checked_by_name_too() {
    let dir = tempfile::tempdir().unwrap();
    let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    params
        .distinguished_name
        .push(rcgen::DnType::CommonName, "Some CA");
    let ca_key = rcgen::KeyPair::generate().unwrap();
    let ca = params.self_signed(&ca_key).unwrap().pem();
    let issuer = rcgen::Issuer::new(params, ca_key);
    for (name, accepted) in [
        ("127.0.0.1", true),
        ("localhost", false),
        ("127.0.0.2", false),
    ] {
        let key = rcgen::KeyPair::generate().unwrap();
        let leaf = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap();
        let leaf = leaf.signed_by(&key, &issuer).unwrap();
        let identity = OldIdentity::from_pem(&leaf.pem(), &key.serialize_pem());
        let server = OldManager::start(SslVersion::TLS1, "ECDHE-ECDSA-AES128-SHA", &identity).await;
        let manager = legacy(with_ca(&server.endpoint(), dir.path(), &ca), true);
        if accepted {
            assert_eq!(login(&manager).await.unwrap(), Verdict::Accepted);
        } else {
            let (error, message) = failure(&manager).await;
            assert!(matches!(error, ManagerError::Untrusted { .. }), "{message}");
            assert_eq!(server.requests(), 0);
        }
    }
}
