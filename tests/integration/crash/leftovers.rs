//! Whatever a crash can leave, put there by hand; then the daemon starts.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use coriolis_ovm_exporter::client::Client;
use coriolis_ovm_exporter::sys::attributes::{self, IMMUTABLE};
use uuid::Uuid;

use super::half_made;
use crate::support::node::{Kind, TestNode};
use crate::support::{digest, wait};

/// Writes over fields of a manifest.
fn rewrite(directory: &Path, change: impl FnOnce(&mut serde_json::Value)) {
    let path = directory.join("manifest.json");
    let mut json = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    change(&mut json);
    set_immutable(&path, false);
    fs::write(path, serde_json::to_vec(&json).unwrap()).unwrap();
}

fn say(directory: &Path, state: &str) {
    rewrite(directory, |json| json["state"] = state.into());
}

fn set_immutable(path: &Path, on: bool) {
    attributes::set(&File::open(path).unwrap(), IMMUTABLE, on).unwrap();
}

fn is_immutable(path: &Path) -> bool {
    attributes::is_immutable(&File::open(path).unwrap())
}

/// The disks' files in a snapshot's directory.
fn disks(directory: &Path) -> Vec<PathBuf> {
    let items = fs::read_dir(directory).unwrap();
    let mut paths: Vec<PathBuf> = items.map(|item| item.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|end| end == "img"));
    paths.sort();
    paths
}

