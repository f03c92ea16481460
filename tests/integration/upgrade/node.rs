//! What the first generation leaves on a node: clones in folders, and a database that names them.

use std::fs::{self, DirBuilder, File};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use coriolis_ovm_exporter::sys::attributes::{self, NOCOW};
use coriolis_ovm_exporter::sys::fiemap::ExtentReader;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::api::{Api, text};
use crate::support::bolt::{self, Cell, tree, value};
use crate::support::disk;
use crate::support::node::TestNode;
use crate::support::wait;

/// A snapshot of the first generation.
#[derive(Debug, Clone)]
pub struct Old {
    pub id: Uuid,
    pub vm: String,
    /// As Go writes it; empty where the record is to have none.
    pub created_at: String,
    pub disks: Vec<OldDisk>,
}

#[derive(Debug, Clone)]
pub struct OldDisk {
    pub name: String,
    pub path: PathBuf,
    pub parent: PathBuf,
    pub repository: PathBuf,
}

impl Old {
    /// Clones these disks of a machine into the folders of a new snapshot, as its predecessor did.
    pub fn take(vm: &str, created_at: &str, disks: &[&Path]) -> Old {
        let id = Uuid::new_v4();
        let disks = disks
            .iter()
            .map(|parent| {
                let repository = parent.parent().unwrap().parent().unwrap();
                let folder = repository.join("CoriolisSnapshots").join(id.to_string());
                DirBuilder::new()
                    .recursive(true)
                    .mode(0o750)
                    .create(&folder)
                    .unwrap();
                // As its files, or else they are not clones of a disk that is written in place.
                let flags = attributes::get(&File::open(parent).unwrap()).unwrap();
                let directory = File::open(&folder).unwrap();
                attributes::set(&directory, NOCOW, flags & NOCOW != 0).unwrap();
                let name = parent.file_name().unwrap().to_str().unwrap();
                let path = folder.join(name);
                let status = Command::new("cp")
                    .arg("--reflink=always")
                    .args([*parent, &path])
                    .status();
                assert!(status.unwrap().success());
                OldDisk {
                    name: name.to_owned(),
                    path,
                    parent: parent.to_path_buf(),
                    repository: repository.to_owned(),
                }
            })
            .collect::<Vec<_>>();
        see_the_clock_move(&disks[0].path);
        Old {
            id,
            vm: vm.to_owned(),
            created_at: created_at.to_owned(),
            disks,
        }
    }

    pub fn folder(&self) -> PathBuf {
        self.disks[0].path.parent().unwrap().to_owned()
    }

    /// What the database says of it.
    pub fn record(&self) -> Value {
        let disks: Vec<Value> = self.disks.iter().map(OldDisk::record).collect();
        let mut record = json!({"ID": self.id, "VMID": self.vm, "Disks": disks});
        if !self.created_at.is_empty() {
            record["CreatedAt"] = json!(self.created_at);
        }
        record
    }
}

/// File systems tell the time by the kernel's tick: what is made next is younger.
fn see_the_clock_move(path: &Path) {
    let changed = |path: &Path| fs::metadata(path).map(|found| (found.ctime(), found.ctime_nsec()));
    let clock = path.parent().unwrap().with_file_name(".clock");
    wait::until("the clock moves", || {
        fs::write(&clock, "").unwrap();
        changed(&clock).unwrap() > changed(path).unwrap()
    });
    fs::remove_file(clock).unwrap();
}

impl OldDisk {
    fn record(&self) -> Value {
        let chunks: Vec<Value> = File::open(&self.path).map_or_else(
            |_| Vec::new(),
            |file| {
                ExtentReader::new(&file, 0)
                    .map(|extent| extent.unwrap())
                    .map(|extent| {
                        json!({"start": extent.logical, "length": extent.length,
                               "physical_start": extent.physical})
                    })
                    .collect()
            },
        );
        let id = self.path.parent().unwrap().file_name().unwrap();
        json!({
            "parent_path": self.parent, "path": self.path, "snapshot_id": id.to_str(),
            "chunks": chunks, "name": self.name, "repo_mountpoint": self.repository,
        })
    }
}

