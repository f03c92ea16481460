//! What the manager answers, or does not.

use std::time::{Duration, Instant};

use coriolis_ovm_exporter::operations::demo::manager::{Behaviour, Identity};
use coriolis_ovm_exporter::ovm::manager::{Manager, ManagerError, Verdict};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::{failure, legacy, login, names, pinning};
use crate::support::manager::{PASSWORD, USER, any_port, stand_in};

#[tokio::test]
async fn the_right_password_is_accepted_and_any_other_refused() {
    let dir = tempfile::tempdir().unwrap();
    let server = stand_in(Identity::self_signed().unwrap()).await;
    for legacy_tls in [false, true] {
        let manager = legacy(pinning(&server.endpoint(), dir.path()), legacy_tls);
        assert_eq!(login(&manager).await.unwrap(), Verdict::Accepted);
        for (user, password) in [
            (USER, ""),
            (USER, "correct horse"),
            ("Admin", PASSWORD),
            ("ünï", "cödé"),
        ] {
            let verdict = manager.check_credentials(user, password).await.unwrap();
            assert_eq!(verdict, Verdict::Refused, "{user}");
        }
    }
    assert_eq!(server.requests(), 10);
    assert_eq!(server.connections(), 10);
}

#[tokio::test]
async fn what_basic_cannot_carry_is_refused_without_a_connection() {
    let dir = tempfile::tempdir().unwrap();
    let server = stand_in(Identity::self_signed().unwrap()).await;
    let manager = pinning(&server.endpoint(), dir.path());
    for (user, password) in [
        // Basic would carry this as user `admin` with the password `correct horse: battery`.
        ("admin:correct horse", " battery"),
        ("admin\r\nX: y", PASSWORD),
        (USER, "a\nb"),
        ("", PASSWORD),
    ] {
        let verdict = manager.check_credentials(user, password).await.unwrap();
        assert_eq!(verdict, Verdict::Refused, "{user:?}");
    }
    assert_eq!(server.connections(), 0);
}

#[tokio::test]
async fn forbidden_is_refused_and_all_else_is_an_error_with_the_status() {
    let dir = tempfile::tempdir().unwrap();
    let server = stand_in(Identity::self_signed().unwrap()).await;
    let manager = pinning(&server.endpoint(), dir.path());
    server.behave(Behaviour::Status(403));
    assert_eq!(login(&manager).await.unwrap(), Verdict::Refused);
    for status in [204, 302, 404, 500, 503] {
        server.behave(Behaviour::Status(status));
        let (error, message) = failure(&manager).await;
        assert!(matches!(error, ManagerError::Status { status: seen, .. } if seen == status));
        names(&message, &[&status.to_string(), &server.endpoint()]);
        assert_eq!(
            message.contains("/ovm/console/login"),
            status == 302,
            "{message}"
        );
    }
    server.behave(Behaviour::WebPage);
    assert!(matches!(
        failure(&manager).await.0,
        ManagerError::NotAManager { .. }
    ));
}

#[tokio::test]
async fn a_manager_that_never_answers_is_given_up_in_time() {
    let dir = tempfile::tempdir().unwrap();
    let server = stand_in(Identity::self_signed().unwrap()).await;
    server.behave(Behaviour::Slow(Duration::from_secs(60)));
    for legacy_tls in [false, true] {
        let manager = Manager {
            timeout: Duration::from_millis(800),
            legacy_tls,
            ..pinning(&server.endpoint(), dir.path())
        };
        let started = Instant::now();
        let (error, message) = failure(&manager).await;
        assert!(matches!(error, ManagerError::Timeout { .. }), "{message}");
        names(&message, &["0.8 s", "waiting for its answer"]);
        assert!(started.elapsed() >= Duration::from_millis(700));
        assert!(
            started.elapsed() < Duration::from_secs(3),
            "{:?}",
            started.elapsed()
        );
    }
    closed(server.address().port()).await;
}

#[tokio::test]
async fn a_server_that_takes_the_connection_and_says_nothing_is_given_up_in_time() {
    let dir = tempfile::tempdir().unwrap();
    // The kernel completes the connections; nobody ever reads from them.
    let listener = TcpListener::bind(any_port()).await.unwrap();
    let endpoint = format!("https://{}", listener.local_addr().unwrap());
    for legacy_tls in [false, true] {
        let manager = Manager {
            timeout: Duration::from_millis(500),
            legacy_tls,
            ..pinning(&endpoint, dir.path())
        };
        let started = Instant::now();
        let (error, message) = failure(&manager).await;
        assert!(matches!(error, ManagerError::Timeout { .. }), "{message}");
        names(&message, &["0.5 s", "TLS handshake"]);
        assert!(
            started.elapsed() < Duration::from_secs(3),
            "{:?}",
            started.elapsed()
        );
    }
}

