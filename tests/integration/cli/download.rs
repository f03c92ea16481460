//! Disks as files: whole, and what changed.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use coriolis_ovm_exporter::protocol::delta::StreamHeader;
use uuid::Uuid;

use super::super::replicate::hostile::{StandIn, another};
use super::super::support::disk;
use super::super::support::wait;
use super::command::{Desk, Ran, SIZES};
use super::middle::{Cut, Middle};

/// Every disk of a snapshot lies there, byte by byte, and nothing else does.
pub fn assert_holds(desk: &Desk, snapshot: &str, folder: &Path) {
    let truth = desk.truth(snapshot);
    let mut names: Vec<String> = fs::read_dir(folder)
        .unwrap()
        .map(|item| item.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    let expected: Vec<&String> = truth.iter().map(|(name, _)| name).collect();
    assert_eq!(names.iter().collect::<Vec<_>>(), expected);
    for (name, bytes) in &truth {
        let found = fs::read(folder.join(name)).unwrap();
        assert!(
            found == *bytes,
            "{name} is not what snapshot {snapshot} holds"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_whole_snapshot_and_then_what_changed() {
    let mut desk = Desk::set().await;
    let vm = desk.machine.id.clone();
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("made/for/it");
    let path = out.to_str().unwrap();
    let first = desk.snapshot();
    let ran = desk.run(&["snapshot", "download", &vm, &first, "--out-dir", path]);
    assert_eq!(ran.stderr.lines().count(), 2, "{ran:?}");
    assert_eq!(ran.done(), "");
    assert_holds(&desk, &first, &out);
    // Sparse: most of a disk is a hole.
    let name = &desk.disk_names()[0];
    let blocks = fs::metadata(out.join(name)).unwrap().blocks();
    assert!(blocks * 512 < SIZES[0] / 2, "{blocks}");

    desk.scribble();
    fs::File::options()
        .write(true)
        .open(&desk.machine.disks[1])
        .unwrap()
        .set_len(7 << 20)
        .unwrap();
    let second = desk.snapshot();
    let changed = [
        "snapshot",
        "download",
        &second,
        "--out-dir",
        path,
        "--diff-from",
        &first,
    ];
    // Again, as after a failure: what it finds has become the new size.
    for _ in 0..2 {
        let ran = desk.run(&[&changed[..], &["-q", "--compression", "zstd"]].concat());
        assert_eq!(ran.stderr, "");
        ran.done();
        assert_holds(&desk, &second, &out);
    }

    // A whole one takes the place of whatever was there.
    fs::write(out.join(name), "something else").unwrap();
    desk.run(&["snapshot", "download", &vm, &first, "--out-dir", path])
        .done();
    assert_holds(&desk, &first, &out);
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_are_not_applied_to_something_else() {
    let mut desk = Desk::set().await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_str().unwrap();
    let first = desk.snapshot();
    desk.scribble();
    let second = desk.snapshot();
    let changed = [
        "snapshot",
        "download",
        &second,
        "--out-dir",
        path,
        "--diff-from",
        &first,
    ];
    let line = desk.run(&changed).failed();
    assert!(line.contains("is not there"), "{line}");
    let file = folder.path().join(&desk.disk_names()[0]);
    fs::write(&file, "something else").unwrap();
    let line = desk.run(&changed).failed();
    assert!(line.contains("something else"), "{line}");
    assert_eq!(fs::read(&file).unwrap(), b"something else");
    // The other way round is no increment.
    let back = [
        "snapshot",
        "download",
        &first,
        "--out-dir",
        path,
        "--diff-from",
        &second,
    ];
    let line = desk.run(&back).failed();
    assert!(line.contains("400"), "{line}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_is_written_through() {
    let desk = Desk::set().await;
    let folder = tempfile::tempdir().unwrap();
    let first = desk.snapshot();
    let (name, bytes) = desk.truth(&first)[1].clone();
    let elsewhere = folder.path().join("elsewhere");
    fs::write(&elsewhere, vec![0xEE; 9 << 20]).unwrap();
    let out = folder.path().join("out");
    fs::create_dir(&out).unwrap();
    std::os::unix::fs::symlink(&elsewhere, out.join(&name)).unwrap();
    let out = out.to_str().unwrap();
    desk.run(&[
        "snapshot",
        "download",
        &first,
        "--out-dir",
        out,
        "--disk",
        &name,
    ])
    .done();
    assert!(fs::read(&elsewhere).unwrap() == bytes);
}

/// Ends a download of the first disk in the middle, when some of it is written, as a power cut does.
async fn killed(desk: &Desk, folder: &Path, arguments: &[&str]) {
    let name = &desk.disk_names()[0];
    let file = folder.join(name);
    let before = fs::read(&file).unwrap();
    let middle = Middle::of(desk.node.address(), Cut::Stalled).await;
    let mut child = desk
        .command_at(&middle.endpoint())
        .args(["snapshot", "download", "-q", "--disk", name, "--out-dir"])
        .arg(folder)
        .args(arguments)
        .spawn()
        .unwrap();
    wait::until("some of it is written", || {
        fs::read(&file).unwrap() != before
    });
    child.kill().unwrap();
    child.wait().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_half_written_takes_only_what_makes_it_whole() {
    let mut desk = Desk::set().await;
    let folder = tempfile::tempdir().unwrap();
    let to = ["snapshot", "download", "-q", "--out-dir"];
    let to = [&to[..], &[folder.path().to_str().unwrap()]].concat();
    let mut snapshots = Vec::new();
    for _ in 0..3 {
        for _ in 0..20 {
            desk.scribble();
        }
        snapshots.push(desk.snapshot());
    }
    let [first, second, third] = &snapshots[..] else {
        panic!()
    };
    desk.run(&[&to[..], &[first]].concat()).done();

    killed(&desk, folder.path(), &[second, "--diff-from", first]).await;
    let file = folder.path().join(&desk.disk_names()[0]);
    let half = fs::read(&file).unwrap();
    for other in [
        [third, "--diff-from", first],
        [third, "--diff-from", second],
    ] {
        let line = desk.run(&[&to[..], &other].concat()).failed();
        let way = format!("download {second} with --diff-from {first} again");
        assert!(line.contains(&way), "{line}");
        assert!(fs::read(&file).unwrap() == half);
    }
    let again = [&to[..], &[second, "--diff-from", first]].concat();
    desk.run(&again).done();
    assert_holds(&desk, second, folder.path());

    killed(&desk, folder.path(), &[third, "--diff-from", second]).await;
    desk.run(&again).failed();
    desk.run(&[&to[..], &[third]].concat()).done();
    assert_holds(&desk, third, folder.path());

    // Through a link a whole one is written in place.
    let elsewhere = tempfile::NamedTempFile::new().unwrap();
    fs::copy(&file, elsewhere.path()).unwrap();
    fs::remove_file(&file).unwrap();
    std::os::unix::fs::symlink(elsewhere.path(), &file).unwrap();
    killed(&desk, folder.path(), &[first]).await;
    desk.run(&again).failed();
    desk.run(&[&to[..], &[first]].concat()).done();
    desk.run(&again).done();
    assert_holds(&desk, second, folder.path());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_of_something_else_is_not_written() {
    let mut desk = Desk::set().await;
    let folder = tempfile::tempdir().unwrap();
    let to = ["snapshot", "download", "-q", "--out-dir"];
    let to = [&to[..], &[folder.path().to_str().unwrap()]].concat();
    let first = desk.snapshot();
    desk.run(&[&to[..], &[&first]].concat()).done();
    desk.scribble();
    let second = desk.snapshot();
    let changes: [fn(&mut StreamHeader); 3] = [
        |header| header.snapshot = Uuid::from_u128(7),
        |header| header.disk = "other.img".to_owned(),
        |header| header.base = Some(Uuid::from_u128(7)),
    ];
    for change in changes {
        let stand_in = StandIn::of(&desk.node, move |asked, body| {
            Ok(if asked.contains("/delta?") {
                another(&body, change)
            } else {
                body
            })
        })
        .await;
        let mut command = desk.command_at(&stand_in.endpoint());
        command.args(&to).args([&second, "--diff-from", &first]);
        let line = Ran::of(command.output().unwrap()).failed();
        assert!(line.contains("was not asked for"), "{line}");
        assert_holds(&desk, &first, folder.path());
    }
}

/// One disk has its increment and the other one has not: the next increment of both is of bytes that
/// only one of them holds.
#[tokio::test(flavor = "multi_thread")]
async fn an_increment_that_some_disks_have_is_finished_before_another() {
    let mut desk = Desk::set().await;
    let folder = tempfile::tempdir().unwrap();
    let to = ["snapshot", "download", "-q", "--out-dir"];
    let to = [&to[..], &[folder.path().to_str().unwrap()]].concat();
    let first = desk.snapshot();
    let [name, other] = &desk.disk_names()[..] else {
        panic!()
    };
    let (guest, at) = (desk.machine.disks[0].clone(), 1 << 20);
    let before = fs::read(&guest).unwrap()[at..at + 4096].to_vec();
    let write = |bytes: &[u8]| disk::write(&guest, at as u64, bytes);
    write(&[0xAB; 4096]);
    let second = desk.snapshot();
    // As the base had it: it is in no increment from there.
    write(&before);
    desk.scribble();
    let third = desk.snapshot();
    desk.run(&[&to[..], &[&first]].concat()).done();
    let (lies, away) = (folder.path().join(other), folder.path().join("away"));
    fs::rename(&lies, &away).unwrap();
    let line = desk
        .run(&[&to[..], &[&second, "--diff-from", &first]].concat())
        .failed();
    assert!(line.contains("is not there"), "{line}");
    fs::rename(&away, &lies).unwrap();
    let line = desk
        .run(&[&to[..], &[&third, "--diff-from", &first]].concat())
        .failed();
    assert!(line.contains(name) && line.contains(&second), "{line}");
    for (snapshot, base) in [(&second, &first), (&third, &second)] {
        desk.run(&[&to[..], &[snapshot, "--diff-from", base]].concat())
            .done();
        assert_holds(&desk, snapshot, folder.path());
    }
}
