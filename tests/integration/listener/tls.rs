//! Protocols, ciphers, client certificates, and a certificate replaced under load.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use openssl::ssl::{SslAcceptor, SslConnector, SslFiletype, SslMethod, SslVerifyMode, SslVersion};
use rcgen::KeyPair;

use super::fixture::{Client, DEADLINE, LIMITS, Pki, Server, eventually};

/// RSA, so that static RSA key exchange would be possible if we allowed it.
fn rsa_key() -> KeyPair {
    let key = openssl::rsa::Rsa::generate(2048).unwrap();
    let key = openssl::pkey::PKey::from_rsa(key).unwrap();
    KeyPair::from_pem(&String::from_utf8(key.private_key_to_pem_pkcs8().unwrap()).unwrap()).unwrap()
}

#[derive(Debug, Clone, Copy)]
struct Offer {
    version: SslVersion,
    /// OpenSSL's names: a cipher list up to TLS 1.2, suites for TLS 1.3.
    ciphers: &'static str,
}

/// A handshake by OpenSSL; the cipher that was agreed on, or its error.
fn handshake(address: SocketAddr, offer: Offer) -> Result<String, String> {
    let mut builder = SslConnector::builder(SslMethod::tls_client()).unwrap();
    builder.set_verify(SslVerifyMode::NONE);
    builder.set_security_level(0);
    builder.set_min_proto_version(Some(offer.version)).unwrap();
    builder.set_max_proto_version(Some(offer.version)).unwrap();
    if offer.version == SslVersion::TLS1_3 {
        builder.set_ciphersuites(offer.ciphers).unwrap();
    } else {
        builder.set_cipher_list(offer.ciphers).unwrap();
    }
    let tcp = TcpStream::connect(address).unwrap();
    tcp.set_read_timeout(Some(DEADLINE)).unwrap();
    let stream = builder
        .build()
        .connect("localhost", tcp)
        .map_err(|e| e.to_string())?;
    Ok(stream.ssl().current_cipher().unwrap().name().to_owned())
}

const REFUSED: [Offer; 7] = [
    Offer {
        version: SslVersion::TLS1,
        ciphers: "ALL",
    },
    Offer {
        version: SslVersion::TLS1_1,
        ciphers: "ALL",
    },
    Offer {
        version: SslVersion::TLS1_2,
        ciphers: "ECDHE-RSA-AES128-SHA",
    },
    Offer {
        version: SslVersion::TLS1_2,
        ciphers: "ECDHE-RSA-AES256-SHA384",
    },
    // Static RSA: as AEAD, and as CBC.
    Offer {
        version: SslVersion::TLS1_2,
        ciphers: "AES128-GCM-SHA256",
    },
    Offer {
        version: SslVersion::TLS1_2,
        ciphers: "AES256-SHA256",
    },
    Offer {
        version: SslVersion::TLS1_2,
        ciphers: "DHE-RSA-AES128-GCM-SHA256",
    },
];

