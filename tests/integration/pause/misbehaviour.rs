//! A toolstack that fails, hangs or lies, a file system that stops, a guard that is killed.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use coriolis_ovm_exporter::operations::demo::daemon::Daemon;
use nix::sys::signal::Signal;

use super::answers::{ask, warnings};
use super::xm::{Pausing, guards_of, signal, until};
use crate::support::api::Api;
use crate::support::frozen::Frozen;

/// Nothing of a snapshot that was not taken.
fn see_that_nothing_is_left(pausing: &Pausing) {
    let left: Vec<PathBuf> = pausing
        .node
        .snapshot_files()
        .into_iter()
        .filter(|path| path.extension().is_some_and(|ending| ending == "img"))
        .collect();
    assert_eq!(left, [""; 0].map(PathBuf::from));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_call_that_fails_or_hangs_is_undone_if_it_had_an_effect() {
    let pausing = Pausing::new("max_pause = \"3s\"").await;
    let api = Api::of(&pausing.node).await;
    for (at, (how, works)) in (1..).zip([
        (&["then-fails"][..], true),
        (&["then-hangs"], true),
        (&["fails"], true),
        (&["hangs"], true),
        (&["fails", "fails"], false),
        (&["hangs", "hangs"], false),
        (&["hangs", "then-fails"], true),
    ]) {
        let machine = pausing.machine(at);
        pausing.behave("pause", how);
        let answer = ask(&api, &machine, "pause").await;
        assert!(!pausing.is_paused(&machine), "{how:?}");
        if works {
            assert_eq!(answer.status, 200, "{how:?}: {answer:?}");
            assert_eq!(answer.json()["consistency"], "pause", "{how:?}");
        } else {
            let (_, details) = answer.error(503);
            assert!(details.contains("pause"), "{how:?}: {details}");
            let listed = api.json(&format!("/vms/{}/snapshots", machine.id)).await;
            assert_eq!(listed.as_array().unwrap().len(), 0, "{how:?}");
        }
        let calls = pausing.calls(&machine);
        assert_eq!(calls.last().unwrap(), "call-unpause", "{how:?}: {calls:?}");
    }
    pausing.see_that_none_was_longer_than(Duration::from_secs(4));
    pausing.until_no_record_is_left().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_that_comes_late_is_undone() {
    let pausing = Pausing::new("max_pause = \"2s\"").await;
    let machine = pausing.machine(1);
    let api = Api::of(&pausing.node).await;
    pausing.behave("pause", &["hangs-then-late", "fails"]);
    ask(&api, &machine, "pause").await.error(503);
    until(|| !pausing.pauses().is_empty()).await;
    pausing.until_running(&machine).await;
    pausing.until_no_record_is_left().await;
    pausing.see_that_none_was_longer_than(Duration::from_secs(3));
    assert!(!pausing.is_paused(&machine));
}

#[tokio::test(flavor = "multi_thread")]
async fn unpausing_is_tried_until_it_works() {
    let pausing = Pausing::new("max_pause = \"20s\"").await;
    let api = Api::of(&pausing.node).await;
    for (at, how) in (1..).zip([
        &["fails", "fails", "fails"][..],
        &["hangs", "fails"],
        &["then-hangs"],
    ]) {
        let machine = pausing.machine(at);
        pausing.behave("unpause", how);
        let answer = ask(&api, &machine, "pause").await;
        assert_eq!(answer.status, 200, "{how:?}: {answer:?}");
        // The clones were of one moment all the same.
        assert_eq!(answer.json()["consistency"], "pause");
        pausing.until_running(&machine).await;
    }
    let machine = pausing.machine(9);
    pausing.behave("list", &["well", "well", "fails", "fails", "hangs"]);
    let answer = ask(&api, &machine, "pause").await;
    assert_eq!(answer.json()["consistency"], "pause", "{answer:?}");
    pausing.until_no_record_is_left().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_toolstack_that_does_not_answer_costs_the_consistency_or_the_snapshot() {
    let pausing = Pausing::new("consistency = \"pause\"").await;
    let machine = pausing.machine(1);
    let api = Api::of(&pausing.node).await;
    pausing.behave("list", &["fails"]);
    let (_, details) = ask(&api, &machine, "pause").await.error(503);
    assert!(details.contains("Unable to connect to xend"), "{details}");
    see_that_nothing_is_left(&pausing);
    pausing.behave("list", &["fails"]);
    let snapshot = api.snapshot(&machine.id).await;
    assert_eq!(snapshot["consistency"], "none");
    assert!(warnings(&snapshot).contains("Unable to connect to xend"));
    assert_eq!(pausing.calls(&machine), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_that_is_none_is_not_called_one() {
    let pausing = Pausing::new("consistency = \"pause\"").await;
    let machine = pausing.machine(1);
    let api = Api::of(&pausing.node).await;
    pausing.behave("pause", &["lies"]);
    let (_, details) = ask(&api, &machine, "pause").await.error(503);
    assert!(details.contains("not paused any more"), "{details}");
    see_that_nothing_is_left(&pausing);
    // Nor where nobody can tell.
    pausing.behave("list", &["well", "fails"]);
    ask(&api, &machine, "pause").await.error(503);
    assert!(!pausing.is_paused(&machine));
    pausing.behave("pause", &["lies"]);
    let snapshot = api.snapshot(&machine.id).await;
    assert_eq!(snapshot["consistency"], "none");
    assert!(warnings(&snapshot).contains("not paused any more"));
    pausing.until_no_record_is_left().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guard_that_is_stopped_before_it_holds_is_ended_in_time() {
    let pausing = Pausing::new("max_pause = \"2s\"").await;
    let machine = pausing.machine(1);
    let api = Api::of(&pausing.node).await;
    // It stops its parent, the guard, right after the domain has been paused.
    pausing.behave("pause", &["stops-guard"]);
    ask(&api, &machine, "pause").await.error(503);
    assert!(!pausing.is_paused(&machine));
    pausing.see_that_none_was_longer_than(Duration::from_secs(2 + 1 + 2));
    pausing.until_no_record_is_left().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clones_that_take_too_long_do_not_keep_a_machine() {
    let pausing = Pausing::new("consistency = \"pause\"\nmax_pause = \"2s\"").await;
    let machine = pausing.machine(1);
    let api = Api::of(&pausing.node).await;
    pausing.slow("1");
    for insisted in [true, false] {
        let path = format!("/vms/{}/snapshots", machine.id);
        let asked = async {
            if insisted {
                ask(&api, &machine, "pause").await
            } else {
                api.post(&path).await.unwrap()
            }
        };
        let meanwhile = async {
            pausing.until_paused(&machine).await;
            // Before the first clone: the pause call takes a second yet.
            let frozen = Frozen::new(&pausing.node.repositories[0].path());
            pausing.until_running(&machine).await;
            drop(frozen);
        };
        let (answer, ()) = tokio::join!(asked, meanwhile);
        if insisted {
            let (_, details) = answer.error(503);
            assert!(details.contains("max_pause"), "{details}");
            see_that_nothing_is_left(&pausing);
        } else {
            assert_eq!(answer.status, 200, "{answer:?}");
            let snapshot = answer.json();
            assert_eq!(snapshot["consistency"], "none");
            assert!(warnings(&snapshot).contains("max_pause"), "{snapshot:#}");
        }
    }
    pausing.see_that_none_was_longer_than(Duration::from_secs(3));
    pausing.until_no_record_is_left().await;
}

/// Whether a thread of a process waits in the kernel for a file system.
fn is_stuck(process: u32) -> bool {
    let threads = std::fs::read_dir(format!("/proc/{process}/task")).unwrap();
    threads.flatten().any(|thread| {
        let stat = std::fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
        stat.rsplit(')')
            .next()
            .unwrap_or_default()
            .starts_with(" D")
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guard_that_stands_still_is_ended_by_the_daemon() {
    let pausing = Pausing::new("max_pause = \"8s\"").await;
    let api = Api::of(&pausing.node).await;
    pausing.slow("1");
    let machine = pausing.machine(1);
    let daemon = pausing.node.daemon_id();
    // The clones wait until the guard cannot do anything any more.
    let meanwhile = async {
        pausing.until_paused(&machine).await;
        let frozen = Frozen::new(&pausing.node.repositories[0].path());
        until(|| is_stuck(daemon)).await;
        let guards = guards_of(daemon);
        guards
            .iter()
            .for_each(|guard| signal(*guard, Signal::SIGSTOP));
        drop(frozen);
    };
    let (answer, ()) = tokio::join!(ask(&api, &machine, "pause"), meanwhile);
    let (_, details) = answer.error(503);
    assert!(details.contains("guard"), "{details}");
    pausing.until_running(&machine).await;
    pausing.until_no_record_is_left().await;
    crate::support::wait::until_nothing("no guard is left", || guards_of(daemon)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guard_that_is_killed_or_told_to_end_keeps_no_machine() {
    let pausing = Pausing::new("consistency = \"pause\"\nmax_pause = \"8s\"").await;
    let api = Api::of(&pausing.node).await;
    pausing.slow("1");
    let daemon = pausing.node.daemon_id();
    let signals = [
        Signal::SIGKILL,
        Signal::SIGTERM,
        Signal::SIGHUP,
        Signal::SIGUSR1,
    ];
    for (at, end) in (0..).zip(signals) {
        for insisted in [true, false] {
            let machine = pausing.machine(10 + 2 * at + u32::from(insisted));
            let path = format!("/vms/{}/snapshots", machine.id);
            let asked = async {
                if insisted {
                    ask(&api, &machine, "pause").await
                } else {
                    api.post(&path).await.unwrap()
                }
            };
            let meanwhile = async {
                pausing.until_paused(&machine).await;
                let guards = guards_of(daemon);
                let [guard] = guards[..] else {
                    panic!("{guards:?}");
                };
                signal(guard, end);
                pausing.until_running(&machine).await;
            };
            let (answer, ()) = tokio::join!(asked, meanwhile);
            if insisted {
                let (_, details) = answer.error(503);
                assert!(details.contains("guard"), "{end}: {details}");
            } else {
                assert_eq!(answer.status, 200, "{end}: {answer:?}");
                let snapshot = answer.json();
                assert_eq!(snapshot["consistency"], "none", "{end}");
                assert!(warnings(&snapshot).contains("guard"), "{end}: {snapshot:#}");
            }
        }
    }
    // Killed in the middle of the pause call, its effect is watched for.
    pausing.until_no_record_is_left().await;
    // It was the signal, not the time.
    pausing.see_that_none_was_longer_than(Duration::from_secs(7));
    // No guard is left as a zombie either.
    crate::support::wait::until_nothing("no guard is left", || guards_of(daemon)).await;
}

/// A daemon in a container may lack the right to it (CAP_SYS_RESOURCE).
#[tokio::test(flavor = "multi_thread")]
async fn that_memory_may_run_out_for_guards_is_warned_of_once() {
    let pausing = Pausing::prepare("").await;
    let machine = pausing.machine(1);
    let wrapper = pausing.path("without-the-right");
    let draft = pausing.path("draft");
    let program = env!("CARGO_BIN_EXE_coriolis-ovm-exporter");
    let script = format!("#!/bin/sh\nexec setpriv --bounding-set=-sys_resource {program} \"$@\"\n");
    std::fs::write(&draft, script).unwrap();
    let mut install = Command::new("install");
    let installed = install
        .args(["-m", "755"])
        .arg(&draft)
        .arg(&wrapper)
        .status();
    assert!(installed.unwrap().success());
    let daemon = Daemon::start(&wrapper, &pausing.node.path("")).unwrap();
    let api = Api::at(&pausing.node, daemon.address()).await;
    for _ in 0..2 {
        let snapshot = ask(&api, &machine, "pause").await.json();
        assert_eq!(snapshot["consistency"], "pause", "{snapshot:#}");
        assert_eq!(warnings(&snapshot), "", "it is no matter of the snapshot's");
    }
    let log = pausing.node.log();
    let said: Vec<&str> = log
        .lines()
        .filter(|line| line.contains("oom_score_adj"))
        .collect();
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(said[0].contains("WARN"), "{said:?}");
}
