//! Failures and misuse: exit codes, one clear line, no secret.

use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use super::super::support::node::PASSWORD;
use super::command::{Desk, PROGRAM, Ran, bare};

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_says_why_in_one_line_and_exits_with_1() {
    let desk = Desk::set().await;
    let nobody = uuid::Uuid::new_v4().to_string();
    let vm = desk.machine.id.as_str();
    for (arguments, said) in [
        (&["vms", "show", "nobody"][..], "404"),
        (&["snapshot", "list", "nobody"], "404"),
        (&["snapshot", "create", "nobody"], "404"),
        (&["snapshot", "show", vm, &nobody], "404"),
        (&["snapshot", "show", &nobody], "no snapshot"),
        (&["snapshot", "show", vm, "x"], "no snapshot id"),
        (&["diff", &nobody, &nobody], "no snapshot"),
        (&["vms", "list", "-c", "nonsense"], "Friendly Name"),
        (&["vms", "list", "--ca-path", "/nowhere"], "/nowhere"),
        (&["vms", "list", "--ca-path", "/dev/null"], "no certificate"),
        (
            &["vms", "list", "--ca-path", "/a\u{1b}[31m"],
            "/a\u{fffd}[31m",
        ),
        (&["vms", "list", "-e", "http://127.0.0.1:1"], "HTTPS"),
        (&["vms", "list", "-e", "https://"], "https://HOST"),
        (&["vms", "list", "-e", "https://h?x=1"], "https://HOST"),
        (&["vms", "list", "-e", "https://127.0.0.1:1"], "127.0.0.1:1"),
    ] {
        let line = desk.run(arguments).failed();
        assert!(line.contains(said), "{arguments:?}: {line}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_is_refused_and_not_repeated() {
    let desk = Desk::set().await;
    let wrong = "another horse";
    let output = desk
        .command()
        .env("OVM_EXPORTER_PASSWORD", wrong)
        .args(["vms", "list"])
        .output()
        .unwrap();
    let line = Ran::of(output).failed();
    assert!(line.contains("401") && !line.contains(wrong), "{line}");
    let output = desk
        .command()
        .args(["vms", "list", "-p", wrong])
        .output()
        .unwrap();
    assert!(!Ran::of(output).failed().contains(wrong));
    let output = desk
        .command()
        .args(["--token", "no.such.token", "vms", "list"])
        .output()
        .unwrap();
    let line = Ran::of(output).failed();
    assert!(
        line.contains("401") && !line.contains("no.such.token"),
        "{line}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_does_in_place_of_a_password() {
    let desk = Desk::set().await;
    let token = desk.node.client().await.token();
    let output = bare()
        .env("OVM_EXPORTER_ENDPOINT", desk.node.endpoint())
        .env("OVM_EXPORTER_TOKEN", token)
        .env("OVM_EXPORTER_CAFILE", desk.node.path("ca-pub.pem"))
        .args(["vms", "list"])
        .output()
        .unwrap();
    assert!(Ran::of(output).done().contains(&desk.machine.id));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fault_of_the_daemon_names_the_request_that_its_log_has() {
    let desk = Desk::with_config("[snapshots]\nmin_free = \"100%\"\n").await;
    let vm = desk.machine.id.as_str();
    let line = desk.run(&["snapshot", "create", vm]).failed();
    assert!(line.contains("507"), "{line}");
    let id = line
        .rsplit_once(" (request ")
        .and_then(|(_, id)| id.strip_suffix(')'));
    let id = id.unwrap_or_else(|| panic!("{line}"));
    assert!(desk.node.log().contains(id), "{line}: {}", desk.node.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_comes_from_a_file() {
    let desk = Desk::set().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("password");
    std::fs::write(&file, format!("{PASSWORD}\n")).unwrap();
    let mode = |mode| {
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    let path = file.to_str().unwrap();
    let without = || {
        let mut command = desk.command();
        command.env_remove("OVM_EXPORTER_PASSWORD");
        command
    };
    let list = |command: &mut Command| Ran::of(command.args(["vms", "list"]).output().unwrap());
    mode(0o400);
    for mut command in [without(), desk.command()] {
        // A variable that is set to nothing is not set.
        command.env("OVM_EXPORTER_PASSWORD_FILE", path);
        command.env("OVM_EXPORTER_PASSWORD", "");
        assert!(list(&mut command).done().contains(&desk.machine.id));
    }
    let ran = list(without().args(["--password-file", path]));
    assert!(ran.done().contains(&desk.machine.id));
    // What a shell has opened.
    let (reader, mut writer) = std::io::pipe().unwrap();
    writer.write_all(PASSWORD.as_bytes()).unwrap();
    drop(writer);
    let ran = list(
        without()
            .stdin(reader)
            .args(["--password-file", "/dev/stdin"]),
    );
    assert!(ran.done().contains(&desk.machine.id));

    let line = list(desk.command().args(["--password-file", path])).failed();
    for word in ["two passwords", "--password-file", "OVM_EXPORTER_PASSWORD"] {
        assert!(line.contains(word), "{line}");
    }
    let both = ["--password", "x", "vms", "list", "--password-file", path];
    let line = Ran::of(without().args(both).output().unwrap()).failed();
    assert!(line.contains("two passwords"), "{line}");
    mode(0o644);
    let line = list(without().args(["--password-file", path])).failed();
    assert!(line.contains(path) && line.contains("every user"), "{line}");
    mode(0o600);
    std::fs::write(&file, "").unwrap();
    let line = list(without().args(["--password-file", path])).failed();
    assert!(line.contains(path) && line.contains("empty"), "{line}");
    let absent = folder.path().join("absent");
    let line = list(without().arg("--password-file").arg(&absent)).failed();
    assert!(line.contains("absent: No such file"), "{line}");
    // As short as it could always be.
    for short in ["--p", "--pa", "--pass"] {
        let ran = list(without().args([short, PASSWORD]));
        assert!(ran.done().contains(&desk.machine.id));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_is_checked_unless_that_is_forgone() {
    let desk = Desk::set().await;
    let without = |more: &[&str]| {
        let mut command = desk.command();
        // A variable that is set to nothing is not set.
        command.env("OVM_EXPORTER_CAFILE", "");
        Ran::of(command.args(["vms", "list"]).args(more).output().unwrap())
    };
    let line = without(&[]).failed();
    assert!(line.contains("certificate"), "{line}");
    let ran = without(&["--insecure"]);
    assert!(ran.stderr.contains("warning: --insecure"), "{ran:?}");
    assert!(ran.done().contains(&desk.machine.id));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_node_is_asked_where_one_does_not_answer() {
    let desk = Desk::set().await;
    let both = format!("https://127.0.0.1:1,{}", desk.node.endpoint());
    let output = desk
        .command_at(&both)
        .args(["vms", "list"])
        .output()
        .unwrap();
    let ran = Ran::of(output);
    assert!(ran.stderr.contains("127.0.0.1:1"), "{ran:?}");
    assert!(ran.done().contains(&desk.machine.id));
}

#[test]
fn what_is_missing_is_named() {
    let said = |variables: &[(&str, &str)]| {
        let mut command = bare();
        command.envs(variables.iter().copied());
        Ran::of(command.args(["vms", "list"]).output().unwrap()).failed()
    };
    let endpoint = ("OVM_EXPORTER_ENDPOINT", "https://127.0.0.1:1");
    assert!(said(&[]).contains("OVM_EXPORTER_ENDPOINT"));
    assert!(said(&[endpoint]).contains("OVM_EXPORTER_USERNAME"));
    // There is no terminal to ask at.
    let user = ("OVM_EXPORTER_USERNAME", "admin");
    assert!(said(&[endpoint, user]).contains("OVM_EXPORTER_PASSWORD"));
}

#[test]
fn misuse_exits_with_2() {
    for arguments in [
        &[][..],
        &["nonsense"],
        &["vms"],
        &["vms", "show"],
        &["vms", "list", "-f", "nonsense"],
        &["snapshot", "download", "a", "b"],
        &["snapshot", "update", "a"],
        &["snapshot", "create", "a", "--expires-in", "soon"],
        &["diff", "a"],
        &["replicate", "a"],
        &["replicate", "a", "--to", "/tmp", "--parallel", "0"],
        &["replicate", "a", "--to", "/tmp", "--parallel", "65"],
        &["replicate", "a", "--to", "/tmp", "--limit-rate", "fast"],
        &["replicate", "a", "--to", "/tmp", "--limit-rate", "63K"],
        &["replicate", "a", "--to", "/tmp", "--limit-rate", "10MB"],
        &["verify", "a"],
        &["replicate", "a", "--to", "/tmp", "--every", "1ms"],
    ] {
        let ran = Ran::of(bare().args(arguments).output().unwrap());
        assert_eq!(
            (ran.code, ran.stdout.as_str()),
            (2, ""),
            "{arguments:?}: {ran:?}"
        );
        assert!(
            ran.stderr.contains("--help") || arguments.is_empty(),
            "{arguments:?}: {ran:?}"
        );
    }
    assert_eq!(Ran::of(bare().arg("--help").output().unwrap()).code, 0);
}

/// On a terminal, which Python makes: what is typed is not shown.
#[tokio::test(flavor = "multi_thread")]
async fn a_password_is_asked_for_without_an_echo() {
    const SCRIPT: &str = r#"
import os, pty, sys, termios, time
child, terminal = pty.fork()
if child == 0:
    os.execv(sys.argv[1], [sys.argv[1], "vms", "list"])
seen = b""
while b"Password of admin: " not in seen:
    seen += os.read(terminal, 1024)
# Nobody types that fast: the prompt comes a moment before the echo ends.
while termios.tcgetattr(terminal)[3] & termios.ECHO:
    time.sleep(0.01)
os.write(terminal, sys.argv[2].encode() + b"\n")
try:
    while True:
        piece = os.read(terminal, 65536)
        if not piece:
            break
        seen += piece
except OSError:
    pass
sys.stdout.write(seen.decode())
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"#;
    let desk = Desk::set().await;
    let output = Command::new("python3")
        .args(["-c", SCRIPT, PROGRAM, PASSWORD])
        .env_remove("OVM_EXPORTER_PASSWORD")
        .env("OVM_EXPORTER_ENDPOINT", desk.node.endpoint())
        .env("OVM_EXPORTER_USERNAME", "admin")
        .env("OVM_EXPORTER_CAFILE", desk.node.path("ca-pub.pem"))
        .output()
        .unwrap();
    let seen = Ran::of(output).done();
    assert!(seen.contains(&desk.machine.id), "{seen}");
}
