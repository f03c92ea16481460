//! SIGKILL and SIGTERM in the middle of a pause.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use coriolis_ovm_exporter::operations::demo::daemon::Daemon;
use coriolis_ovm_exporter::operations::demo::guest::Random;
use coriolis_ovm_exporter::operations::demo::machines::Machine;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use super::answers::ask;
use super::xm::{Pause, Pausing, guards_of, signal};
use crate::support::api::Api;
use crate::support::counts::count;
use crate::support::node::PASSWORD;
use crate::support::node::USER;

const MAX_PAUSE: Duration = Duration::from_secs(4);
/// What a pause may last beyond that.
const SLACK: Duration = Duration::from_secs(1);
/// A pause lasts at least so long, in microseconds: the call takes half of it after the domain
/// has been paused.
const WINDOW: u64 = 500_000;
/// A record whose guard was killed is watched for a while; machines take turns.
const MACHINES: u32 = 12;

async fn prepared() -> (Pausing, Vec<Machine>, Machine, Random) {
    let seed = getrandom::u64().unwrap();
    println!("seed {seed}");
    let pausing = Pausing::prepare("max_pause = \"4s\"").await;
    pausing.slow("0.4");
    let machines = (1..=MACHINES).map(|at| pausing.machine(at)).collect();
    let others = pausing.machine(99);
    pausing.set(&others, "--p---");
    (pausing, machines, others, Random::new(seed))
}

/// Asks for a snapshot that will not be answered.
fn ask_in_vain(api: Api, machine: &Machine) -> tokio::task::JoinHandle<()> {
    let id = machine.id.clone();
    tokio::spawn(async move { api.post_quietly(&id, "pause").await })
}

/// A random moment of a pause.
async fn some_moment(random: &mut Random) {
    tokio::time::sleep(Duration::from_micros(random.below(WINDOW))).await;
}

fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap()
}

