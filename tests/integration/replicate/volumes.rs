//! Volumes of a worker that are not what they were: others under their names, blank ones, older copies.
//! Nothing of an increment may go there, and none of it may be refused to those that are right.

use std::fs::{self, File};
use std::path::PathBuf;

use coriolis_ovm_exporter::client::replicate::{
    How, Outcome, Place, ReplicateError, StateFile, StateStore as _,
};
use serde_json::{Value, json};

use super::super::comparison::seed::Seed;
use super::super::coriolis::worker::Fault;
use super::super::support::disk::write;
use super::scene::MIB;
use super::workers::{NAMES, Transfer, device, hows};

/// Bytes of each disk: more than what is looked at in any case.
const SIZE: u64 = 12 * MIB;
/// A place in the first half, which holds something, where nobody looks unless it was written.
const PLACE: u64 = 5 * MIB + (640 << 10);

/// Two disks of random bytes, the second half zero, and a replica of them.
async fn replicated() -> Transfer {
    let transfer = Transfer::set(Seed::choose()).await;
    for disk in [0, 1] {
        transfer.scene.make(disk, SIZE);
    }
    enlarge(&transfer);
    run(&transfer).await;
    transfer
}

/// Volumes that are large enough, and new.
fn enlarge(transfer: &Transfer) {
    for name in NAMES {
        let volume = File::create(transfer.worker.file(&device(name))).unwrap();
        volume.set_len(SIZE + MIB).unwrap();
    }
}

/// A run that is not verified, and has to find out by itself.
async fn run(transfer: &Transfer) -> Outcome {
    let is_first = transfer.scene.state().base.is_none();
    let outcome = transfer.unverified(is_first).run().await.unwrap();
    transfer.check_bytes(&outcome).await;
    transfer.worker.asked();
    outcome
}

async fn next(transfer: &Transfer) {
    let outcome = run(transfer).await;
    assert_eq!(hows(&outcome), [How::Incremental; 2], "{outcome:?}");
}

/// The volume of one disk is not what it was: it is told, nothing is written and nothing is forgotten.
async fn assert_refused(transfer: &Transfer, disk: &str, words: &[&str]) {
    let before = transfer.scene.state();
    transfer.worker.asked();
    let error = transfer.unverified(false).run().await.unwrap_err();
    println!("{error}");
    let ReplicateError::Unproven { disk: named, .. } = &error else {
        panic!("{error}")
    };
    assert_eq!(named, disk, "{error}");
    let text = error.to_string();
    for word in words.iter().chain(&[disk, "--overwrite"]) {
        assert!(text.contains(word), "no {word} in: {text}");
    }
    assert_eq!(transfer.written(), 0);
    assert_eq!(
        (transfer.worker.held(), transfer.worker.jobs()),
        (vec![], 0)
    );
    let after = transfer.scene.state();
    assert_eq!((after.base, after.disks), (before.base, before.disks));
    assert!(after.suspect.is_empty(), "{:?}", after.suspect);
}

/// With the owner's word all of it is copied, and the reasons told.
async fn overwrite(transfer: &Transfer, whys: [&str; 2]) {
    let outcome = transfer.unverified(false).overwrite().run().await.unwrap();
    transfer.check_bytes(&outcome).await;
    assert_eq!(hows(&outcome), [How::Full; 2], "{outcome:?}");
    for (disk, why) in outcome.disks.iter().zip(whys) {
        assert!(disk.why.contains(why), "{disk:?}");
        let warned = |warning: &String| warning.contains(&disk.name) && warning.contains(why);
        assert!(outcome.warnings.iter().any(warned), "{outcome:?}");
    }
    next(transfer).await;
}

const NOT_AS_LEFT: &str = "is not as the last run has left it: of";
/// Said of a volume that was looked at beside such a one.
const MAYBE: &str = "may be another volume too, since that of";

fn volume(transfer: &Transfer, disk: usize) -> PathBuf {
    transfer.worker.file(&device(NAMES[disk]))
}

fn exchange(transfer: &Transfer) {
    let [one, other] = [0, 1].map(|disk| volume(transfer, disk));
    let between = one.with_extension("between");
    fs::rename(&one, &between).unwrap();
    fs::rename(&other, &one).unwrap();
    fs::rename(&between, &other).unwrap();
}

