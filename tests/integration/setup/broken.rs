//! `doctor` finds each thing that is broken, and nothing else.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::time::{Duration, Instant};

use coriolis_ovm_exporter::operations::demo::manager::{Behaviour, Identity};

use super::{Diagnosis, node};
use crate::support::frozen::Frozen;
use crate::support::node::{Kind, TestNode};

/// Changes a file, looks, and changes it back.
fn with_file(node: &TestNode, name: &str, content: impl AsRef<[u8]>) -> Diagnosis {
    let path = node.path(name);
    let before = fs::read(&path).unwrap();
    fs::write(&path, content).unwrap();
    let found = Diagnosis::of(node, &[]);
    fs::write(&path, before).unwrap();
    found
}

/// The same for a line of the configuration.
fn with_line(node: &TestNode, key: &str, value: &str) -> Diagnosis {
    let config = fs::read_to_string(node.path("config.toml")).unwrap();
    let lines = config.lines().map(|line| match line.starts_with(key) {
        true => format!("{key} = {value}\n"),
        false => format!("{line}\n"),
    });
    let changed: String = lines.collect();
    assert_ne!(changed, config, "no {key}");
    with_file(node, "config.toml", changed)
}

/// That nothing else is found but the daemon that does not run.
#[track_caller]
fn only(found: &Diagnosis, check: &str) {
    for other in found.trouble() {
        let expected = other["check"] == check || other["message"] == "it does not run";
        assert!(expected, "{check}, and {other}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_daemon_reads() {
    let node = node(&[Kind::Xfs], "").await;
    let good = Diagnosis::of(&node, &[]);
    assert!(good.trouble().is_empty(), "{:#?}", good.trouble());

    let found = with_file(&node, "config.toml", "this is no TOML");
    found.has("configuration", "bad", &["config.toml"]);
    assert_eq!(found.status, 2);
    let found = with_line(&node, "log_level", "\"loud\"");
    found.has("configuration", "bad", &["log_level"]);

    let key = rcgen::KeyPair::generate().unwrap().serialize_pem();
    let found = with_file(&node, "srv-key.pem", key);
    found.has("certificate", "bad", &["is not the key of"]);
    assert_eq!(found.status, 2);

    let expired = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(2021, 1, 1);
    let certificate = params.self_signed(&expired).unwrap().pem();
    let key = fs::read(node.path("srv-key.pem")).unwrap();
    fs::write(node.path("srv-key.pem"), expired.serialize_pem()).unwrap();
    let found = with_file(&node, "srv-pub.pem", certificate);
    found.has("certificate", "bad", &["expired at 2021-01-01"]);
    fs::write(node.path("srv-key.pem"), key).unwrap();

    for (mode, grade) in [(0o604, "bad"), (0o640, "warning"), (0o620, "bad")] {
        let set =
            |mode| fs::set_permissions(node.path("srv-key.pem"), fs::Permissions::from_mode(mode));
        set(mode).unwrap();
        let found = Diagnosis::of(&node, &[]);
        found.has("files", grade, &["srv-key.pem", "chmod 600"]);
        set(0o600).unwrap();
    }

    let found = with_file(&node, "agent-db/repository", "no Berkeley DB");
    found.has("agent", "bad", &["agent-db/repository"]);
    only(&found, "agent");

    fs::write(node.path("exporter.db"), "no SQLite").unwrap();
    let found = Diagnosis::of(&node, &[]);
    found.has("index", "bad", &["exporter.db"]);
    assert_eq!(found.status, 2);
    assert_eq!(fs::read(node.path("exporter.db")).unwrap(), b"no SQLite");
    fs::remove_file(node.path("exporter.db")).unwrap();

    let good = Diagnosis::of(&node, &[]);
    assert!(good.trouble().is_empty(), "{:#?}", good.trouble());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_on_the_network() {
    let mut node = node(&[Kind::Xfs], "").await;
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let found = with_line(&node, "port", &port.to_string());
    let process = format!("process {}", std::process::id());
    found.has("port", "bad", &[&process, &port.to_string()]);
    only(&found, "port");
    assert_eq!(found.status, 2);

    let nobody = format!("\"https://127.0.0.1:{port}\"");
    drop(taken);
    let found = with_line(&node, "ovm_endpoint", &nobody);
    found.has(
        "manager",
        "bad",
        &["cannot be reached", "see that the manager runs", "token"],
    );
    only(&found, "manager");
    let nowhere = "\"https://manager.invalid:7002\"";
    let found = with_line(&node, "ovm_endpoint", nowhere);
    found.has("manager", "bad", &["no address", "DNS", "token"]);
    let plain = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = plain.local_addr().unwrap().port();
    let answers = std::thread::spawn(move || {
        use std::io::{Read as _, Write as _};
        for _ in 0..2 {
            let (mut stream, _) = plain.accept().unwrap();
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
        }
    });
    let plain = format!("\"https://127.0.0.1:{port}\"");
    let found = with_line(&node, "ovm_endpoint", &plain);
    found.has("manager", "bad", &["TLS", "HTTPS port", "token"]);
    drop(answers);

    node.manager
        .behave(Behaviour::Slow(Duration::from_secs(60)));
    let begun = Instant::now();
    let found = Diagnosis::of(&node, &["--time-limit", "1s"]);
    assert!(
        begun.elapsed() < Duration::from_secs(15),
        "{:?}",
        begun.elapsed()
    );
    found.has(
        "manager",
        "bad",
        &["waiting for its answer", "too busy", "token"],
    );
    for (status, advice) in [
        (503, "look at the manager's log"),
        (404, "the Oracle VM Manager's own address"),
        (302, "the Oracle VM Manager's own address"),
    ] {
        node.manager.behave(Behaviour::Status(status));
        let found = Diagnosis::of(&node, &[]);
        found.has("manager", "bad", &[&status.to_string(), advice, "token"]);
    }
    node.manager.behave(Behaviour::Status(403));
    Diagnosis::of(&node, &[]).has("manager", "good", &["it answers"]);
    node.manager.behave(Behaviour::Honest);

    // Not without the pin of a login.
    node.start();
    node.client().await;
    node.manager.show(Identity::self_signed().unwrap()).unwrap();
    let found = Diagnosis::of(&node, &[]);
    found.has("manager", "bad", &["has changed", "was renewed"]);
    only(&found, "manager");

    // The daemon has read its certificate; the file holds another one meanwhile.
    let config = fs::read_to_string(node.path("config.toml")).unwrap();
    let named = config.replace("port = 0\n", &format!("port = {}\n", node.address().port()));
    fs::write(node.path("config.toml"), named).unwrap();
    fs::remove_file(node.path("srv-key.pem")).unwrap();
    coriolis_ovm_exporter::operations::demo::certificates::write(&node.path("")).unwrap();
    let found = Diagnosis::of(&node, &[]);
    found.has("daemon", "warning", &["another certificate", "SIGHUP"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn repositories_and_machines() {
    let mut node = node(&[Kind::Xfs, Kind::Ext4], "").await;
    let ids: Vec<String> = node.repositories.iter().map(|one| one.id.clone()).collect();
    let found = Diagnosis::of(&node, &[]);
    found.has("clone", "warning", &[&ids[1], "it has no disks"]);
    node.machine(1, 1, &[4096]);
    let found = Diagnosis::of(&node, &[]);
    found.has("clone", "bad", &[&ids[1], "does not clone files"]);
    found.has("clone", "good", &[&ids[0]]);
    only(&found, "clone");

    node.vm_cfg(0, "0004fb00000600000000000000000009", "disk = [");
    let found = Diagnosis::of(&node, &[]);
    found.has(
        "machines",
        "warning",
        &[&ids[0], "0004fb00000600000000000000000009"],
    );

    let mount = node.repositories[0].ground.mount().unwrap();
    mount.unmount().unwrap();
    let found = Diagnosis::of(&node, &[]);
    found.has("mount", "bad", &[&ids[0], "nothing is mounted"]);
    found.has("mount", "good", &[&ids[1]]);
    assert_eq!(found.status, 2);
    let mount = node.repositories[0].ground.mount().unwrap();
    mount.mount().unwrap();

    let config = fs::read_to_string(node.path("config.toml")).unwrap();
    let greedy = format!("{config}[snapshots]\nmin_free = \"100%\"\n");
    let found = with_file(&node, "config.toml", greedy);
    found.has("space", "bad", &[&ids[0], "min_free"]);
}

/// The kernel does not let go of who waits there, not even when it is killed.
#[tokio::test(flavor = "multi_thread")]
async fn a_repository_that_hangs_is_a_finding_and_no_hang() {
    let node = node(&[Kind::Xfs, Kind::Xfs], "").await;
    let ids: Vec<String> = node.repositories.iter().map(|one| one.id.clone()).collect();
    let frozen = Frozen::new(&node.repositories[0].path());
    let begun = Instant::now();
    let found = Diagnosis::of(&node, &["--time-limit", "1s"]);
    assert!(
        begun.elapsed() < Duration::from_secs(15),
        "{:?}",
        begun.elapsed()
    );
    drop(frozen);
    found.has(
        "clone",
        "bad",
        &[&ids[0], "no answer within 1s while cloning"],
    );
    found.has("mount", "good", &[&ids[0]]);
    found.has("clone", "good", &[&ids[1]]);
    assert_eq!(found.status, 2);
}
