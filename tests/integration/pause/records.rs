//! Pause records that are damaged, and a place for them that is none.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use coriolis_ovm_exporter::operations::demo::machines::Machine;
use serde_json::Value;

use super::answers::{ask, warnings};
use super::xm::Pausing;
use crate::support::api::Api;

/// Far less than a request waits for a pause that may yet end.
const AT_ONCE: Duration = Duration::from_secs(15);

/// What the node warns of.
async fn node_warnings(api: &Api) -> String {
    let node: Value = api.json("/node").await;
    warnings(&node)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_record_is_named_at_once_and_lets_go_of_nothing() {
    let mut pausing = Pausing::prepare("max_pause = \"20s\"").await;
    let (machine, other) = (pausing.machine(1), pausing.machine(2));
    // Who paused it cannot be told.
    pausing.set(&machine, "--p---");
    let record = pausing
        .node
        .path("pauses")
        .join(format!("pause-{}", machine.id));
    fs::create_dir(pausing.node.path("pauses")).unwrap();
    fs::write(&record, "{\"task\": 5}\n").unwrap();
    pausing.node.start();
    let shown = record.display().to_string();
    // The start does not wait for what only a hand can mend.
    let log = pausing.node.log();
    assert!(!log.contains("is not unpaused yet"), "{log}");
    let api = Api::of(&pausing.node).await;

    let begun = Instant::now();
    let (_, details) = ask(&api, &machine, "pause").await.error(503);
    assert!(begun.elapsed() < AT_ONCE, "{:?}", begun.elapsed());
    assert!(details.contains(&shown), "{details}");
    assert!(details.contains("remove the file"), "{details}");
    let told = node_warnings(&api).await;
    assert!(told.contains(&shown), "{told}");

    // Nobody else is held up.
    assert_eq!(ask(&api, &machine, "none").await.status, 200);
    let answer = ask(&api, &other, "pause").await;
    assert_eq!(answer.json()["consistency"], "pause", "{answer:?}");
    assert_eq!(pausing.calls(&machine), [""; 0]);
    assert!(pausing.is_paused(&machine));

    fs::remove_file(&record).unwrap();
    pausing.set(&machine, "-b----");
    let answer = ask(&api, &machine, "pause").await;
    assert_eq!(answer.json()["consistency"], "pause", "{answer:?}");
    assert_eq!(node_warnings(&api).await, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_place_for_records_that_is_no_folder_is_named_at_once() {
    let mut pausing = Pausing::prepare("").await;
    let machine = pausing.machine(1);
    let place = pausing.node.path("pauses");
    fs::write(&place, "").unwrap();
    pausing.node.start();
    see_that_it_is_refused(&pausing, &machine, &place).await;
    fs::remove_file(&place).unwrap();
    let api = Api::of(&pausing.node).await;
    let answer = ask(&api, &machine, "pause").await;
    assert_eq!(answer.json()["consistency"], "pause", "{answer:?}");
}

/// A folder that not even root may write to, until this is dropped.
struct Immutable(PathBuf);

impl Immutable {
    fn make(folder: &Path) -> Immutable {
        let made = Command::new("chattr").arg("+i").arg(folder).status();
        assert!(made.unwrap().success());
        Immutable(folder.to_owned())
    }
}

impl Drop for Immutable {
    fn drop(&mut self) {
        let _ = Command::new("chattr").arg("-i").arg(&self.0).status();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_place_for_records_that_cannot_be_written_is_named_at_once() {
    let mut pausing = Pausing::prepare("").await;
    let machine = pausing.machine(1);
    let place = pausing.node.path("pauses");
    fs::create_dir(&place).unwrap();
    // What nobody can remove, although nothing was held.
    fs::write(place.join(format!("pause-{}", machine.id)), "").unwrap();
    let immutable = Immutable::make(&place);
    pausing.node.start();
    see_that_it_is_refused(&pausing, &machine, &place).await;
    drop(immutable);
    let api = Api::of(&pausing.node).await;
    let answer = ask(&api, &machine, "pause").await;
    assert_eq!(answer.json()["consistency"], "pause", "{answer:?}");
}

async fn see_that_it_is_refused(pausing: &Pausing, machine: &Machine, place: &Path) {
    let api = Api::of(&pausing.node).await;
    let begun = Instant::now();
    let (_, details) = ask(&api, machine, "pause").await.error(503);
    assert!(begun.elapsed() < AT_ONCE, "{:?}", begun.elapsed());
    let shown = place.display().to_string();
    assert!(details.contains(&shown), "{details}");
    let told = node_warnings(&api).await;
    assert!(told.contains(&shown), "{told}");
    assert_eq!(ask(&api, machine, "none").await.status, 200);
    assert_eq!(pausing.calls(machine), [""; 0]);
}
