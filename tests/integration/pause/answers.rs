//! What a request for one moment is answered.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::time::Duration;

use coriolis_ovm_exporter::operations::demo::machines::Machine;
use reqwest::Method;
use serde_json::{Value, json};

use super::xm::Pausing;
use crate::support::api::{Answer, Api, text};

/// Asks for a snapshot with a consistency.
pub async fn ask(api: &Api, machine: &Machine, consistency: &str) -> Answer {
    let path = format!("/vms/{}/snapshots", machine.id);
    let body = json!({"consistency": consistency});
    api.send_body(Method::POST, &path, body).await
}

pub fn warnings(snapshot: &Value) -> String {
    let warnings = snapshot["warnings"].as_array().unwrap();
    warnings.iter().map(text).collect::<Vec<_>>().join("\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_stands_still_while_its_disks_are_cloned() {
    let pausing = Pausing::new("max_pause = \"20s\"").await;
    let machine = pausing.machine(1);
    let api = Api::of(&pausing.node).await;
    let answer = ask(&api, &machine, "pause").await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let snapshot = answer.json();
    assert_eq!(snapshot["consistency"], "pause");
    assert_eq!(warnings(&snapshot), "");
    assert_eq!(pausing.calls(&machine), ["call-pause", "call-unpause"]);
    assert!(!pausing.is_paused(&machine));
    // What it says of the pause's length holds what the stand-in saw of it.
    let pause = &pausing.pauses()[0];
    let seen = pause.to.unwrap() - pause.from;
    let said = Duration::from_secs_f64(snapshot["pause_ms"].as_f64().unwrap() / 1000.0);
    assert!(said >= seen, "{said:?} {seen:?}");
    assert!(said < Duration::from_secs(20));
    pausing.until_no_record_is_left().await;

    // It is remembered.
    let path = format!("/vms/{}/snapshots", machine.id);
    let listed = api.json(&path).await;
    assert_eq!(listed[0]["consistency"], "pause");
    assert_eq!(listed[0]["pause_ms"], snapshot["pause_ms"]);

    // The configuration says none.
    let plain = api.snapshot(&machine.id).await;
    assert_eq!(plain["consistency"], "none");
    assert_eq!(plain["pause_ms"], Value::Null);
    assert_eq!(pausing.calls(&machine).len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_configuration_asks_where_the_request_does_not() {
    let pausing = Pausing::new("consistency = \"pause\"\nmax_pause = \"20s\"").await;
    let machine = pausing.machine(1);
    let api = Api::of(&pausing.node).await;
    assert_eq!(api.snapshot(&machine.id).await["consistency"], "pause");
    let answer = ask(&api, &machine, "none").await;
    assert_eq!(answer.json()["consistency"], "none");
    assert_eq!(pausing.calls(&machine).len(), 2);
    let answer = ask(&api, &machine, "Pause").await;
    answer.error(400);
    let (_, details) = ask(&api, &machine, "command").await.error(400);
    assert!(details.contains("before_snapshot"), "{details}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_run_here_or_was_paused_by_others_is_left_alone() {
    let pausing = Pausing::new("consistency = \"pause\"").await;
    let machine = pausing.machine(1);
    let api = Api::of(&pausing.node).await;
    for (state, reason) in [
        ("--p---", "somebody else has paused it"),
        ("---s--", "it does not run"),
        ("----c-", "it does not run"),
        ("", "it does not run on this node"),
    ] {
        if state.is_empty() {
            std::fs::remove_file(pausing.path("domains").join(&machine.id)).unwrap();
        } else {
            pausing.set(&machine, state);
        }
        for answer in [
            ask(&api, &machine, "pause").await,
            api.post(&format!("/vms/{}/snapshots", machine.id))
                .await
                .unwrap(),
        ] {
            assert_eq!(answer.status, 200, "{state}: {answer:?}");
            let snapshot = answer.json();
            assert_eq!(snapshot["consistency"], "none", "{state}");
            assert_eq!(snapshot["pause_ms"], Value::Null, "{state}");
            assert!(warnings(&snapshot).contains(reason), "{snapshot:#}");
        }
        if !state.is_empty() {
            assert_eq!(pausing.state(&machine), state);
        }
    }
    assert_eq!(pausing.calls(&machine), [""; 0]);
    pausing.until_no_record_is_left().await;
}

/// Every other block of a file.
fn fragment(path: &Path, extents: u64) {
    let file = File::options().write(true).open(path).unwrap();
    file.set_len(extents * 8192).unwrap();
    for at in 0..extents {
        file.write_all_at(&[7; 4096], at * 8192).unwrap();
    }
    file.sync_all().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_would_take_too_long_is_refused_before_anything_stands_still() {
    let pausing = Pausing::new("max_pause = \"80ms\"").await;
    let machine = pausing.machine(1);
    // Nothing is known of the repository: 25 µs each.
    fragment(&machine.disks[0], 2000);
    fragment(&machine.disks[1], 2000);
    let api = Api::of(&pausing.node).await;
    let (_, details) = ask(&api, &machine, "pause").await.error(409);
    for part in ["4000 extents", "max_pause", "defragment"] {
        assert!(details.contains(part), "{details}");
    }
    assert_eq!(pausing.calls(&machine), [""; 0]);
    assert!(
        pausing
            .node
            .snapshot_files()
            .iter()
            .all(|path| { path.file_name().unwrap() == "CoriolisSnapshots" || !path.is_dir() })
    );
    // Now something is: what it really took.
    let plain = api.snapshot(&machine.id).await;
    let took: f64 = plain["disks"]
        .as_array()
        .unwrap()
        .iter()
        .map(|disk| disk["stall_ms"].as_f64().unwrap())
        .sum();
    println!("4000 extents took {took} ms");
    let longer = ask(&api, &machine, "pause").await;
    // Never refused as too long where the clones have been shown to be fast.
    if took < 30.0 {
        assert_ne!(longer.status, 409, "{longer:?}");
    }
}
