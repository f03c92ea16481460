//! The README's commands, typed at a node.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use coriolis_ovm_exporter::operations::demo::machines::Machine;
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;

use super::{block, commands, root};
use crate::support::node::{Kind, PASSWORD, TestNode, USER};
use crate::support::wait;

const DAEMON: &str = env!("CARGO_BIN_EXE_coriolis-ovm-exporter");

/// What a command that succeeded has printed.
#[track_caller]
fn done(command: &str, output: Output) -> String {
    let said = String::from_utf8_lossy(&output.stderr);
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{command}: {printed}{said}");
    printed
}

/// Of what the README calls its node, this one's.
struct Desk {
    node: TestNode,
    machine: Machine,
    replicas: tempfile::TempDir,
}

impl Desk {
    async fn set() -> Desk {
        let node = TestNode::new(&[Kind::Xfs]).await;
        let machine = node.machine(0, 1, &[8 << 20, 1 << 20]);
        fs::write(&machine.disks[0], vec![7; 8 << 20]).unwrap();
        let replicas = tempfile::tempdir().unwrap();
        Desk {
            node,
            machine,
            replicas,
        }
    }

    /// A command with this node's names.
    fn here(&self, command: &str) -> String {
        command
            .replace("https://ovs1.example:5544", &self.node.endpoint())
            .replace(
                "\"password\":\"…\"",
                &format!("\"password\":\"{PASSWORD}\""),
            )
            .replace("VM=…", &format!("VM={}", self.machine.id))
            .replace(
                "/replicas/",
                &format!("{}/", self.replicas.path().display()),
            )
    }

    /// A shell that has the certificate before it, as the README's has.
    fn shell(&self, script: &str) -> Command {
        let programs = Path::new(DAEMON).parent().unwrap().display();
        let path = format!("{programs}:{}", std::env::var("PATH").unwrap());
        let mut shell = Command::new("sh");
        shell
            .args(["-e", "-c", script])
            .current_dir(self.node.path("ca-pub.pem").parent().unwrap())
            .env("PATH", path)
            .stdin(Stdio::null());
        shell
    }
}

#[test]
fn the_two_commands_on_top() {
    for command in commands(&block("README.md", "coriolis-ovm-exporter")) {
        match command.as_str() {
            // With what has been built for this test.
            "make demo" => {
                let target = Path::new(DAEMON).ancestors().nth(2).unwrap();
                let output = Command::new("make")
                    .args(["--silent", "demo", "CARGO=true"])
                    .current_dir(root())
                    .env("CARGO_TARGET_DIR", target)
                    .env_remove("MAKEFLAGS")
                    .env_remove("MAKELEVEL")
                    .output()
                    .unwrap();
                let printed = done(&command, output);
                assert!(printed.contains("every replica is identical"), "{printed}");
            }
            // It runs this.
            "make test" => {
                let ci = fs::read_to_string(root().join(".ci/run")).unwrap();
                assert!(ci.lines().any(|line| line == command), "{ci}");
            }
            _ => panic!("{command} is not tried"),
        }
    }
}

/// The lines of "Signing in": each request's answer goes to a file.
fn signing_in(desk: &Desk) -> Vec<String> {
    let mut answers = 0;
    let lines = commands(&block("README.md", "Signing in")).into_iter();
    let lines = lines.map(|command| {
        let mut command = desk.here(&command);
        if command.starts_with("curl ") {
            answers += 1;
            command += &format!(" >answer.{answers}");
        }
        command.replace(
            "SNAPSHOT=…",
            "SNAPSHOT=$(sed 's/{\"id\":\"\\([^\"]*\\).*/\\1/' answer.2)",
        )
    });
    lines.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn signing_in_and_a_snapshot_with_curl() {
    let desk = Desk::set().await;
    let script = signing_in(&desk).join("\n");
    assert!(
        script.contains(&format!("\"username\":\"{USER}\"")),
        "{script}"
    );
    let output = desk.shell(&script).output().unwrap();
    assert_eq!(done(&script, output), "");
    let answer =
        |number: u32| fs::read_to_string(desk.node.path(&format!("answer.{number}"))).unwrap();
    let [machines, taken, listed, deleted] = [1, 2, 3, 4].map(answer);
    assert!(machines.contains(&desk.machine.id), "{machines}");
    let taken: serde_json::Value = serde_json::from_str(&taken).unwrap();
    let id = taken["id"].as_str().unwrap();
    assert_eq!(taken["disks"].as_array().unwrap().len(), 2, "{taken}");
    assert!(listed.contains(id), "{listed}");
    assert!(!deleted.contains("error"), "{deleted}");
    assert_eq!(
        desk.node
            .client()
            .await
            .snapshots(&desk.machine.id)
            .await
            .unwrap()
            .len(),
        0
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn watching_it() {
    let desk = Desk::set().await;
    let mut script: Vec<String> = signing_in(&desk)
        .into_iter()
        .take_while(|command| !command.starts_with("curl "))
        .collect();
    let lines = commands(&block("README.md", "Watching it"));
    let [line] = &lines[..] else {
        panic!("{lines:?}");
    };
    script.push(desk.here(line));
    let mut shell = desk.shell(&script.join("\n"));
    let mut watching = shell
        .process_group(0)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let printed = BufReader::new(watching.stdout.take().unwrap());
    // It ends only when it is told to: what is awaited comes, or the test is killed.
    let found = printed
        .lines()
        .map(Result::unwrap)
        .any(|line| line == "event: current");
    let _ = killpg(
        Pid::from_raw(watching.id().try_into().unwrap()),
        Signal::SIGTERM,
    );
    watching.wait().unwrap();
    assert!(found);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_by_the_command() {
    let desk = Desk::set().await;
    let mut exports = vec![format!("export OVM_EXPORTER_PASSWORD='{PASSWORD}'")];
    let mut held = String::new();
    for command in commands(&block("README.md", "The command")) {
        let command = desk
            .here(&command)
            .replace(" VM ", &format!(" {} ", desk.machine.id))
            .replace(" SNAPSHOT ", &format!(" {held} "));
        if command.starts_with("export ") {
            exports.push(command);
            continue;
        }
        let script = format!("{}\nexec {command}", exports.join("\n"));
        let mut shell = desk.shell(&script);
        if command.contains(" --every ") {
            let said = desk.replicas.path().join("said");
            shell.stdout(File::create(&said).unwrap());
            let mut running = shell.spawn().unwrap();
            wait::until("the first run is over", || {
                running.try_wait().unwrap().is_some()
                    || fs::read_to_string(&said).unwrap().matches("| full").count() == 2
            });
            kill(
                Pid::from_raw(running.id().try_into().unwrap()),
                Signal::SIGTERM,
            )
            .unwrap();
            let status = running.wait().unwrap();
            assert_eq!(
                status.code(),
                Some(0),
                "{command}: {}",
                fs::read_to_string(&said).unwrap()
            );
            let client = desk.node.client().await;
            let left = client.snapshots(&desk.machine.id).await.unwrap();
            let [snapshot] = &left[..] else {
                panic!("{left:?}");
            };
            held = snapshot.id.to_string();
            continue;
        }
        let printed = done(&command, shell.output().unwrap());
        if command.starts_with("ovm-exporter vms ") {
            assert!(printed.contains(&desk.machine.id), "{printed}");
        } else {
            assert!(
                command.starts_with("ovm-exporter verify "),
                "{command} is not tried"
            );
            assert_eq!(printed.matches("| yes").count(), 2, "{printed}");
        }
    }
    assert!(!held.is_empty());
}
