//! What the first generation wrote down of its snapshots.
//!
//! # The layout
//!
//! It kept them with Storm 2 (`github.com/asdine/storm`), which lays out a BoltDB file so:
//!
//! ```text
//! __storm_db/version                 of Storm
//! Snapshot/                          the name of the Go type
//!   <snapshot id>                    the record, in JSON: the id's text is the key
//!   __storm_metadata/codec           "json"
//!   __storm_index_ID/, …_VMID/       indexes, not read here
//! ```
//!
//! A record has the names of Go's fields outside, and those of the HTTP interface inside:
//!
//! ```text
//! {"ID": "…", "VMID": "…", "CreatedAt": "2021-05-04T03:02:01.123456789Z",
//!  "Disks": [{"parent_path": "…", "path": "…", "snapshot_id": "…", "chunks": […], "name": "…",
//!             "repo_mountpoint": "…"}]}
//! ```
//!
//! `chunks` is the extent map of then, by far the largest part; it is passed over. `CreatedAt` is
//! the time in UTC when the clones were done.
//!
//! Source: `db/db.go`, `db/models.go` and `apiserver/params/responses.go` of the public repository
//! `cloudbase/coriolis-ovm-exporter`, and `storm.go`, `metadata.go` and `save.go` of Storm 2.1.2,
//! which its `go.mod` names.

use std::collections::HashMap;
use std::fmt;
use std::io::{BufReader, Read, Seek};
use std::path::PathBuf;

use jiff::Timestamp;
use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use uuid::Uuid;

use super::bolt::{Database, FormatError, Item};

/// Bucket that has the records.
const RECORDS: &[u8] = b"Snapshot";
/// Bucket within that says how they are written.
const METADATA: &[u8] = b"__storm_metadata";
const CODEC: &[u8] = b"codec";
const JSON: &[u8] = b"json";

/// Bytes of one record: 1,000,000 extents are 70 MB. It is read piece by piece, not held.
const MAX_RECORD: u64 = 256 << 20;
/// Records of one file.
const MAX_RECORDS: usize = 100_000;
/// Disks of one machine.
const MAX_DISKS: usize = 1024;
/// Bytes of an id or a path.
const MAX_TEXT: usize = 4096;
/// What was wrong, one by one.
const MAX_FAULTS: usize = 32;

/// A snapshot, as the first generation recorded it. Nothing of it is checked against the
/// repositories yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Its id.
    pub id: Uuid,
    /// The machine's, as a client named it: vm.cfg's `name`.
    pub vm_id: String,
    /// When it was taken; None where the record does not say.
    pub created_at: Option<Timestamp>,
    /// Its disks.
    pub disks: Vec<RecordedDisk>,
}

/// A disk of a [`Record`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordedDisk {
    /// File name in the snapshot's folder.
    pub name: String,
    /// The whole path of that file.
    pub path: PathBuf,
    /// The disk that was cloned.
    pub parent_path: PathBuf,
    /// Where the repository was mounted.
    pub mount_point: PathBuf,
}

/// All records of one file.
#[derive(Debug, Default)]
pub struct Records {
    /// By id.
    pub records: HashMap<Uuid, Record>,
    /// What could not be read, in words.
    pub faults: Vec<String>,
}

/// Why no record can be read.
#[derive(Debug, thiserror::Error)]
pub enum RecordsError {
    /// Not a BoltDB file that can be read.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// A BoltDB file of something else.
    #[error("it is a BoltDB file, but not of the first generation: {0}")]
    Foreign(&'static str),
}

/// Reads all records of a file.
///
/// # Errors
/// When the file as a whole is not what it should be; a record that cannot be read is a fault in
/// [`Records::faults`].
pub fn read<R: Read + Seek>(file: R) -> Result<Records, RecordsError> {
    let mut database = Database::open(file)?;
    let mut found = Records::default();
    let (bucket, damage) = database.bucket(database.root(), RECORDS);
    found.blame(damage);
    let Some(bucket) = bucket else {
        // Storm makes the bucket when the first snapshot is taken.
        return if found.faults.is_empty() && !is_storm(&mut database) {
            Err(RecordsError::Foreign("it has no bucket of snapshots"))
        } else {
            Ok(found)
        };
    };
    let mut metadata = None;
    let damage = database.visit(bucket, &mut |key, item| match item {
        Item::Bucket(bucket) if key == METADATA => metadata = Some(bucket),
        Item::Bucket(_) => {}
        Item::Value(value) => found.take(key, value.limit(), value),
    });
    found.blame(damage);
    let mut codec = Vec::new();
    if let Some(metadata) = metadata {
        let damage = database.visit(metadata, &mut |key, item| {
            if let (true, Item::Value(value)) = (key == CODEC, item) {
                // What cannot be read is another codec.
                let _ = value.take(JSON.len() as u64 + 1).read_to_end(&mut codec);
            }
        });
        found.blame(damage);
    }
    if codec != JSON {
        return Err(RecordsError::Foreign("its records are not said to be JSON"));
    }
    Ok(found)
}

fn is_storm<R: Read + Seek>(database: &mut Database<R>) -> bool {
    database.bucket(database.root(), b"__storm_db").0.is_some()
}

impl Records {
    fn take(&mut self, key: &[u8], len: u64, value: impl Read) {
        let name = String::from_utf8_lossy(&key[..key.len().min(64)]).into_owned();
        if self.records.len() >= MAX_RECORDS || len > MAX_RECORD {
            self.fault(format!("record {name:?}: more than the limit"));
            return;
        }
        match serde_json::from_reader::<_, Written>(BufReader::with_capacity(1 << 16, value)) {
            Err(error) => self.fault(format!("record {name:?}: {error}")),
            Ok(written) => match written.record(key) {
                Err(reason) => self.fault(format!("record {name:?}: {reason}")),
                Ok(record) => {
                    self.records.insert(record.id, record);
                }
            },
        }
    }