async fn make(client: &Client, vm: &str) -> Uuid {
    client.create_snapshot(vm).await.unwrap().id
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_clears_what_is_ours_and_nothing_else() {
    for kind in [Kind::Xfs, Kind::Btrfs] {
        leftovers_on(kind).await;
    }
}

async fn leftovers_on(kind: Kind) {
    let mut node = TestNode::new(&[kind]).await;
    let machine = node.machine(0, 1, &[1 << 20, 1 << 20]);
    let client = node.client().await;
    let ready = client.create_snapshot(&machine.id).await.unwrap();
    let mut ids = Vec::new();
    for _ in 0..9 {
        ids.push(make(&client, &machine.id).await);
    }
    node.stop();
    let shelf = node.repositories[0].path().join("CoriolisSnapshots");
    let at = |id: Uuid| shelf.join(id.to_string());
    let hidden = |id: Uuid| shelf.join(format!(".unfinished-{id}"));

    // Killed between the clones and the seals: one is sealed, one is not.
    say(&at(ids[0]), "creating");
    set_immutable(&disks(&at(ids[0]))[1], false);
    // Killed before the first clone was made.
    say(&at(ids[1]), "creating");
    for disk in disks(&at(ids[1])) {
        set_immutable(&disk, false);
        fs::remove_file(disk).unwrap();
    }
    // Killed in the middle of a deletion.
    say(&at(ids[2]), "deleting");
    let first = disks(&at(ids[2])).remove(0);
    set_immutable(&first, false);
    fs::remove_file(first).unwrap();
    // The same, after the directory lost its name.
    say(&at(ids[3]), "deleting");
    fs::rename(at(ids[3]), hidden(ids[3])).unwrap();
    // Killed before the directory got its name: without a manifest, and with half of one.
    let fresh = [Uuid::new_v4(), Uuid::new_v4()];
    for id in fresh {
        fs::create_dir(hidden(id)).unwrap();
    }
    fs::write(hidden(fresh[1]).join(".manifest.json.new"), "{\"vers").unwrap();
    // A trial clone.
    let scratch = shelf.join(format!(".probe-{}", fresh[0]));
    let scratch_clone = shelf.join(format!(".probe-{}-clone", fresh[0]));
    fs::write(&scratch, "x").unwrap();
    fs::write(&scratch_clone, "x").unwrap();

    // Not ours, or not ours to judge.
    fs::create_dir_all(shelf.join("somebody's/folder")).unwrap();
    fs::write(shelf.join("a file"), "x").unwrap();
    fs::write(shelf.join(".probe-somebody"), "x").unwrap();
    fs::write(shelf.join(Uuid::nil().to_string()), "no directory").unwrap();
    let first_generation = at(Uuid::new_v4());
    fs::create_dir(&first_generation).unwrap();
    fs::write(first_generation.join("disk.img"), "x").unwrap();
    rewrite(&at(ids[4]), |json| {
        json["version"] = 99.into();
        json["state"] = "deleting".into();
    });
    rewrite(&at(ids[5]), |json| json["version"] = 99.into());
    fs::rename(at(ids[5]), hidden(ids[5])).unwrap();
    set_immutable(&at(ids[6]).join("manifest.json"), false);
    fs::write(at(ids[6]).join("manifest.json"), "{ garbage").unwrap();
    // Ours, with somebody's files in it: in a snapshot that is ready, and in one that is not.
    fs::write(at(ids[7]).join("notes.txt"), "x").unwrap();
    fs::write(at(ids[8]).join("notes.txt"), "x").unwrap();
    say(&at(ids[8]), "creating");

    node.start();
    let gone = [
        at(ids[0]),
        at(ids[1]),
        at(ids[2]),
        at(ids[3]),
        hidden(ids[3]),
        hidden(fresh[0]),
        hidden(fresh[1]),
        scratch,
        scratch_clone,
        at(ids[8]),
    ];
    wait::until_nothing("leftovers are cleared", || {
        gone.iter().filter(|path| path.exists()).collect()
    })
    .await;
    let foreign = [
        shelf.join("somebody's"),
        shelf.join("a file"),
        shelf.join(".probe-somebody"),
        shelf.join(Uuid::nil().to_string()),
        first_generation.clone(),
        at(ids[4]),
        hidden(ids[5]),
        at(ids[6]),
        hidden(ids[8]).join("notes.txt"),
    ];
    let client = node.client().await;
    // However often it is looked at.
    node.stop();
    node.start();
    drop(client);
    let client = node.client().await;
    let warnings = client.node().await.unwrap().warnings;
    for path in &foreign {
        assert!(path.exists(), "{kind:?}: {} is gone", path.display());
        let shown = path.display().to_string();
        assert!(
            warnings.iter().any(|warning| warning.contains(&shown)),
            "{kind:?}: nobody says {shown}: {warnings:#?}"
        );
        assert!(
            node.log().contains(&shown),
            "{kind:?}: {shown} is not in the log"
        );
    }
    assert!(shelf.join("somebody's/folder").exists());
    for id in [ids[4], ids[6]] {
        assert_eq!(disks(&at(id)).len(), 2);
        assert!(disks(&at(id)).iter().all(|disk| is_immutable(disk)));
    }
    assert_eq!(disks(&hidden(ids[5])).len(), 2);
    assert!(hidden(ids[5]).join("manifest.json").exists());
    assert_eq!(fs::read_dir(hidden(ids[8])).unwrap().count(), 1);

    // What cannot be read is not said to be gone.
    for id in [ids[4], ids[6]] {
        let refused = client.delete_snapshot(&machine.id, id).await.unwrap_err();
        assert!(refused.to_string().contains("manifest"), "{refused}");
        assert!(at(id).exists());
    }

    // Those that are ready are served, and can be deleted.
    let listed = client.snapshots(&machine.id).await.unwrap();
    let listed_ids: Vec<Uuid> = listed.iter().map(|one| one.id).collect();
    assert_eq!(listed_ids, [ready.id, ids[7]], "{kind:?}");
    for snapshot in &listed {
        for disk in &snapshot.disks {
            let sum = digest::of_download(&client, snapshot, disk).await.unwrap();
            assert_eq!(sum, digest::of_file(&disk.parent_path));
        }
    }
    for id in listed_ids {
        client.delete_snapshot(&machine.id, id).await.unwrap();
    }
    assert!(hidden(ids[7]).join("notes.txt").exists());
    let others: Vec<String> = half_made(&node)
        .into_iter()
        .filter(|path| {
            let shown = |known: &PathBuf| path.contains(&known.display().to_string());
            !foreign.iter().any(shown)
                && ![hidden(ids[5]), hidden(ids[7]), hidden(ids[8])]
                    .iter()
                    .any(shown)
        })
        .collect();
    assert!(others.is_empty(), "{kind:?}: {others:#?}");
}