fn covers(places: &[Place], at: u64) -> bool {
    let mut places = places.iter();
    places.any(|place| place.offset <= at && at < place.offset + place.length)
}

#[tokio::test(flavor = "multi_thread")]
async fn volumes_that_were_exchanged_are_found_out_before_anything_is_written() {
    let transfer = replicated().await;
    transfer.scene.write(0, PLACE, &[1; 4096]);
    next(&transfer).await;
    exchange(&transfer);
    transfer.scene.write(1, PLACE, &[2; 4096]);
    assert_refused(&transfer, "a.img", &[NOT_AS_LEFT, &device("a.img")]).await;
    // The right ones again: an increment is enough.
    exchange(&transfer);
    next(&transfer).await;
    exchange(&transfer);
    overwrite(&transfer, [NOT_AS_LEFT; 2]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blank_volume_is_found_out() {
    let transfer = replicated().await;
    let blank = File::create(volume(&transfer, 1)).unwrap();
    blank.set_len(SIZE + MIB).unwrap();
    transfer.scene.write(1, PLACE, &[2; 4096]);
    assert_refused(&transfer, "b.img", &[NOT_AS_LEFT]).await;
    overwrite(&transfer, [MAYBE, NOT_AS_LEFT]).await;
    // One that is said to be blank: it is believed, and zeros are written all the same.
    let blank = File::create(volume(&transfer, 0)).unwrap();
    blank.set_len(SIZE + MIB).unwrap();
    let outcome = transfer.unverified(true).run().await.unwrap();
    transfer.check_bytes(&outcome).await;
    assert_eq!(hows(&outcome), [How::Full; 2]);
}

/// Whatever a run has changed, an older copy of the volume lacks.
#[tokio::test(flavor = "multi_thread")]
async fn an_older_copy_of_a_volume_is_found_out() {
    let transfer = replicated().await;
    let (now, older) = (
        volume(&transfer, 1),
        transfer.scene.folder.path().join("older"),
    );
    let changes: [(&str, &[u8]); 2] = [("bytes", &[7; 4096]), ("zeros", &[0; 4096])];
    for (number, (what, bytes)) in (0_u64..).zip(changes) {
        println!("{what}");
        fs::copy(&now, &older).unwrap();
        transfer.scene.write(1, PLACE + number * 8192, bytes);
        next(&transfer).await;
        // Runs in which nothing changes there.
        for _ in 0..2 {
            transfer.scene.write(0, PLACE, &[3; 512]);
            next(&transfer).await;
        }
        fs::copy(&older, &now).unwrap();
        transfer.scene.write(1, PLACE + 64 * 4096, &[9; 4096]);
        assert_refused(&transfer, "b.img", &[NOT_AS_LEFT]).await;
        overwrite(&transfer, [MAYBE, NOT_AS_LEFT]).await;
    }
}

/// As disks are that were made from one template.
#[tokio::test(flavor = "multi_thread")]
async fn disks_that_are_the_same_but_for_one_place_are_told_from_each_other() {
    let transfer = Transfer::set(Seed::choose()).await;
    transfer.scene.make(0, SIZE);
    fs::copy(&transfer.scene.disks[0], &transfer.scene.disks[1]).unwrap();
    enlarge(&transfer);
    run(&transfer).await;
    transfer.scene.write(1, PLACE, &[1; 4096]);
    next(&transfer).await;
    // It was looked at where only one of them was written, and both are suspect.
    let places = &transfer.scene.state().disks["a.img"].places;
    assert!(!covers(places, PLACE), "{places:?}");
    exchange(&transfer);
    assert_refused(&transfer, "b.img", &[NOT_AS_LEFT]).await;
    overwrite(&transfer, [MAYBE, NOT_AS_LEFT]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn blank_disks_are_no_reason_to_refuse() {
    let transfer = Transfer::set(Seed::choose()).await;
    for disk in &transfer.scene.disks {
        // Of zeros that are there, and of none.
        fs::write(disk, vec![0; 6 << 20]).unwrap();
        File::options()
            .write(true)
            .open(disk)
            .unwrap()
            .set_len(SIZE)
            .unwrap();
    }
    enlarge(&transfer);
    run(&transfer).await;
    next(&transfer).await;
    // One blank volume is as good as another.
    exchange(&transfer);
    next(&transfer).await;
    // One that somebody else has written to is not, even in the middle of nothing.
    write(&volume(&transfer, 0), 100, &[1]);
    transfer.scene.write(0, PLACE, &[1; 4096]);
    assert_refused(&transfer, "a.img", &[NOT_AS_LEFT]).await;
    write(&volume(&transfer, 0), 100, &[0]);
    next(&transfer).await;
    // From now on one of them holds something.
    exchange(&transfer);
    assert_refused(&transfer, "a.img", &[NOT_AS_LEFT]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn volumes_that_were_exchanged_after_a_run_that_broke_off_are_found_out() {
    let transfer = replicated().await;
    // Both have something at the start that changes: there it cannot be looked.
    for disk in [0, 1] {
        transfer.scene.write(disk, 0, &[5; 8192]);
        transfer.scene.write(disk, PLACE, &[6; 4096]);
    }
    transfer.worker.plan(|asked| {
        let is_it = asked.what == "write" && asked.offset >= PLACE;
        is_it.then_some(Fault::Refuse(507))
    });
    transfer.unverified(false).run().await.unwrap_err();
    transfer.worker.mend();
    let pending = transfer.scene.state().pending.unwrap();
    assert!(!pending.dirty.is_empty());
    exchange(&transfer);
    let error = transfer.unverified(false).run().await.unwrap_err();
    println!("{error}");
    assert!(matches!(error, ReplicateError::Unproven { .. }), "{error}");
    exchange(&transfer);
    let outcome = transfer.unverified(false).run().await.unwrap();
    transfer.check_bytes(&outcome).await;
    assert_eq!(outcome.finished, pending.snapshot);
    for disks in [&outcome.disks, &outcome.finished_disks] {
        let hows: Vec<How> = disks.iter().map(|disk| disk.how).collect();
        assert_eq!(hows, [How::Incremental; 2], "{disks:?}");
    }
}

/// A state that an earlier release has written knows no places.
#[tokio::test(flavor = "multi_thread")]
async fn an_older_state_is_read_and_its_volumes_are_looked_at_all_the_same() {
    let transfer = replicated().await;
    let forget = || {
        let path = transfer.scene.state_path();
        let mut state: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        for name in NAMES {
            let disk = state["disks"][name].as_object_mut().unwrap();
            assert!(disk.remove("places").is_some(), "{disk:?}");
        }
        fs::write(&path, state.to_string()).unwrap();
        StateFile::open(&path).unwrap().load().unwrap().unwrap();
    };
    forget();
    transfer.scene.write(0, PLACE, &[1; 4096]);
    next(&transfer).await;
    // One of them has got its places by being written to.
    let places = transfer.scene.state().disks["a.img"].places.clone();
    assert!(covers(&places, PLACE), "{places:?}");
    exchange(&transfer);
    assert_refused(&transfer, "a.img", &[NOT_AS_LEFT]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_checksums_only_the_owners_word_makes_an_increment() {
    let transfer = replicated().await;
    for status in [404, 405, 501] {
        transfer
            .worker
            .plan(move |asked| (asked.what == "checksum").then_some(Fault::Refuse(status)));
        let status = status.to_string();
        let told = ["--volume-id", "makes no checksums", &status];
        assert_refused(&transfer, "a.img", &told).await;
    }
    // Whoever says it now has not said it when it was written to.
    let ids = ["3f", "4f"];
    let refused = transfer.to_volumes(ids, false).run().await.unwrap_err();
    let text = refused.to_string();
    assert!(
        text.contains("nobody has said which volume it was"),
        "{text}"
    );
    assert_eq!(transfer.written(), 0);
    let everything = transfer.to_volumes(ids, false).overwrite();
    let outcome = everything.run().await.unwrap();
    assert_eq!(hows(&outcome), [How::Full; 2]);
    for _ in 0..2 {
        transfer.scene.write(0, PLACE, &[8; 4096]);
        let outcome = transfer.to_volumes(ids, false).run().await.unwrap();
        transfer.check_bytes(&outcome).await;
        assert_eq!(hows(&outcome), [How::Incremental; 2], "{outcome:?}");
    }
    // Not said any more, or another one.
    assert_refused(&transfer, "a.img", &["--volume-id"]).await;
    let other = transfer.to_volumes(["3f", "5f"], false);
    let error = other.run().await.unwrap_err();
    assert!(
        matches!(&error, ReplicateError::Occupied { disk, .. } if disk == "b.img"),
        "{error}"
    );
    let outcome = transfer.to_volumes(["3f", "5f"], false).overwrite();
    let outcome = outcome.run().await.unwrap();
    transfer.check_bytes(&outcome).await;
    assert_eq!(hows(&outcome), [How::Incremental, How::Full]);
    let why = &outcome.disks[1].why;
    assert!(
        why.contains("volume=5f instead of") && why.contains("volume=4f"),
        "{why}"
    );
    // Two disks cannot go to one volume, whatever they are called.
    let error = transfer.to_volumes(["3f", "3f"], false).run().await;
    let error = error.unwrap_err().to_string();
    assert!(error.contains("the same target"), "{error}");
}

/// The owner's word is not asked for where the volume itself says otherwise.
#[tokio::test(flavor = "multi_thread")]
async fn an_older_copy_is_found_out_whatever_its_owner_says() {
    let transfer = replicated().await;
    let ids = ["3f", "4f"];
    let outcome = transfer.to_volumes(ids, false).run().await.unwrap();
    assert_eq!(hows(&outcome), [How::Incremental; 2]);
    let (now, older) = (
        volume(&transfer, 0),
        transfer.scene.folder.path().join("older"),
    );
    fs::copy(&now, &older).unwrap();
    transfer.scene.write(0, PLACE, &[1; 4096]);
    let outcome = transfer.to_volumes(ids, false).run().await.unwrap();
    transfer.check_bytes(&outcome).await;
    fs::copy(&older, &now).unwrap();
    let error = transfer.to_volumes(ids, false).run().await.unwrap_err();
    assert!(error.to_string().contains(NOT_AS_LEFT), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_fails_tells_nothing_and_is_told() {
    let transfer = replicated().await;
    transfer.scene.write(0, PLACE, &[1; 4096]);
    let failing = |told: Value| transfer.worker.end_jobs_with(told);
    failing(json!({ "execution_status": "failed", "error_message": "I/O error at 7" }));
    assert_refused(
        &transfer,
        "a.img",
        &["the job has failed", "I/O error at 7"],
    )
    .await;
    // Of another algorithm, and of none.
    failing(json!({
        "execution_status": "finished",
        "checksum_algorithm": "xxhash",
        "checksum_value": "00",
    }));
    assert_refused(&transfer, "a.img", &["sha256 was asked for", "xxhash"]).await;
    failing(json!({ "execution_status": "finished" }));
    assert_refused(&transfer, "a.img", &["sha256 was asked for"]).await;
    // Of somebody who answers anything.
    failing(json!({
        "execution_status": "finished",
        "checksum_algorithm": "sha256",
        "checksum_value": "0".repeat(64),
    }));
    assert_refused(&transfer, "a.img", &[NOT_AS_LEFT]).await;
    // Those that cannot be begun now are asked for again, and then the run ends like any other.
    transfer.worker.mend();
    transfer
        .worker
        .plan(|asked| (asked.what == "checksum").then_some(Fault::Refuse(500)));
    let error = transfer.unverified(false).run().await.unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, ReplicateError::Target { .. }), "{text}");
    assert!(text.contains("checksum") && text.contains("500"), "{text}");
    assert_eq!(transfer.written(), 0);
    assert_eq!(transfer.worker.held(), [""; 0]);
    // With the owner's word a volume that cannot be looked at is copied.
    transfer.worker.mend();
    failing(json!({ "execution_status": "failed", "error_message": "no memory" }));
    let outcome = transfer.unverified(false).overwrite().run().await.unwrap();
    transfer.check_bytes(&outcome).await;
    assert_eq!(hows(&outcome), [How::Full; 2]);
    assert!(outcome.disks[0].why.contains("no memory"), "{outcome:?}");
    transfer.worker.mend();
    next(&transfer).await;
}
