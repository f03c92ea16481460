//! Which certificates are accepted, and that nothing is sent before.

use coriolis_ovm_exporter::operations::demo::manager::Identity;
use coriolis_ovm_exporter::ovm::manager::{Fingerprint, Manager, ManagerError, Resolver, Verdict};
use rcgen::{CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::PrivateKeyDer;

use super::{failure, legacy, login, names, pinning, with_ca};
use crate::support::manager::{Impostor, stand_in};

#[tokio::test]
async fn the_first_certificate_is_pinned_and_a_changed_one_refused_before_anything_is_sent() {
    for legacy_tls in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let (first, second) = (
            Identity::self_signed().unwrap(),
            Identity::self_signed().unwrap(),
        );
        let server = stand_in(first.clone()).await;
        let manager = legacy(pinning(&server.endpoint(), dir.path()), legacy_tls);
        assert_eq!(login(&manager).await.unwrap(), Verdict::Accepted);
        let pin_file = dir.path().join("manager.pins");
        let pins = std::fs::read_to_string(&pin_file).unwrap();
        let (old, new) = (
            Fingerprint::of(first.der()).to_string(),
            Fingerprint::of(second.der()).to_string(),
        );
        names(&pins, &[&format!("\n{} {old}\n", server.endpoint())]);

        server.show(second).unwrap();
        let (error, message) = failure(&manager).await;
        assert!(
            matches!(error, ManagerError::PinChanged { .. }),
            "{message}"
        );
        names(
            &message,
            &[
                &old,
                &new,
                pin_file.to_str().unwrap(),
                "delete",
                "ovm_ca_certificate",
            ],
        );
        assert_eq!(
            server.requests(),
            1,
            "the credentials went to the changed certificate"
        );
        assert_eq!(std::fs::read_to_string(&pin_file).unwrap(), pins);

        // The way out that the error names.
        std::fs::remove_file(&pin_file).unwrap();
        assert_eq!(login(&manager).await.unwrap(), Verdict::Accepted);
        names(&std::fs::read_to_string(&pin_file).unwrap(), &[&new]);
    }
}

#[tokio::test]
async fn a_broken_pin_file_stops_the_login_before_a_connection() {
    let dir = tempfile::tempdir().unwrap();
    let server = stand_in(Identity::self_signed().unwrap()).await;
    let pin_file = dir.path().join("manager.pins");
    for legacy_tls in [false, true] {
        std::fs::write(&pin_file, "").unwrap();
        let manager = legacy(pinning(&server.endpoint(), dir.path()), legacy_tls);
        let (error, message) = failure(&manager).await;
        assert!(matches!(error, ManagerError::PinFile { .. }));
        names(&message, &[pin_file.to_str().unwrap(), "corrupt"]);
        assert_eq!(std::fs::read(&pin_file).unwrap(), b"");
    }
    assert_eq!(server.connections(), 0);
}

