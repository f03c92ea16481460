//! The demo, interrupted; and the demo without root.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use coriolis_ovm_exporter::client::{Client, Trust};
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;

use crate::support::node::Kind;
use crate::support::wait;

const PROGRAM: &str = env!("CARGO_BIN_EXE_coriolis-ovm-exporter");
const NOBODY: u32 = 65534;

/// A demo in a process group of its own, as a shell would start it, with `folder` for everything
/// that is temporary.
fn start(folder: &Path, arguments: &[&str]) -> Child {
    Command::new(PROGRAM)
        .arg("demo")
        .args(arguments)
        .env("TMPDIR", folder)
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

fn pid(child: &Child) -> Pid {
    Pid::from_raw(i32::try_from(child.id()).unwrap())
}

/// All that still is of a demo in `folder`: files, mounts, loop devices, processes.
fn traces(folder: &Path) -> Vec<String> {
    let folder = folder.display().to_string();
    let mut found = Vec::new();
    for item in fs::read_dir(&folder).unwrap() {
        found.push(format!("file {}", item.unwrap().path().display()));
    }
    let mounts = fs::read_to_string("/proc/mounts").unwrap();
    found.extend(
        mounts
            .lines()
            .filter(|line| line.contains(&folder))
            .map(|line| format!("mount {line}")),
    );
    let devices = Command::new("losetup")
        .args(["--list", "--noheadings", "--output", "NAME,BACK-FILE"])
        .output()
        .unwrap();
    let devices = String::from_utf8_lossy(&devices.stdout).into_owned();
    found.extend(
        devices
            .lines()
            .filter(|line| line.contains(&folder))
            .map(|line| format!("loop device {line}")),
    );
    for process in fs::read_dir("/proc").unwrap() {
        let process = process.unwrap().path();
        let command = fs::read(process.join("cmdline")).unwrap_or_default();
        let command = String::from_utf8_lossy(&command).replace('\0', " ");
        if command.contains(&folder) {
            found.push(format!("process {}: {command}", process.display()));
        }
    }
    found
}

/// How far a demo has come.
#[derive(Debug, Clone, Copy)]
enum Stage {
    Mounted,
    Serving,
    Copying,
}

impl Stage {
    fn is_reached(self, folder: &Path) -> bool {
        let Some(ground) = fs::read_dir(folder).unwrap().flatten().next() else {
            return false;
        };
        let ground = ground.path();
        match self {
            Stage::Mounted => {
                let point = ground.join("repository").display().to_string();
                fs::read_to_string("/proc/mounts").unwrap().contains(&point)
            }
            Stage::Serving => fs::read_to_string(ground.join("node/exporter.log"))
                .is_ok_and(|log| log.contains("serving")),
            Stage::Copying => fs::read_dir(ground).is_ok_and(|items| {
                items
                    .flatten()
                    .any(|item| item.file_name().to_string_lossy().starts_with("replica"))
            }),
        }
    }
}

fn ended(child: Child) -> Output {
    let begun = Instant::now();
    let id = pid(&child);
    let (send, receive) = std::sync::mpsc::channel();
    std::thread::spawn(move || send.send(child.wait_with_output()));
    let output = receive.recv_timeout(Duration::from_secs(30));
    if output.is_err() {
        let _ = killpg(id, Signal::SIGKILL);
    }
    let output = output.expect("the demo does not end").unwrap();
    println!("ended after {:?}", begun.elapsed());
    output
}

#[test]
fn an_interrupted_demo_leaves_nothing() {
    for stage in [Stage::Mounted, Stage::Serving, Stage::Copying] {
        for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
            let folder = tempfile::tempdir().unwrap();
            let demo = start(folder.path(), &[]);
            wait::until("the demo comes so far", || stage.is_reached(folder.path()));
            if signal == Signal::SIGINT {
                // What Ctrl-C does: all of its group gets it, the daemon too.
                killpg(pid(&demo), signal).unwrap();
            } else {
                kill(pid(&demo), signal).unwrap();
            }
            let output = ended(demo);
            let said = String::from_utf8_lossy(&output.stderr);
            assert_eq!(
                traces(folder.path()),
                [""; 0],
                "{stage:?} {signal:?}: {said}"
            );
            assert!(!output.status.success(), "{stage:?} {signal:?}");
            if signal == Signal::SIGTERM {
                assert!(said.contains("taken down"), "{stage:?}: {said}");
            }
        }
    }
}

