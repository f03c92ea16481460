//! What belongs to somebody else, below a repository: whatever the daemon does, it stays as it is.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};

use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use super::faults::die_at;
use crate::support::api::{Api, text};
use crate::support::counts::count;
use crate::support::node::{Kind, TestNode};
use crate::support::wait;

/// What a file is, by its path: kind and mode, when it was changed, and what is in it.
type Things = BTreeMap<PathBuf, (u32, i64, i64, Vec<u8>)>;

/// All that lies below a folder, and itself.
fn things(folder: &Path) -> Things {
    let mut found = Things::new();
    note(folder, Path::new(""), &mut found);
    found
}

fn note(root: &Path, relative: &Path, found: &mut Things) {
    // With an empty name added, a link would be followed.
    let path: PathBuf = root.iter().chain(relative.iter()).collect();
    let metadata = fs::symlink_metadata(&path);
    let metadata = metadata.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let content = if metadata.is_symlink() {
        let target = fs::read_link(&path).unwrap();
        target.display().to_string().into_bytes()
    } else if metadata.is_file() {
        fs::read(&path).unwrap()
    } else {
        Vec::new()
    };
    let state = (
        metadata.mode(),
        metadata.mtime(),
        metadata.mtime_nsec(),
        content,
    );
    found.insert(relative.to_owned(), state);
    if metadata.is_dir() {
        for item in fs::read_dir(&path).unwrap() {
            note(root, &relative.join(item.unwrap().file_name()), found);
        }
    }
}

fn write(path: &Path) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, format!("somebody's {}", path.display())).unwrap();
}

/// A manifest that says `deleting`: if it were heeded, files would go.
fn manifest(of: &Path, change: impl FnOnce(&mut Value)) -> Vec<u8> {
    let mut manifest: Value = serde_json::from_slice(&fs::read(of).unwrap()).unwrap();
    manifest["state"] = "deleting".into();
    change(&mut manifest);
    serde_json::to_vec(&manifest).unwrap()
}

/// With letters in it, which can be written in two ways.
fn id_of(number: u128) -> Uuid {
    Uuid::from_u128(0xabcd_efab_cdef_4abc_8abc_0000_0000_0000 + number)
}

