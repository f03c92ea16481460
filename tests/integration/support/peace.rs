//! What the repositories and the index look like when nothing is being done, and nothing is left
//! half done: each file belongs to a snapshot that is ready, and each row to a file.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};

use coriolis_ovm_exporter::snapshots::manifest::{Manifest, State};
use coriolis_ovm_exporter::sys::attributes;
use rusqlite::{Connection, OpenFlags};
use uuid::Uuid;

use super::api::Api;
use super::node::TestNode;

const PATIENCE: Duration = Duration::from_secs(30);
const GLANCE: Duration = Duration::from_millis(20);

/// Snapshot and repository of a copy, and what tells its manifest file from others.
type Copies = BTreeMap<(Uuid, String), String>;

/// All that is not in peace, in words. The index has to be up to date: list the snapshots first.
pub fn disorder(node: &TestNode) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut copies = Copies::new();
    let mut texts: BTreeMap<Uuid, String> = BTreeMap::new();
    for repository in &node.repositories {
        let shelf = repository.path().join("CoriolisSnapshots");
        for name in names(&shelf) {
            let directory = shelf.join(&name);
            let shown = directory.display();
            let manifest = fs::read(directory.join("manifest.json"));
            let (Ok(id), Ok(text)) = (Uuid::try_parse(&name), manifest) else {
                wrong.push(format!("{shown} is no snapshot"));
                continue;
            };
            match Manifest::parse(&text, id) {
                Ok(manifest) => look(&directory, &repository.id, &manifest, &mut wrong),
                Err(error) => wrong.push(format!("{shown}: {error}")),
            }
            let text = String::from_utf8_lossy(&text).into_owned();
            if *texts.entry(id).or_insert_with(|| text.clone()) != text {
                wrong.push(format!("{shown} says something else than another copy"));
            }
            let stamp = stamp(&directory.join("manifest.json"));
            copies.insert((id, repository.id.clone()), stamp);
        }
    }
    // What a manifest names is there.
    for (id, text) in &texts {
        let Ok(manifest) = Manifest::parse(text.as_bytes(), *id) else {
            continue;
        };
        for place in &manifest.repositories {
            if !copies.contains_key(&(*id, place.repository.clone())) {
                wrong.push(format!("{id} has no copy in {}", place.repository));
            }
        }
    }
    let rows = rows(&node.path("exporter.db"));
    for row in rows
        .iter()
        .filter(|(key, stamp)| copies.get(*key) != Some(*stamp))
    {
        wrong.push(format!("a row without its file: {row:?}"));
    }
    for copy in copies.keys().filter(|key| !rows.contains_key(*key)) {
        wrong.push(format!("a file without a row: {copy:?}"));
    }
    wrong
}

/// Waits until all is in peace.
///
/// # Panics
/// When that takes too long, with what is not.
pub async fn returns(node: &TestNode, api: &Api) {
    let begun = Instant::now();
    loop {
        api.json("/snapshots").await;
        let wrong = disorder(node);
        if wrong.is_empty() {
            return;
        }
        assert!(begun.elapsed() < PATIENCE, "{wrong:#?}");
        tokio::time::sleep(GLANCE).await;
    }
}

/// A directory holds its manifests and the disks of its repository, sealed, and nothing else.
fn look(directory: &Path, repository: &str, manifest: &Manifest, wrong: &mut Vec<String>) {
    let shown = directory.display();
    if manifest.state != State::Ready {
        wrong.push(format!("{shown} says {:?}", manifest.state));
    }
    let mut expected: BTreeSet<String> = ["manifest.json", ".deleting.json"]
        .map(str::to_owned)
        .into();
    for disk in &manifest.disks {
        if disk.repository == repository {
            expected.insert(disk.name.clone());
        }
    }
    let found = names(directory);
    if found != expected {
        wrong.push(format!("{shown} holds {found:?}, not {expected:?}"));
    }
    for name in found {
        let file = File::open(directory.join(&name));
        if file.is_ok_and(|file| !attributes::is_immutable(&file)) {
            wrong.push(format!("{shown}/{name} is not sealed"));
        }
    }
}

fn names(folder: &Path) -> BTreeSet<String> {
    let Ok(items) = fs::read_dir(folder) else {
        return BTreeSet::new();
    };
    items
        .flatten()
        .map(|item| item.file_name().to_string_lossy().into_owned())
        .collect()
}

fn stamp(manifest: &Path) -> String {
    fs::symlink_metadata(manifest).map_or_else(
        |error| error.to_string(),
        |file| {
            format!(
                "{}:{}:{}.{:09}",
                file.ino(),
                file.len(),
                file.mtime(),
                file.mtime_nsec()
            )
        },
    )
}

fn rows(index: &Path) -> Copies {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY;
    let index = Connection::open_with_flags(index, flags).unwrap();
    index
        .prepare("SELECT snapshot, repository, stamp FROM copy")
        .unwrap()
        .query_map([], |row| {
            let id: String = row.get(0)?;
            Ok(((Uuid::try_parse(&id).unwrap(), row.get(1)?), row.get(2)?))
        })
        .unwrap()
        .map(Result::unwrap)
        .collect()
}