#[tokio::test]
async fn a_pin_that_cannot_be_kept_stops_the_login_before_the_request() {
    let dir = tempfile::tempdir().unwrap();
    let server = stand_in(Identity::self_signed().unwrap()).await;
    let manager = pinning(&server.endpoint(), &dir.path().join("absent"));
    let (error, message) = failure(&manager).await;
    assert!(matches!(error, ManagerError::PinFile { .. }), "{message}");
    assert_eq!(server.requests(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_first_logins_at_once_agree_on_one_pin() {
    let dir = tempfile::tempdir().unwrap();
    let identity = Identity::self_signed().unwrap();
    let server = stand_in(identity.clone()).await;
    let manager = pinning(&server.endpoint(), dir.path());
    let logins: Vec<_> = (0..16)
        .map(|n| {
            let manager = legacy(manager.clone(), n % 2 == 0);
            tokio::spawn(async move { login(&manager).await })
        })
        .collect();
    for login in logins {
        assert_eq!(login.await.unwrap().unwrap(), Verdict::Accepted);
    }
    let pins = std::fs::read_to_string(dir.path().join("manager.pins")).unwrap();
    assert_eq!(
        pins.matches(&Fingerprint::of(identity.der()).to_string())
            .count(),
        1
    );
    assert_eq!(
        pins.lines()
            .filter(|line| line.starts_with("https://"))
            .count(),
        1
    );
}

#[tokio::test]
async fn a_certificate_shown_without_its_key_is_worth_nothing() {
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        for legacy_tls in [false, true] {
            let dir = tempfile::tempdir().unwrap();
            let identity = Identity::self_signed().unwrap();
            let impostor = Impostor::with_certificate_of(identity.der(), &[version]).await;
            let endpoint = format!("https://{}", impostor.address);

            let manager = legacy(pinning(&endpoint, dir.path()), legacy_tls);
            let (_, message) = failure(&manager).await;
            names(&message, &["ignature"]);
            assert!(
                !dir.path().join("manager.pins").exists(),
                "pinned without proof of the key"
            );

            // Neither does it pass as the pinned certificate, nor as the one of the CA file.
            let pins = format!(
                "# Certificates of Oracle VM Managers, pinned at the first login (version 1).\n{endpoint} {}\n",
                Fingerprint::of(identity.der())
            );
            std::fs::write(dir.path().join("manager.pins"), pins).unwrap();
            failure(&manager).await;
            failure(&legacy(
                with_ca(&endpoint, dir.path(), identity.pem()),
                legacy_tls,
            ))
            .await;
            assert_eq!(impostor.requests(), 0);
        }
    }
}

/// A CA and what it signs.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Authority {
    fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params
            .distinguished_name
            .push(rcgen::DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self {
            issuer: Issuer::new(params, key),
            pem,
        }
    }

    fn issue(&self, names: &[&str]) -> Identity {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let key = KeyPair::generate().unwrap();
        let leaf = CertificateParams::new(names)
            .unwrap()
            .signed_by(&key, &self.issuer)
            .unwrap();
        let der = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        Identity::new(vec![leaf.der().clone()], der, leaf.pem())
    }
}

#[tokio::test]
async fn a_ca_vouches_for_its_certificates_under_their_names_only() {
    let dir = tempfile::tempdir().unwrap();
    let hosts_file = dir.path().join("hosts");
    std::fs::write(&hosts_file, "127.0.0.1 manager.test other.test\n").unwrap();
    let resolver = Resolver {
        hosts_file,
        resolver_file: dir.path().join("absent"),
    };
    let (ours, theirs) = (Authority::new("Our CA"), Authority::new("Their CA"));
    let server = stand_in(ours.issue(&["manager.test", "127.0.0.1"])).await;
    let port = server.address().port();
    let ask = |host: &str, pem: &str, legacy_tls| Manager {
        resolver: resolver.clone(),
        legacy_tls,
        ..with_ca(&format!("https://{host}:{port}"), dir.path(), pem)
    };
    for legacy_tls in [false, true] {
        let before = server.requests();
        for host in ["manager.test", "127.0.0.1"] {
            let manager = ask(host, &ours.pem, legacy_tls);
            assert_eq!(login(&manager).await.unwrap(), Verdict::Accepted, "{host}");
            // A file with several certificates trusts each of them.
            let manager = ask(host, &format!("{}{}", theirs.pem, ours.pem), legacy_tls);
            assert_eq!(login(&manager).await.unwrap(), Verdict::Accepted, "{host}");
        }
        assert_eq!(server.requests(), before + 4);
        for (host, pem) in [
            ("other.test", &ours.pem),
            ("localhost", &ours.pem),
            ("manager.test", &theirs.pem),
        ] {
            let (error, message) = failure(&ask(host, pem, legacy_tls)).await;
            assert!(matches!(error, ManagerError::Untrusted { .. }), "{message}");
            names(&message, &["ca.pem", "ovm_ca_certificate", host]);
        }
        assert_eq!(server.requests(), before + 4);
    }
}

#[tokio::test]
async fn the_managers_own_certificate_can_be_given_as_the_ca() {
    let dir = tempfile::tempdir().unwrap();
    let mut params = CertificateParams::new(vec!["somebody-else.test".to_owned()]).unwrap();
    params.not_before = rcgen::date_time_ymd(2013, 1, 1);
    params.not_after = rcgen::date_time_ymd(2014, 1, 1);
    let key = KeyPair::generate().unwrap();
    let certificate = params.self_signed(&key).unwrap();
    let der = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    // Neither its name nor its dates fit: the admin named this very certificate.
    let expired = Identity::new(vec![certificate.der().clone()], der, certificate.pem());
    for identity in [Identity::self_signed().unwrap(), expired] {
        let server = stand_in(identity.clone()).await;
        for legacy_tls in [false, true] {
            let manager = legacy(
                with_ca(&server.endpoint(), dir.path(), identity.pem()),
                legacy_tls,
            );
            assert_eq!(login(&manager).await.unwrap(), Verdict::Accepted);
        }
        let seen = server.requests();
        server.show(Identity::self_signed().unwrap()).unwrap();
        for legacy_tls in [false, true] {
            let manager = legacy(
                with_ca(&server.endpoint(), dir.path(), identity.pem()),
                legacy_tls,
            );
            let (error, message) = failure(&manager).await;
            assert!(matches!(error, ManagerError::Untrusted { .. }), "{message}");
        }
        assert_eq!(server.requests(), seen);
    }
}

#[tokio::test]
async fn a_ca_file_that_cannot_be_used_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let server = stand_in(Identity::self_signed().unwrap()).await;
    for content in [
        "",
        "not PEM",
        "-----BEGIN CERTIFICATE-----\n!!!\n-----END CERTIFICATE-----\n",
    ] {
        let (error, message) = failure(&with_ca(&server.endpoint(), dir.path(), content)).await;
        assert!(matches!(error, ManagerError::CaFile { .. }));
        names(&message, &["ovm_ca_certificate", "ca.pem"]);
    }
    let manager = with_ca(&server.endpoint(), dir.path(), "");
    std::fs::remove_file(dir.path().join("ca.pem")).unwrap();
    names(&failure(&manager).await.1, &["ca.pem", "No such file"]);
    // PEM around bytes that are no certificate: trusted by nobody, with either library.
    let nonsense = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    for legacy_tls in [false, true] {
        failure(&legacy(
            with_ca(&server.endpoint(), dir.path(), nonsense),
            legacy_tls,
        ))
        .await;
    }
    assert_eq!(server.requests(), 0);
}