/// Puts things of others on a shelf; gives where they lie. `own` is a manifest of the daemon's.
fn plant(shelf: &Path, outside: &Path, own: &Path, disk: &str) -> Vec<PathBuf> {
    let id = |number: u128| id_of(number).to_string();
    let folder = |name: &str, manifest: Vec<u8>| {
        write(&shelf.join(name).join(disk));
        fs::write(shelf.join(name).join("manifest.json"), manifest).unwrap();
    };
    let same = |id: &str| manifest(own, |manifest| manifest["id"] = id.into());
    for name in [
        "notes.txt",
        ".hidden",
        ".probe-somebody",
        "a folder/a file",
        ".unfinished-business/a file",
        &id(1),
        &format!(".unfinished-{}", id(2)),
        &format!("{}/{disk}", id(3)),
        &format!("{}.bak/{disk}", id(4)),
    ] {
        write(&shelf.join(name));
    }
    // Other spellings of an id.
    folder(&id(5).to_uppercase(), same(&id(5)));
    folder(&format!("{{{}}}", id(6)), same(&id(6)));
    folder(&id(7).replace('-', ""), same(&id(7)));
    // Another snapshot's manifest, another repository's, another release's, and none.
    folder(&id(8), same(&id(9)));
    let elsewhere = |manifest: &mut Value| {
        manifest["id"] = id(10).into();
        manifest["repositories"][0]["repository"] = "elsewhere".into();
        for disk in manifest["disks"].as_array_mut().unwrap() {
            disk["repository"] = "elsewhere".into();
        }
    };
    folder(&id(10), manifest(own, elsewhere));
    let newer = |manifest: &mut Value| {
        manifest["id"] = id(11).into();
        manifest["version"] = 99.into();
    };
    folder(&id(11), manifest(own, newer));
    folder(&format!(".unfinished-{}", id(12)), manifest(own, newer));
    folder(&id(13), b"{ \"version\": 1 ".to_vec());
    // Links, to a folder that looks like one of the daemon's.
    fs::create_dir_all(outside).unwrap();
    write(&outside.join(disk));
    fs::write(outside.join("manifest.json"), same(&id(14))).unwrap();
    symlink(outside, shelf.join(id(14))).unwrap();
    symlink(outside, shelf.join(format!(".unfinished-{}", id(14)))).unwrap();
    write(&shelf.join(id(15)).join(disk));
    symlink(
        outside.join("manifest.json"),
        shelf.join(id(15)).join("manifest.json"),
    )
    .unwrap();
    nix::unistd::mkfifo(&shelf.join("a pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let items = fs::read_dir(shelf).unwrap();
    let ours = own.parent().unwrap();
    let mut planted: Vec<PathBuf> = items.map(|item| item.unwrap().path()).collect();
    planted.retain(|path| path != ours);
    planted.push(outside.to_owned());
    planted
}

/// Puts things of others into a snapshot's folder.
fn plant_inside(folder: &Path, outside: &Path) -> Things {
    for name in [
        "notes.txt",
        ".hidden",
        "backup/manifest.json",
        "manifest.json.bak",
    ] {
        write(&folder.join(name));
    }
    symlink(outside, folder.join("link")).unwrap();
    inside(folder)
}

/// What is in a snapshot's folder and not the daemon's, nor the folder itself.
fn inside(folder: &Path) -> Things {
    let mut found = things(folder);
    found.retain(|path, _| {
        let first = path
            .iter()
            .next()
            .map(|first| first.to_string_lossy().into_owned());
        first.is_some_and(|first| {
            first != "manifest.json" && first != ".deleting.json" && !first.ends_with(".img")
        })
    });
    found
}

/// The same of a snapshot that is gone: its folder has lost its name.
fn left_of(shelf: &Path, id: &str) -> Things {
    assert!(!shelf.join(id).exists(), "{id} is still there");
    let mut found = things(&shelf.join(format!(".unfinished-{id}")));
    found.remove(Path::new(""));
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_ours_is_never_touched() {
    never_touched(Kind::Xfs).await;
    if count(0, 1) == 1 {
        never_touched(Kind::Btrfs).await;
    }
}

async fn never_touched(kind: Kind) {
    let more = "[snapshots]\nrecover_interval = \"1s\"\n";
    let mut node = TestNode::with_config(&[kind], more).await;
    let machine = node.machine(0, 1, &[64 << 10, 64 << 10]);
    let root = node.repositories[0].path();
    let (shelf, outside) = (root.join("CoriolisSnapshots"), root.join("outside"));
    let api = Api::of(&node).await;
    let all = format!("/vms/{}/snapshots", machine.id);
    let first = api.snapshot(&machine.id).await;
    let at = |snapshot: &Value| shelf.join(text(&snapshot["id"]));
    let disk = text(&first["disks"][0]["name"]);
    let planted = plant(&shelf, &outside, &at(&first).join("manifest.json"), disk);
    let seen = || -> Vec<Things> { planted.iter().map(|path| things(path)).collect() };
    let before = seen();
    let kept = plant_inside(&at(&first), &outside);
    let unhurt = |when: &str| {
        assert!(
            seen() == before,
            "{kind:?}: after {when} somebody's things are others"
        );
    };
    let looked_again = |node: &TestNode| {
        let looked = || node.log().matches("no leftovers").count();
        let seen = looked();
        wait::until("leftovers are looked for", || looked() > seen + 1);
    };

    // All that can be done, with things of others in every folder.
    looked_again(&node);
    unhurt("looking for leftovers");
    let second = api.snapshot(&machine.id).await;
    plant_inside(&at(&second), &outside);
    api.compare(&machine.id, &second, &first).await;
    let path = |snapshot: &Value| format!("{all}/{}", text(&snapshot["id"]));
    let label = json!({"label": "other"});
    let changed = api.send_body(Method::PATCH, &path(&first), label).await;
    assert_eq!(changed.status, 200, "{changed:?}");
    assert!(inside(&at(&first)) == kept);
    for id in [8_u128, 11, 13, 14, 15] {
        // What is none of ours cannot be deleted by its name either.
        let id = id_of(id);
        let answer = api.delete(&format!("{all}/{id}")).await;
        assert!([200, 404, 409].contains(&answer.status), "{answer:?}");
    }
    unhurt("create, compare and change");
    assert_eq!(api.delete(&path(&first)).await.status, 200);
    assert!(left_of(&shelf, text(&first["id"])) == kept);
    unhurt("delete");

    let brief = api
        .send_body(Method::POST, &all, json!({"expires_in": 1}))
        .await
        .json();
    let kept_brief = plant_inside(&at(&brief), &outside);
    wait::until("it expires", || !at(&brief).exists());
    looked_again(&node);
    assert!(left_of(&shelf, text(&brief["id"])) == kept_brief);
    unhurt("expiry");

    let kept = inside(&at(&second));
    // The rest goes; one is of this machine, as its manifest of a later release says.
    let (_, details) = api.delete(&all).await.error(409);
    assert!(details.contains(&id_of(11).to_string()), "{details}");
    for other in [8, 9, 10, 13, 14, 15] {
        assert!(!details.contains(&id_of(other).to_string()), "{details}");
    }
    assert!(left_of(&shelf, text(&second["id"])) == kept);
    unhurt("purge");

    // What a crash leaves, with somebody's things in it.
    node.stop();
    let names = || -> Vec<PathBuf> {
        let items = fs::read_dir(&shelf).unwrap();
        items.map(|item| item.unwrap().path()).collect()
    };
    for point in [
        "directory.hidden:1",
        "create.cloned:1",
        "create.published:1",
    ] {
        let known = names();
        let request = all.clone();
        die_at(&mut node, point, async |api| {
            api.try_body(Method::POST, &request, "").await.unwrap_err();
        })
        .await;
        let folder = names()
            .into_iter()
            .find(|path| !known.contains(path))
            .unwrap();
        let kept = plant_inside(&folder, &outside);
        node.start();
        looked_again(&node);
        let id = folder.file_name().unwrap().to_string_lossy().into_owned();
        let listed = Api::of(&node).await.json(&all).await;
        if listed.as_array().unwrap().is_empty() {
            let id = id.trim_start_matches(".unfinished-");
            assert!(left_of(&shelf, id) == kept, "{point}");
        } else {
            // Published in its only repository, it is a snapshot.
            assert_eq!(
                (text(&listed[0]["id"]), point),
                (&*id, "create.published:1")
            );
            assert!(inside(&folder) == kept);
        }
        unhurt(point);
        node.stop();
    }

    node.start();
    let api = Api::of(&node).await;
    api.delete(&all).await.error(409);
    looked_again(&node);
    unhurt("all of it");
    // Nothing of ours is left between them.
    for path in node.snapshot_files() {
        let relative = path.strip_prefix(&shelf).unwrap().display().to_string();
        let is_planted = planted.iter().any(|planted| path.starts_with(planted));
        let is_left = relative.starts_with(".unfinished-")
            && !relative.ends_with(".img")
            && !relative.ends_with(".deleting.json");
        assert!(is_planted || is_left, "{kind:?}: {relative}");
    }
}
