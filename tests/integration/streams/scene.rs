//! A node with one machine of one disk, and the reads of its snapshots.

use std::fs;
use std::path::{Path, PathBuf};

use coriolis_ovm_exporter::protocol::delta::{Decoder, DeltaError, Item, StreamHeader, Totals};
use coriolis_ovm_exporter::protocol::{ChangeKind, ChangedRange, RangePage};
use serde_json::Value;

use super::super::comparison::house::disk_in;
use super::super::support::api::{Answer, Api, text};
use super::super::support::node::{Kind, TestNode};

pub const VM: &str = "0004fb00000600000000000000000001";
/// A name that has to be encoded in a path.
pub const DISK: &str = "a#b?c%41&d+e;ü.img";
/// What a volume holds that nobody has written to.
const STALE: u8 = 0xEE;

/// A node, its machine's disk yet to be made.
pub struct Scene {
    pub node: TestNode,
    pub api: Api,
    pub disk: PathBuf,
}

/// A snapshot, and the bytes of its disk.
pub struct Taken {
    pub id: String,
    pub file: PathBuf,
    pub bytes: Vec<u8>,
}

/// What a stream held.
#[derive(Debug, Clone)]
pub struct Delta {
    pub header: StreamHeader,
    pub items: Vec<Item>,
    pub totals: Totals,
}

impl Scene {
    pub async fn set(kind: Kind) -> Scene {
        let node = TestNode::new(&[kind]).await;
        let disk = disk_in(&node.repositories[0].ground, DISK);
        let text = format!("name = '{VM}'\ndisk = ['file:{},xvda,w']\n", disk.display());
        node.vm_cfg(0, VM, &text);
        let api = Api::of(&node).await;
        Scene { node, api, disk }
    }

    /// Takes a snapshot and reads its file.
    pub async fn take(&self) -> Taken {
        let taken = self.take_unread().await;
        Taken {
            bytes: fs::read(&taken.file).unwrap(),
            ..taken
        }
    }

    /// The same of a disk that is too large to be read.
    pub async fn take_unread(&self) -> Taken {
        let snapshot = self.api.snapshot(VM).await;
        let disk = &snapshot["disks"][0];
        assert_eq!(text(&disk["name"]), DISK);
        Taken {
            id: text(&snapshot["id"]).to_owned(),
            file: text(&disk["path"]).into(),
            bytes: Vec::new(),
        }
    }

    /// The path of a read below a snapshot's disk, without `/api/v1`.
    pub fn path(snapshot: &Taken, read: &str, query: &str) -> String {
        let name: String = DISK.bytes().map(|byte| format!("%{byte:02X}")).collect();
        format!(
            "/vms/{VM}/snapshots/{}/disks/{name}/{read}?{query}",
            snapshot.id
        )
    }

    pub async fn get(&self, snapshot: &Taken, read: &str, query: &str) -> Answer {
        self.api.get(&Scene::path(snapshot, read, query)).await
    }

    /// The body of a delta that is answered.
    pub async fn delta(&self, snapshot: &Taken, query: &str) -> Vec<u8> {
        let answer = self.get(snapshot, "delta", query).await;
        assert_eq!(answer.status, 200, "{query}: {answer:?}");
        answer.body.to_vec()
    }

    /// All pages of ranges, of at most so many each, and what their heads say.
    pub async fn ranges(
        &self,
        snapshot: &Taken,
        query: &str,
        limit: usize,
    ) -> (Vec<ChangedRange>, RangePage) {
        let (mut all, mut from) = (Vec::new(), 0);
        loop {
            let query = format!("{query}&from={from}&limit={limit}");
            let answer = self.get(snapshot, "ranges", &query).await;
            assert_eq!(answer.status, 200, "{query}: {answer:?}");
            let page: RangePage = serde_json::from_value(answer.json()).unwrap();
            assert!(page.ranges.len() <= limit);
            for range in &page.ranges {
                push(&mut all, *range, from, page.size);
                assert!(
                    page.next
                        .is_none_or(|next| range.start + range.length <= next)
                );
            }
            match page.next {
                None => return (all, page),
                Some(next) => {
                    assert!(next > from && next < page.size, "{from} → {next}");
                    from = next;
                }
            }
        }
    }

