//! SIGKILL at any moment while snapshots are made and deleted.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::PathBuf;
use std::time::Duration;

use coriolis_ovm_exporter::client::Client;
use coriolis_ovm_exporter::operations::demo::guest::Random;
use coriolis_ovm_exporter::operations::demo::machines::scribble;
use coriolis_ovm_exporter::protocol::Snapshot;
use uuid::Uuid;

use super::half_made;
use crate::support::counts::count;
use crate::support::digest::{self, Sum};
use crate::support::node::{Kind, TestNode};
use crate::support::wait;

const DISK: usize = 128 << 10;
/// So many snapshots of a machine are kept.
const KEEP: usize = 4;

/// What its disks were, by path.
type Sums = BTreeMap<PathBuf, Sum>;

/// A machine, and what its client knows.
struct Guest {
    id: String,
    disks: Vec<PathBuf>,
    random: Random,
    /// Answered, and no deletion was asked for.
    known: BTreeMap<Uuid, Sums>,
    /// A deletion was asked for, and not answered.
    doubtful: BTreeMap<Uuid, Sums>,
}

impl Guest {
    fn new(node: &TestNode, id: &str, disks: &[String], seed: u64) -> Guest {
        let entries: Vec<String> = disks
            .iter()
            .zip('a'..)
            .map(|(path, letter)| format!("'file:{path},xvd{letter},w'"))
            .collect();
        let text = format!(
            "name = '{id}'\nuuid = '{id}'\ndisk = [{}]\n",
            entries.join(", ")
        );
        node.vm_cfg(0, id, &text);
        Guest {
            id: id.to_owned(),
            disks: disks.iter().map(PathBuf::from).collect(),
            random: Random::new(seed),
            known: BTreeMap::new(),
            doubtful: BTreeMap::new(),
        }
    }

    fn write(&mut self) -> Sums {
        for path in &self.disks {
            let file = File::options().write(true).open(path).unwrap();
            let offset = self.random.below(DISK as u64 / 4096) * 4096;
            scribble(&file, &mut self.random, offset, 4096).unwrap();
        }
        let disks = self.disks.iter();
        disks
            .map(|path| (path.clone(), digest::of_file(path)))
            .collect()
    }

    /// Makes and deletes until the daemon is gone.
    async fn work(mut self, client: Client) -> Guest {
        loop {
            let sums = self.write();
            match client.create_snapshot(&self.id).await {
                Ok(snapshot) => self.known.insert(snapshot.id, sums),
                Err(error) => return self.ended(&error),
            };
            while self.known.len() > KEEP || self.random.below(4) == 0 {
                let at = usize::try_from(self.random.below(self.known.len() as u64)).unwrap();
                let Some(id) = self.known.keys().nth(at).copied() else {
                    break;
                };
                let sums = self.known.remove(&id).unwrap();
                if let Err(error) = client.delete_snapshot(&self.id, id).await {
                    self.doubtful.insert(id, sums);
                    return self.ended(&error);
                }
            }
        }
    }

    fn ended(self, error: &coriolis_ovm_exporter::client::ClientError) -> Guest {
        use coriolis_ovm_exporter::client::ClientError;
        assert!(matches!(error, ClientError::Transport(_)), "{error}");
        self
    }

    /// Holds what the daemon says after a restart against what was known before.
    async fn check(&mut self, client: &Client) {
        let listed = client.snapshots(&self.id).await.unwrap();
        let ids: Vec<Uuid> = listed.iter().map(|snapshot| snapshot.id).collect();
        for id in self.known.keys() {
            assert!(
                ids.contains(id),
                "{id} of {} was answered and is lost: {ids:?}",
                self.id
            );
        }
        let mut doubtful = std::mem::take(&mut self.doubtful);
        for snapshot in &listed {
            let found = sums(client, snapshot).await;
            if let Some(sums) = self.known.get(&snapshot.id) {
                assert_eq!(&found, sums, "{}", snapshot.id);
            } else {
                // Its deletion was not begun, or its making was not answered.
                if let Some(sums) = doubtful.remove(&snapshot.id) {
                    assert_eq!(found, sums, "{}", snapshot.id);
                }
                assert_eq!(found.len(), self.disks.len());
                client.delete_snapshot(&self.id, snapshot.id).await.unwrap();
            }
        }
        let left = client.snapshots(&self.id).await.unwrap();
        assert_eq!(left.len(), self.known.len());
    }
}

/// Reads every disk.
async fn sums(client: &Client, snapshot: &Snapshot) -> Sums {
    let mut sums = Sums::new();
    for disk in &snapshot.disks {
        assert_eq!(disk.size, DISK as u64);
        let sum = digest::of_download(client, snapshot, disk).await.unwrap();
        sums.insert(disk.parent_path.clone(), sum);
    }
    sums
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_at_any_moment_loses_nothing_and_leaves_nothing() {
    let seed = getrandom::u64().unwrap();
    println!("seed {seed}");
    let mut random = Random::new(seed);
    let mut node = TestNode::prepare(&[Kind::Xfs, Kind::Btrfs], "").await;
    let disk = |repository: usize, name: &str| {
        let folder = node.repositories[repository].path().join("VirtualDisks");
        let path = folder.join(name);
        std::fs::write(&path, vec![7; DISK]).unwrap();
        path.display().to_string()
    };
    let in_one = [disk(0, "a.img"), disk(0, "b.img")];
    let in_two = [disk(0, "c.img"), disk(1, "d.img")];
    let mut guests = vec![
        Guest::new(&node, "one", &in_one, random.number()),
        Guest::new(&node, "two", &in_two, random.number()),
    ];
    let mut taken = 0;
    for _ in 0..count(20, 200) {
        node.start();
        let client = node.client().await;
        let at_work: Vec<_> = guests
            .drain(..)
            .map(|guest| tokio::spawn(guest.work(client.clone())))
            .collect();
        // Not a wait for something, but the random moment.
        tokio::time::sleep(Duration::from_micros(random.below(150_000))).await;
        node.kill();
        for task in at_work {
            guests.push(task.await.unwrap());
        }

        node.start();
        wait::until_nothing("nothing half made stays", || half_made(&node)).await;
        let client = node.client().await;
        for guest in &mut guests {
            guest.check(&client).await;
            taken += guest.known.len();
        }
        node.kill();
    }
    // A test in which nothing was ever made would prove nothing.
    assert!(taken > 20, "{taken}");
    node.start();
    let client = node.client().await;
    for guest in &guests {
        for id in guest.known.keys() {
            client.delete_snapshot(&guest.id, *id).await.unwrap();
        }
    }
    assert!(
        node.snapshot_files().is_empty(),
        "{:#?}",
        node.snapshot_files()
    );
}