#[test]
fn a_demo_that_fails_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let none = folder.path().join("none");
    let demo = start(folder.path(), &["--dir", none.to_str().unwrap()]);
    let output = ended(demo);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success());
    assert!(said.contains(none.to_str().unwrap()), "{said}");
    // A file system that cannot clone.
    let ground = Kind::Ext4.make(1 << 30);
    let demo = start(
        folder.path(),
        &["--dir", ground.repository().to_str().unwrap()],
    );
    let output = ended(demo);
    assert!(!output.status.success());
    assert_eq!(traces(folder.path()), [""; 0]);
    let left: Vec<_> = fs::read_dir(ground.repository())
        .unwrap()
        .map(|item| item.unwrap().file_name())
        .filter(|name| name.to_string_lossy().contains("demo"))
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

/// A demo in a folder, as a user who is nobody.
fn as_nobody(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new("setpriv");
    command
        .args([
            "--reuid=65534",
            "--regid=65534",
            "--clear-groups",
            "--inh-caps=-all",
        ])
        .arg(PROGRAM)
        .args(["demo", "--dir"])
        .arg(folder)
        .args(arguments)
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_will_do_and_no_root_is_needed() {
    for kind in [Kind::Xfs, Kind::Btrfs] {
        let ground = kind.make(2 << 30);
        // Everybody may pass, to a folder that is nobody's.
        fs::set_permissions(ground.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let folder = ground.repository().join("home of nobody");
        fs::create_dir(&folder).unwrap();
        chown(&folder, Some(NOBODY), Some(NOBODY)).unwrap();

        let output = as_nobody(&folder, &["--json", "--seed", "3"])
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{kind:?}: {said}");
        let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let disks = report["disks"].as_array().unwrap();
        assert_eq!(disks.len(), 5);
        assert!(
            disks.iter().all(|disk| disk["identical"] == true),
            "{report:#}"
        );
        assert_eq!(traces(&folder), [""; 0], "{kind:?}");

        let mut kept = as_nobody(&folder, &["--keep"]).spawn().unwrap();
        let (endpoint, authority) = what_to_try(&mut kept);
        let trust = Trust::Authority(fs::read(authority).unwrap());
        let client = Client::login(&endpoint, "admin", "demo-password", &trust)
            .await
            .unwrap();
        let vm = client.vms().await.unwrap().remove(0);
        let snapshot = client.create_snapshot(&vm.id).await.unwrap();
        assert!(
            snapshot
                .warnings
                .iter()
                .any(|warning| warning.contains("immutable")),
            "{:#?}",
            snapshot.warnings
        );
        assert!(snapshot.disks.iter().all(|disk| !disk.sealed));
        kill(pid(&kept), Signal::SIGTERM).unwrap();
        ended(kept);
        assert_eq!(traces(&folder), [""; 0], "{kind:?}");
    }
}

/// Reads the lines to try until endpoint and authority have come by.
fn what_to_try(demo: &mut Child) -> (String, String) {
    let lines = BufReader::new(demo.stdout.as_mut().unwrap()).lines();
    for line in lines {
        let line = line.unwrap();
        if let Some((endpoint, authority)) = line
            .strip_prefix("API=")
            .and_then(|rest| rest.split_once("/api/v1 CA="))
        {
            return (endpoint.to_owned(), authority.to_owned());
        }
    }
    panic!("the demo said nothing to try");
}