    /// The chunks of the snapshot's own comparison, as ranges.
    pub async fn chunks(&self, snapshot: &Taken, query: &str) -> Vec<ChangedRange> {
        let path = format!("/vms/{VM}/snapshots/{}?{query}", snapshot.id);
        let answer = self.api.json(&path).await;
        let chunks = answer["disks"][0]["chunks"].as_array().unwrap();
        chunks
            .iter()
            .map(|chunk| ChangedRange {
                start: chunk["start"].as_u64().unwrap(),
                length: chunk["length"].as_u64().unwrap(),
                kind: match chunk.get("zero") {
                    Some(Value::Bool(true)) => ChangeKind::Zero,
                    _ => ChangeKind::Data,
                },
            })
            .collect()
    }
}

/// Adds a range that comes after all others; a page's end may have cut one in two.
fn push(all: &mut Vec<ChangedRange>, range: ChangedRange, from: u64, size: u64) {
    assert!(range.length > 0 && range.start >= from && range.start + range.length <= size);
    match all.last_mut() {
        Some(last) if last.start + last.length == range.start && last.kind == range.kind => {
            last.length += range.length;
        }
        last => {
            assert!(last.is_none_or(|last| last.start + last.length <= range.start));
            all.push(range);
        }
    }
}

/// Decodes a whole stream that comes in pieces of `step` bytes.
pub fn decode(stream: &[u8], step: usize) -> Result<Delta, DeltaError> {
    let mut decoder = Decoder::new();
    let (mut header, mut items) = (None, Vec::new());
    for piece in stream.chunks(step.max(1)) {
        let mut input = piece;
        while let Some(item) = decoder.next(&mut input)? {
            match item {
                Item::Header(found) => header = Some(found),
                Item::End(_) => {}
                other => items.push(other),
            }
        }
    }
    let totals = decoder.finish()?;
    Ok(Delta {
        header: header.unwrap(),
        items,
        totals,
    })
}

/// A replica as a volume is: what was not written is anything.
pub fn resized(replica: &[u8], size: u64) -> Vec<u8> {
    let mut replica = replica.to_vec();
    replica.resize(usize::try_from(size).unwrap(), STALE);
    replica
}

impl Delta {
    /// Brings a replica up to date.
    pub fn apply(&self, replica: &[u8]) -> Vec<u8> {
        let mut replica = resized(replica, self.header.size);
        for item in &self.items {
            match item {
                Item::Data { offset, bytes } => {
                    replica[place(*offset, bytes.len() as u64)].copy_from_slice(bytes);
                }
                Item::Zero { offset, length } => replica[place(*offset, *length)].fill(0),
                _ => {}
            }
        }
        replica
    }

    /// Where the first frame begins that says something.
    pub fn first(&self) -> Option<u64> {
        self.items.iter().find_map(|item| match item {
            Item::Data { offset, .. } | Item::Zero { offset, .. } => Some(*offset),
            _ => None,
        })
    }
}

/// Applies ranges with the snapshot's bytes at hand.
pub fn apply_ranges(ranges: &[ChangedRange], replica: &[u8], now: &[u8]) -> Vec<u8> {
    let mut replica = resized(replica, now.len() as u64);
    for range in ranges {
        let place = place(range.start, range.length);
        match range.kind {
            ChangeKind::Zero => replica[place].fill(0),
            ChangeKind::Data => replica[place.clone()].copy_from_slice(&now[place]),
        }
    }
    replica
}

fn place(offset: u64, length: u64) -> std::ops::Range<usize> {
    usize::try_from(offset).unwrap()..usize::try_from(offset + length).unwrap()
}

/// Where two disks begin to differ: better to read than two disks.
#[track_caller]
pub fn assert_same(found: &[u8], expected: &[u8], what: &str) {
    if found != expected {
        let at = found
            .iter()
            .zip(expected)
            .position(|(one, other)| one != other);
        panic!(
            "{what}: {} bytes against {}, first difference {at:?}",
            found.len(),
            expected.len()
        );
    }
}

/// The decoder in Python, on a file.
pub fn python(stream: &[u8], disk: &Path) -> Result<Value, String> {
    use std::io::Write as _;
    use std::process::{Command, Stdio};

    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/integration/streams/delta.py");
    let mut child = Command::new("python3")
        .arg(script)
        .arg(disk)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("python3 cannot be started: install the package python3");
    // It stops reading what it does not believe.
    let _ = child.stdin.take().unwrap().write_all(stream);
    let output = child.wait_with_output().unwrap();
    if output.status.success() {
        Ok(serde_json::from_slice(&output.stdout).unwrap())
    } else {
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }
}
