//! `doctor` on a node where all is well, with the daemon and without.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use super::{Diagnosis, node, text};
use crate::support::daemon::run;
use crate::support::node::{Kind, TestNode};

/// Every check, as `docs/doctor.md` lists them.
const CHECKS: [&str; 14] = [
    "agent",
    "certificate",
    "clock",
    "clone",
    "configuration",
    "daemon",
    "files",
    "index",
    "kernel",
    "machines",
    "manager",
    "mount",
    "port",
    "service",
];

/// Puts the port that the kernel chose for the daemon into the configuration.
fn name_the_port(node: &TestNode) {
    let config = fs::read_to_string(node.path("config.toml")).unwrap();
    let port = format!("port = {}\n", node.address().port());
    fs::write(
        node.path("config.toml"),
        config.replace("port = 0\n", &port),
    )
    .unwrap();
}

/// All paths below, with length and time of the last change of those that are files.
fn tree(folder: &Path) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for item in fs::read_dir(folder).unwrap().flatten() {
        let metadata = item.metadata().unwrap();
        let shown = item.path().display().to_string();
        if metadata.is_dir() {
            found.extend(tree(&item.path()));
            found.insert(shown);
        } else {
            found.insert(format!(
                "{shown} {} {:?}",
                metadata.len(),
                metadata.modified().unwrap()
            ));
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn all_is_good_and_stays_as_it_is() {
    let mut node = node(&[Kind::Xfs], "").await;
    let repository = node.repositories[0].id.clone();
    let machine = node.machine(0, 1, &[1 << 20]);
    let fresh = tree(&node.repositories[0].path());
    let before_the_start = Diagnosis::of(&node, &[]);
    before_the_start.has("clone", "good", &[&repository, "FICLONE"]);
    before_the_start.has("manager", "good", &["the first login will pin"]);
    assert_eq!(tree(&node.repositories[0].path()), fresh);
    assert!(!node.path("manager-pin").exists());
    assert!(!node.path("exporter.db").exists());

    node.start();
    name_the_port(&node);
    let client = node.client().await;
    client.create_snapshot(&machine.id).await.unwrap();
    let before = tree(&node.repositories[0].path());
    let refusals = |node: &TestNode| node.log().matches("status=401").count();
    let refused = refusals(&node);
    let found = Diagnosis::of(&node, &[]);
    assert!(found.trouble().is_empty(), "{:#?}", found.trouble());
    assert_eq!(refusals(&node), refused, "{}", node.log());
    found.has("daemon", "good", &["it answers"]);
    found.has("port", "good", &[&node.daemon_id().to_string()]);
    found.has("manager", "good", &["is the right one"]);
    found.has("snapshots", "good", &["1 on all repositories", "alone"]);
    found.has("machines", "good", &["1 virtual machines"]);
    assert_eq!(tree(&node.repositories[0].path()), before);

    // The document for programs.
    assert_eq!(found.report["format"], 1);
    assert_eq!(found.report["version"], env!("CARGO_PKG_VERSION"));
    let documented = fs::read_to_string("docs/doctor.md").unwrap();
    let mut checks = BTreeSet::new();
    for one in found.findings() {
        let fields: Vec<_> = one
            .as_object()
            .unwrap()
            .keys()
            .map(String::as_str)
            .collect();
        assert_eq!(fields, ["advice", "check", "grade", "message", "subject"]);
        assert_eq!(one["advice"].is_null(), one["grade"] == "good", "{one}");
        let check = one["check"].as_str().unwrap();
        assert!(documented.contains(&format!("| `{check}` |")), "{check}");
        checks.insert(check);
    }
    for check in CHECKS {
        assert!(checks.contains(check), "no {check}: {checks:?}");
    }
    let expected = match found.report["worst"].as_str().unwrap() {
        "good" => 0,
        "warning" => 1,
        _ => 2,
    };
    assert_eq!(found.status, expected);

    // For people: a line each, and one for all.
    let config = node.path("config.toml");
    let told = run(&["-config".as_ref(), config.as_os_str(), "doctor".as_ref()]);
    let lines = text(&told).lines().count();
    assert_eq!(lines, found.findings().len() + 1, "{}", text(&told));
    assert_eq!(told.status.code(), Some(expected));

    // Requests go on as before, and no lock of the daemon's was taken or kept.
    client.create_snapshot(&machine.id).await.unwrap();
    node.stop();
    let without = Diagnosis::of(&node, &[]);
    without.has("daemon", "warning", &["does not run", "start"]);
    without.has("port", "good", &["free"]);
    without.has("index", "good", &["intact"]);
    without.has("snapshots", "good", &["2 on all repositories"]);
    assert_eq!(without.trouble().len(), 1, "{:#?}", without.trouble());
    assert_eq!(without.status, 1);
}