/// The first generation's database with these records.
pub fn database(records: &[Value]) -> Vec<u8> {
    let text = |value: &Value| serde_json::to_vec(value).unwrap();
    let mut snapshots = tree(
        records
            .iter()
            .map(|record| (record["ID"].as_str().unwrap(), value(text(record)))),
    );
    let index = |field: &str| {
        Cell::Bucket(tree(records.iter().map(|record| {
            let id = record["ID"].as_str().unwrap();
            (
                format!("{}__{id}", record[field].as_str().unwrap()),
                value(id),
            )
        })))
    };
    let codec = Cell::Bucket(tree([("codec", value("json"))]));
    snapshots.insert(b"__storm_metadata".to_vec(), codec);
    snapshots.insert(b"__storm_index_ID".to_vec(), index("ID"));
    snapshots.insert(b"__storm_index_VMID".to_vec(), index("VMID"));
    let version = Cell::Bucket(tree([("version", value("\"2.1.2\""))]));
    bolt::file(&tree([
        ("Snapshot", Cell::Bucket(snapshots)),
        ("__storm_db", version),
    ]))
}

/// Puts the database where a node has its `db_file`.
pub fn leave_database(node: &TestNode, all: &[&Old]) {
    let records: Vec<Value> = all.iter().map(|old| old.record()).collect();
    fs::write(node.path("exporter.db"), database(&records)).unwrap();
}

/// Writes random bytes to a disk.
pub fn scribble(path: &Path, random: &mut StdRng, offset: u64, length: usize) {
    let mut bytes = vec![0; length];
    random.fill_bytes(&mut bytes);
    disk::write_through(path, offset, &bytes);
}

/// Everything that can be seen of a file or folder without reading it, and all that lies in it.
pub fn look(path: &Path) -> Vec<String> {
    let found = fs::symlink_metadata(path).unwrap();
    let flags = if found.is_file() {
        File::open(path).map_or(0, |file| attributes::get(&file).unwrap_or(0))
    } else {
        0
    };
    let mut seen = vec![format!(
        "{} {:o} {} {} {}.{} {}.{} {flags:#x}",
        path.display(),
        found.mode(),
        found.nlink(),
        found.len(),
        found.mtime(),
        found.mtime_nsec(),
        found.ctime(),
        found.ctime_nsec(),
    )];
    if found.is_dir() {
        let mut items: Vec<PathBuf> = fs::read_dir(path)
            .unwrap()
            .map(|item| item.unwrap().path())
            .collect();
        items.sort();
        seen.extend(items.iter().flat_map(|item| look(item)));
    }
    seen
}

/// Why `GET /node` says that a folder is no snapshot; None where it does not.
pub async fn reason(api: &Api, folder: &Path) -> Option<String> {
    let node = api.json("/node").await;
    let unmatched = node["unmatched"].as_array().unwrap();
    let found = unmatched
        .iter()
        .find(|found| found["path"].as_str() == folder.to_str())?;
    let reason = text(&found["reason"]).to_owned();
    let told = format!(
        "{} has no manifest and is left alone: {reason}",
        folder.display()
    );
    let warnings = node["warnings"].as_array().unwrap();
    assert!(warnings.iter().any(|warning| *warning == told), "{node}");
    Some(reason)
}

/// The ids of a machine's snapshots, oldest first.
pub async fn ids(api: &Api, vm: &str) -> Vec<String> {
    let list = api.json(&format!("/vms/{vm}/snapshots")).await;
    list.as_array()
        .unwrap()
        .iter()
        .map(|snapshot| text(&snapshot["id"]).to_owned())
        .collect()
}

/// Says where it begins, so that a failure can be run again.
pub fn random() -> StdRng {
    let seed = std::env::var("TEST_SEED")
        .map_or_else(|_| rand::random(), |text| text.parse::<u64>().unwrap());
    println!("run it again with TEST_SEED={seed}");
    StdRng::seed_from_u64(seed)
}

/// Sets or clears the immutable flag.
pub fn seal(path: &Path, on: bool) {
    attributes::set(&File::open(path).unwrap(), attributes::IMMUTABLE, on).unwrap();
}

/// Sees that the snapshot folders are empty.
#[track_caller]
pub fn nothing_left(node: &TestNode) {
    let left = node.snapshot_files();
    assert!(left.is_empty(), "{left:?}");
}