/// A server of OpenSSL's that allows everything: shows that the client could.
fn permissive_server(pki: &Pki) -> SocketAddr {
    let mut builder = SslAcceptor::mozilla_intermediate(SslMethod::tls_server()).unwrap();
    builder.set_security_level(0);
    builder.clear_options(openssl::ssl::SslOptions::all());
    builder
        .set_min_proto_version(Some(SslVersion::TLS1))
        .unwrap();
    builder.set_cipher_list("ALL").unwrap();
    builder
        .set_certificate_file(pki.path("server.pem"), SslFiletype::PEM)
        .unwrap();
    builder
        .set_private_key_file(pki.path("server.key"), SslFiletype::PEM)
        .unwrap();
    let acceptor = builder.build();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let _ = acceptor.accept(stream.unwrap());
        }
    });
    address
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn old_protocols_cbc_and_static_rsa_are_refused() {
    let pki = Pki::new();
    let files = pki.write_server_pair(&rsa_key());
    let permissive = permissive_server(&pki);
    let server = Server::start_with(LIMITS, pki, files).await;
    let ours = server.address;
    tokio::task::spawn_blocking(move || {
        for offer in REFUSED {
            handshake(permissive, offer)
                .unwrap_or_else(|e| panic!("this client cannot even speak {offer:?}: {e}"));
            let refused = handshake(ours, offer);
            assert!(refused.is_err(), "{offer:?} was accepted as {refused:?}");
        }
    })
    .await
    .unwrap();
    eventually("refused handshakes leave nothing", || server.open() == 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn aead_suites_of_tls_1_2_and_1_3_are_accepted() {
    let pki = Pki::new();
    let files = pki.write_server_pair(&rsa_key());
    let server = Server::start_with(LIMITS, pki, files).await;
    let address = server.address;
    tokio::task::spawn_blocking(move || {
        for (version, suites) in [
            (
                SslVersion::TLS1_2,
                [
                    "ECDHE-RSA-AES128-GCM-SHA256",
                    "ECDHE-RSA-AES256-GCM-SHA384",
                    "ECDHE-RSA-CHACHA20-POLY1305",
                ],
            ),
            (
                SslVersion::TLS1_3,
                [
                    "TLS_AES_128_GCM_SHA256",
                    "TLS_AES_256_GCM_SHA384",
                    "TLS_CHACHA20_POLY1305_SHA256",
                ],
            ),
        ] {
            for ciphers in suites {
                let agreed = handshake(address, Offer { version, ciphers });
                assert_eq!(agreed.as_deref(), Ok(ciphers));
            }
        }
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn our_order_decides_not_the_clients() {
    let server = Server::start(LIMITS).await;
    let address = server.address;
    let agreed = tokio::task::spawn_blocking(move || {
        handshake(
            address,
            Offer {
                version: SslVersion::TLS1_3,
                ciphers: "TLS_CHACHA20_POLY1305_SHA256:TLS_AES_256_GCM_SHA384:\
                          TLS_AES_128_GCM_SHA256",
            },
        )
    });
    assert_eq!(agreed.await.unwrap().unwrap(), "TLS_AES_128_GCM_SHA256");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_certificate_is_required_where_configured() {
    let pki = Pki::new();
    let mut files = pki.write_server_pair(&KeyPair::generate().unwrap());
    files.client_authority = Some(pki.write_authority());
    let server = Server::start_with(LIMITS, pki, files).await;

    let with = server.pki.connector(Some(server.pki.client_identity()));
    let mut client = Client::new(&with, server.tcp().await).await.unwrap();
    assert_eq!(client.get("/").await.unwrap().body, "ok");

    // In TLS 1.3 a client learns of the refusal with its first read.
    // The stranger's authority has the same name as ours, so it is its signature that fails.
    let stranger = Pki::new().client_identity();
    for (identity, alert) in [
        (None, "CertificateRequired"),
        (Some(stranger), "DecryptError"),
    ] {
        let connector = server.pki.connector(identity);
        let answer = match Client::new(&connector, server.tcp().await).await {
            Ok(mut client) => client.get("/").await,
            Err(error) => Err(error),
        };
        let error = answer.expect_err("refused").to_string();
        assert!(error.contains(alert), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_swap_under_load_fails_no_request() {
    let server = Arc::new(Server::start(LIMITS).await);
    let first = server.client().await;
    let done = Arc::new(AtomicBool::new(false));
    let served = Arc::new(AtomicUsize::new(0));
    let load: Vec<_> = (0..4)
        .map(|_| {
            let (server, done) = (Arc::clone(&server), Arc::clone(&done));
            let served = Arc::clone(&served);
            tokio::spawn(async move {
                while !done.load(Ordering::Relaxed) {
                    let mut client = server.client().await;
                    for _ in 0..3 {
                        assert_eq!(client.get("/").await.unwrap().body, "ok");
                        served.fetch_add(1, Ordering::Relaxed);
                    }
                }
            })
        })
        .collect();
    for swap in 1..=20 {
        let wanted = swap * 20;
        eventually("load goes on", || {
            served.load(Ordering::Relaxed) >= wanted || load.iter().any(|task| task.is_finished())
        })
        .await;
        if swap % 4 == 0 {
            // A bad pair in between is refused and changes nothing.
            std::fs::write(server.pki.path("server.key"), "torn").unwrap();
            server.tls.reload().unwrap_err();
        } else {
            server.pki.write_server_pair(&KeyPair::generate().unwrap());
            server.tls.reload().unwrap();
        }
    }
    done.store(true, Ordering::Relaxed);
    for task in load {
        task.await.unwrap();
    }
    let last = server.client().await;
    let shown = |client: &Client| {
        client
            .stream
            .get_ref()
            .1
            .peer_certificates()
            .unwrap()
            .to_vec()
    };
    assert_ne!(shown(&first), shown(&last), "the new certificate is in use");
    let mut first = first;
    let answer = tokio::time::timeout(Duration::from_secs(5), first.get("/")).await;
    assert_eq!(answer.unwrap().unwrap().status, 200, "open ones go on");
}
