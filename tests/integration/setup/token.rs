//! `token`: a way in for root while the manager is down.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Output};

use coriolis_ovm_exporter::operations::demo::manager::Behaviour;

use super::{SECRET, node, text};
use crate::support::api::Api;
use crate::support::daemon::{PROGRAM, run};
use crate::support::node::{Kind, TestNode};
use crate::support::wait;

/// Nobody in particular.
const STRANGER: u32 = 65534;

fn token(node: &TestNode, more: &[&str]) -> Output {
    let config = node.path("quiet.toml");
    let mut arguments: Vec<&OsStr> =
        ["-config".as_ref(), config.as_os_str(), "token".as_ref()].into();
    arguments.extend(more.iter().map(OsStr::new));
    run(&arguments)
}

#[tokio::test(flavor = "multi_thread")]
async fn it_opens_the_interface_without_a_manager_and_expires() {
    let mut node = node(&[Kind::Xfs], "").await;
    let config = fs::read_to_string(node.path("config.toml")).unwrap();
    let quiet = config.replace("log_level = \"debug\"", "log_level = \"error\"");
    assert_ne!(quiet, config);
    fs::write(node.path("quiet.toml"), quiet).unwrap();
    node.start();
    node.manager.behave(Behaviour::Status(503));
    let made = token(&node, &["--user", "night-shift"]);
    assert!(made.status.success(), "{}", text(&made));
    assert!(made.stderr.is_empty(), "{}", text(&made));
    let printed = String::from_utf8(made.stdout).unwrap();
    let api = Api::with_token(&node, printed.trim());
    assert_eq!(api.get("/node").await.status, 200);

    // Logged whatever the level is: who, how long, which; not the token itself.
    let log = node.log();
    let line = log
        .lines()
        .find(|line| line.contains("a token was made"))
        .unwrap();
    for part in ["night-shift", "15m", "uid=0"] {
        assert!(line.contains(part), "{line}");
    }
    // And what it was used for.
    let (_, id) = line.split_once("token=\"").unwrap();
    let id = id.split('"').next().unwrap();
    let used = log
        .lines()
        .find(|line| line.contains("asked with"))
        .unwrap();
    for part in [id, "night-shift", "/api/v1/node"] {
        assert!(used.contains(part), "{used}");
    }
    assert!(
        !log.contains(printed.trim()) && !log.contains(SECRET),
        "{log}"
    );
    let signature = printed.trim().rsplit('.').next().unwrap();
    assert!(!log.contains(signature), "{log}");

    let short = token(&node, &["--ttl", "2s"]);
    let short = String::from_utf8(short.stdout).unwrap();
    let api = Api::with_token(&node, short.trim());
    wait::until_told("it has expired", async || {
        api.get("/node").await.status == 401
    })
    .await;
    for bad in [&["--ttl", "25h"], &["--ttl", "0s"], &["--user", "a b"]] {
        let refused = token(&node, bad);
        assert!(
            !refused.status.success() && refused.stdout.is_empty(),
            "{bad:?}"
        );
    }
}

#[test]
fn nobody_else_gets_one() {
    let folder = tempfile::tempdir().unwrap();
    let open = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode));
    open(folder.path(), 0o755).unwrap();
    let (program, config) = (
        folder.path().join("exporter"),
        folder.path().join("config.toml"),
    );
    fs::copy(PROGRAM, &program).unwrap();
    // Even where it could be read.
    fs::write(&config, format!("[jwt]\nsecret = \"{SECRET}\"\n")).unwrap();
    open(&config, 0o644).unwrap();
    let ask = |user: u32| {
        let mut command = Command::new(&program);
        command
            .arg("-config")
            .arg(&config)
            .arg("token")
            .uid(user)
            .gid(user);
        command.output().unwrap()
    };
    let refused = ask(STRANGER);
    assert!(!refused.status.success());
    assert!(refused.stdout.is_empty(), "{}", text(&refused));
    assert!(text(&refused).contains("only root"), "{}", text(&refused));

    // Whoever runs a daemon as another user owns its configuration.
    open(&config, 0o600).unwrap();
    chown(&config, Some(STRANGER), Some(STRANGER)).unwrap();
    let made = ask(STRANGER);
    assert!(made.status.success(), "{}", text(&made));
    // Without log_file the log is on standard error.
    assert!(
        text(&made).contains(&format!("uid={STRANGER}")),
        "{}",
        text(&made)
    );
    assert!(ask(0).status.success());
}

#[test]
fn none_is_made_where_there_is_no_secret() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("config.toml");
    let db_file = folder.path().join("exporter.db");
    fs::write(&config, format!("db_file = {db_file:?}\n")).unwrap();
    let refused = run(&["-config".as_ref(), config.as_os_str(), "token".as_ref()]);
    assert!(!refused.status.success());
    assert!(text(&refused).contains("no secret"), "{}", text(&refused));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}