/// What holds at the end of each of these tests.
async fn see_that_all_is_well(pausing: &Pausing, others: &Machine, rounds: u32) {
    pausing.until_no_record_is_left().await;
    assert_eq!(pausing.state(others), "--p---");
    assert_eq!(pausing.calls(others), [""; 0]);
    let pauses = pausing.pauses();
    assert!(pauses.iter().all(|pause| pause.to.is_some()), "{pauses:#?}");
    // A test without pauses would prove nothing.
    let rounds = usize::try_from(rounds).unwrap();
    assert!(pauses.len() >= rounds, "{} of {rounds}", pauses.len());
    let mut lengths: Vec<Duration> = pauses.iter().map(Pause::length).collect();
    lengths.sort();
    let (median, longest) = (lengths[lengths.len() / 2], lengths[lengths.len() - 1]);
    println!(
        "{} pauses: median {median:?}, longest {longest:?}",
        lengths.len()
    );
    // The end of the daemon ended them, not the time.
    assert!(median < MAX_PAUSE / 2, "{lengths:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_that_is_killed_leaves_no_machine_paused() {
    let (mut pausing, machines, others, mut random) = prepared().await;
    let rounds = count(10, 200);
    for round in 0..rounds {
        let machine = &machines[usize::try_from(round % MACHINES).unwrap()];
        pausing.node.start();
        let api = Api::of(&pausing.node).await;
        let vain = ask_in_vain(Api::of(&pausing.node).await, &others);
        let asked = ask_in_vain(api, machine);
        pausing.until_paused(machine).await;
        some_moment(&mut random).await;
        pausing.node.kill();
        let _ = tokio::join!(asked, vain);
        pausing.until_running(machine).await;
    }
    see_that_all_is_well(&pausing, &others, rounds).await;
    pausing.see_that_none_was_longer_than(MAX_PAUSE + SLACK);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_and_a_guard_that_are_killed_leave_no_machine_paused_after_a_restart() {
    let (mut pausing, machines, others, mut random) = prepared().await;
    let rounds = count(4, 50);
    for round in 0..rounds {
        let machine = &machines[usize::try_from(round % MACHINES).unwrap()];
        pausing.node.start();
        let api = Api::of(&pausing.node).await;
        // A machine whose record is watched is not asked for, and so not refused.
        let watched = || {
            let records = pausing.records();
            records
                .iter()
                .any(|record| record.ends_with(format!("pause-{}", machine.id)))
        };
        super::xm::until(|| !watched()).await;
        let vain = ask_in_vain(Api::of(&pausing.node).await, &others);
        let asked = ask_in_vain(api, machine);
        pausing.until_paused(machine).await;
        some_moment(&mut random).await;
        let mut guards = guards_of(pausing.node.daemon_id());
        if random.below(2) == 0 {
            guards
                .drain(..)
                .for_each(|guard| signal(guard, Signal::SIGKILL));
        }
        pausing.node.kill();
        guards
            .into_iter()
            .for_each(|guard| signal(guard, Signal::SIGKILL));
        let _ = tokio::join!(asked, vain);
        let restarted = now();
        pausing.node.start();
        pausing.until_running(machine).await;
        for pause in pausing.pauses() {
            let late = pause.to.unwrap_or_default().saturating_sub(restarted);
            assert!(late <= MAX_PAUSE + SLACK, "{late:?}: {pause:?}");
        }
        pausing.node.kill();
    }
    pausing.node.start();
    see_that_all_is_well(&pausing, &others, rounds).await;
}

/// Starts the daemon as leader of a session, as init does, so that its process group is its own.
fn start_in_a_session(pausing: &Pausing) -> Daemon {
    let program = env!("CARGO_BIN_EXE_coriolis-ovm-exporter");
    let wrapper = pausing.path("daemon");
    if !wrapper.exists() {
        let draft = pausing.path("draft");
        fs::write(&draft, format!("#!/bin/sh\nexec setsid {program} \"$@\"\n")).unwrap();
        let mut install = Command::new("install");
        install.args(["-m", "755"]).args([&draft, &wrapper]);
        assert!(install.status().unwrap().success());
    }
    Daemon::start(&wrapper, &pausing.node.path("")).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_to_the_whole_group_leaves_no_machine_paused() {
    let (pausing, machines, others, mut random) = prepared().await;
    let rounds = count(4, 50);
    let mut answered = 0;
    for round in 0..rounds {
        let machine = &machines[usize::try_from(round % MACHINES).unwrap()];
        let mut daemon = start_in_a_session(&pausing);
        let api = Api::at(&pausing.node, daemon.address()).await;
        let asked = {
            let machine = machine.clone();
            tokio::spawn(async move { ask(&api, &machine, "pause").await })
        };
        pausing.until_paused(machine).await;
        some_moment(&mut random).await;
        let group = Pid::from_raw(i32::try_from(daemon.id()).unwrap());
        let kills = round % 4 == 3;
        killpg(
            group,
            if kills {
                Signal::SIGKILL
            } else {
                Signal::SIGTERM
            },
        )
        .unwrap();
        let answer = asked.await;
        // What was begun is finished.
        if !kills {
            let answer = answer.unwrap();
            assert_eq!(answer.status, 200, "{answer:?}");
            assert_eq!(answer.json()["consistency"], "pause");
            answered += 1;
        }
        let ended = tokio::task::spawn_blocking(move || daemon.wait().map(drop));
        ended.await.unwrap().unwrap();
        pausing.until_running(machine).await;
    }
    assert!(answered > 0);
    see_that_all_is_well(&pausing, &others, rounds).await;
    pausing.see_that_none_was_longer_than(MAX_PAUSE + SLACK);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guard_is_a_process_of_its_own_that_tells_nothing() {
    let pausing = Pausing::new("max_pause = \"4s\"").await;
    pausing.slow("1");
    let machine = pausing.machine(1);
    let api = Api::of(&pausing.node).await;
    let asked = ask_in_vain(api, &machine);
    pausing.until_paused(&machine).await;
    let daemon = pausing.node.daemon_id();
    let guards = guards_of(daemon);
    let [guard] = guards[..] else {
        panic!("{guards:?}");
    };
    let process = PathBuf::from(format!("/proc/{guard}"));
    assert_ne!(
        nix::unistd::getsid(Some(guard)),
        nix::unistd::getsid(Some(daemon_pid(daemon)))
    );
    assert_eq!(nix::unistd::getsid(Some(guard)).unwrap(), guard);
    assert_eq!(
        fs::read_link(process.join("cwd")).unwrap(),
        PathBuf::from("/")
    );
    let adjustment = fs::read_to_string(process.join("oom_score_adj")).unwrap();
    // Not every machine lets root do that.
    let refused = || pausing.node.log().contains("oom_score_adj cannot be set");
    assert!(adjustment.trim() == "-1000" || refused(), "{adjustment}");
    let words = fs::read(process.join("cmdline")).unwrap();
    assert_eq!(words, b"coriolis-ovm-exporter\0guard\0");
    assert_eq!(fs::read(process.join("environ")).unwrap(), b"");
    for text in [USER, PASSWORD, machine.id.as_str()] {
        let words = String::from_utf8_lossy(&words).into_owned();
        assert!(!words.contains(text), "{words}");
    }
    // Of the daemon's files it has none: three pipes or what stands for them, signals, the record.
    let mut open: Vec<String> = fs::read_dir(process.join("fd"))
        .unwrap()
        .filter_map(|item| fs::read_link(item.unwrap().path()).ok())
        .map(|path| path.to_string_lossy().into_owned())
        .collect();
    open.retain(|name| !name.starts_with("pipe:") && !name.contains("/pauses/"));
    assert!(
        open.iter()
            .all(|name| !name.contains("exporter.db") && !name.starts_with("socket:")),
        "{open:?}"
    );
    let _ = asked.await;
}

fn daemon_pid(id: u32) -> Pid {
    Pid::from_raw(i32::try_from(id).unwrap())
}