#[tokio::test]
async fn a_server_without_tls_is_called_that() {
    let dir = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind(any_port()).await.unwrap();
    let endpoint = format!("https://{}", listener.local_addr().unwrap());
    let server = tokio::spawn(async move {
        loop {
            let (mut tcp, _) = listener.accept().await.unwrap();
            let mut hello = [0; 1024];
            let _ = tcp.read(&mut hello).await;
            let _ = tcp
                .write_all(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")
                .await;
        }
    });
    for legacy_tls in [false, true] {
        let manager = legacy(pinning(&endpoint, dir.path()), legacy_tls);
        let (error, message) = failure(&manager).await;
        assert!(matches!(error, ManagerError::NotTls { .. }), "{error:?}");
        names(&message, &["does not speak TLS", "7002", &endpoint]);
    }
    server.abort();
}

#[tokio::test]
async fn a_server_that_hangs_up_in_the_handshake_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind(any_port()).await.unwrap();
    let endpoint = format!("https://{}", listener.local_addr().unwrap());
    let server = tokio::spawn(async move {
        loop {
            drop(listener.accept().await.unwrap());
        }
    });
    for legacy_tls in [false, true] {
        let manager = legacy(pinning(&endpoint, dir.path()), legacy_tls);
        let (error, message) = failure(&manager).await;
        assert!(matches!(error, ManagerError::Handshake { .. }), "{message}");
    }
    server.abort();
}

#[tokio::test]
async fn a_closed_port_is_an_error_with_the_address() {
    let dir = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind(any_port()).await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    drop(listener);
    let manager = pinning(&format!("https://{address}"), dir.path());
    let (error, message) = failure(&manager).await;
    assert!(matches!(error, ManagerError::Connect { .. }));
    names(&message, &[&address, "refused"]);
}

#[tokio::test]
async fn no_connection_stays_open_after_a_hundred_logins() {
    let dir = tempfile::tempdir().unwrap();
    let server = stand_in(Identity::self_signed().unwrap()).await;
    let manager = pinning(&server.endpoint(), dir.path());
    for round in 0..100 {
        let manager = legacy(manager.clone(), round % 4 == 3);
        let password = if round % 2 == 0 { PASSWORD } else { "wrong" };
        manager.check_credentials(USER, password).await.unwrap();
    }
    assert_eq!((server.connections(), server.requests()), (100, 100));
    closed(server.address().port()).await;
}

#[tokio::test]
async fn a_login_that_is_given_up_closes_its_connection() {
    let dir = tempfile::tempdir().unwrap();
    let server = stand_in(Identity::self_signed().unwrap()).await;
    server.behave(Behaviour::Slow(Duration::from_secs(60)));
    let manager = pinning(&server.endpoint(), dir.path());
    let login = tokio::spawn(async move { login(&manager).await });
    while server.requests() == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(descriptors_on(server.address().port()) > 0);
    login.abort();
    closed(server.address().port()).await;
}

/// Waits until no descriptor of this process is a connection from or to this port. The server
/// is in this process too, and closes its end a moment after the client.
async fn closed(port: u16) {
    let give_up = Instant::now() + Duration::from_secs(5);
    while descriptors_on(port) > 0 {
        assert!(
            Instant::now() < give_up,
            "{} connections are open",
            descriptors_on(port)
        );
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// How many descriptors in `/proc/self/fd` are TCP connections (not listeners) on this port.
/// Counting by port keeps tests apart that run in threads of one process.
fn descriptors_on(port: u16) -> usize {
    let port = format!(":{port:04X}");
    let table = std::fs::read_to_string("/proc/self/net/tcp").unwrap();
    // Columns from 0: number, local, remote, state (0A is LISTEN), …; column 9 is the inode.
    let inodes: Vec<String> = table
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>())
        .filter(|row| row.len() > 9 && row[3] != "0A")
        .filter(|row| row[1].ends_with(&port) || row[2].ends_with(&port))
        .map(|row| format!("socket:[{}]", row[9]))
        .collect();
    std::fs::read_dir("/proc/self/fd")
        .unwrap()
        .filter_map(|entry| std::fs::read_link(entry.unwrap().path()).ok())
        .filter(|target| inodes.iter().any(|inode| target.to_str() == Some(inode)))
        .count()
}

#[tokio::test]
async fn no_log_line_of_any_level_holds_the_password() {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    #[derive(Clone, Default)]
    struct Captured(Arc<Mutex<Vec<u8>>>);
    impl Write for Captured {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    let captured = Captured::default();
    let writer = captured.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(move || writer.clone())
        .finish();
    // The test's runtime has one thread, so this covers the stand-in too.
    let _guard = tracing::subscriber::set_default(subscriber);
    let dir = tempfile::tempdir().unwrap();
    let server = stand_in(Identity::self_signed().unwrap()).await;
    login(&pinning(&server.endpoint(), dir.path()))
        .await
        .unwrap();

    let log = String::from_utf8(captured.0.lock().unwrap().clone()).unwrap();
    names(&log, &["its certificate is pinned"]);
    for secret in [PASSWORD, crate::support::manager::BASIC] {
        assert!(!log.contains(secret), "{log}");
    }
}