    fn blame(&mut self, damage: Vec<super::bolt::Damage>) {
        for damage in damage {
            self.fault(damage.to_string());
        }
    }

    fn fault(&mut self, fault: String) {
        if self.faults.len() < MAX_FAULTS {
            self.faults.push(fault);
        }
    }
}

/// A record as it is written. Go writes `null` for an empty list.
#[derive(Deserialize)]
struct Written {
    #[serde(rename = "ID")]
    id: String,
    #[serde(rename = "VMID")]
    vm_id: String,
    #[serde(rename = "CreatedAt", default)]
    created_at: Option<String>,
    #[serde(rename = "Disks", deserialize_with = "disks")]
    disks: Vec<WrittenDisk>,
}

#[derive(Deserialize)]
struct WrittenDisk {
    name: String,
    path: String,
    parent_path: String,
    snapshot_id: String,
    repo_mountpoint: String,
}

impl Written {
    fn record(self, key: &[u8]) -> Result<Record, &'static str> {
        if key != self.id.as_bytes() {
            return Err("its key is not its id");
        }
        let id = Uuid::try_parse(&self.id)
            .ok()
            .filter(|id| id.to_string() == self.id)
            .ok_or("its id is no snapshot's id")?;
        if self.vm_id.is_empty() || self.vm_id.len() > MAX_TEXT {
            return Err("it names no machine");
        }
        let disks = self
            .disks
            .into_iter()
            .map(|disk| disk.recorded(&self.id))
            .collect::<Result<_, _>>()?;
        Ok(Record {
            id,
            vm_id: self.vm_id,
            // Go's zero time is the year 1.
            created_at: self
                .created_at
                .and_then(|time| time.parse().ok())
                .filter(|time| *time > Timestamp::UNIX_EPOCH),
            disks,
        })
    }
}

impl WrittenDisk {
    fn recorded(self, snapshot: &str) -> Result<RecordedDisk, &'static str> {
        let texts = [
            &self.name,
            &self.path,
            &self.parent_path,
            &self.repo_mountpoint,
        ];
        if texts.iter().any(|text| text.len() > MAX_TEXT) {
            return Err("a path in it is too long");
        }
        if self.snapshot_id != snapshot {
            return Err("a disk in it is of another snapshot");
        }
        Ok(RecordedDisk {
            name: self.name,
            path: self.path.into(),
            parent_path: self.parent_path.into(),
            mount_point: self.repo_mountpoint.into(),
        })
    }
}

/// At most [`MAX_DISKS`], whatever the record's length.
fn disks<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<WrittenDisk>, D::Error> {
    struct Disks;
    impl<'de> Visitor<'de> for Disks {
        type Value = Vec<WrittenDisk>;

        fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(formatter, "a list of at most {MAX_DISKS} disks")
        }

        fn visit_unit<E>(self) -> Result<Self::Value, E> {
            Ok(Vec::new())
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
            let mut disks = Vec::new();
            while let Some(disk) = list.next_element()? {
                if disks.len() == MAX_DISKS {
                    return Err(serde::de::Error::invalid_length(MAX_DISKS + 1, &self));
                }
                disks.push(disk);
            }
            Ok(disks)
        }
    }
    deserializer.deserialize_any(Disks)
}
