//! Storage that falls sick in the middle of an operation: what was answered stays, an error says
//! where, nothing half-made is left once the storage is well, and a repository elsewhere never
//! notices.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use coriolis_ovm_exporter::operations::demo::guest::Random;
use coriolis_ovm_exporter::snapshots::{Change, Refine, Snapshot, SnapshotError};
use nix::mount::MsFlags;
use uuid::Uuid;

use super::aftermath;
use super::disk::Disk;
use super::estate::Estate;
use super::mapper::{Health, Mapped};
use super::replica;
use crate::brief::Brief;

const LARGEST: u64 = 3 << 19;

/// Machines, and in which repository each of their disks lies. The sick one has either the first
/// or the second.
const MACHINES: [(&str, [(usize, &str); 2]); 3] = [
    ("first", [(0, "a.img"), (0, "b.img")]),
    ("second", [(1, "c.img"), (1, "d.img")]),
    ("both", [(0, "e.img"), (1, "f.img")]),
];
const BOTH: usize = 2;

/// What happens to the file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Ailment {
    WritesFail,
    AllFails,
    ReadOnly,
    /// Unmounted, lazily.
    Detached,
}

const AILMENTS: [Ailment; 4] = [
    Ailment::WritesFail,
    Ailment::AllFails,
    Ailment::ReadOnly,
    Ailment::Detached,
];

/// What is done meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Deed {
    Create,
    Delete,
    DeleteAll,
    Compare,
    Read,
    Relabel,
    Recover,
}

const DEEDS: [Deed; 7] = [
    Deed::Create,
    Deed::Delete,
    Deed::DeleteAll,
    Deed::Compare,
    Deed::Read,
    Deed::Relabel,
    Deed::Recover,
];

/// A snapshot that was answered.
#[derive(Debug, Clone)]
struct Known {
    vm: &'static str,
    bytes: Vec<Vec<u8>>,
}

struct Ward {
    disks: Vec<PathBuf>,
    /// The devices that are mounted.
    mapped: Vec<Mapped>,
    /// So many devices were made.
    made: u32,
    random: Random,
    known: BTreeMap<Uuid, Known>,
    /// How long each takes on storage that is well.
    usual: BTreeMap<Deed, Duration>,
    tally: BTreeMap<Ailment, Tally>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Tally {
    trials: u32,
    failed: u32,
    unanswered: u32,
    recovered: usize,
}

pub fn run(brief: &Brief) {
    super::fail_at_once();
    let mut ward = Ward::new(brief);
    for deed in DEEDS {
        ward.healthy(deed);
    }
    let rounds = brief.count(1, 6);
    for round in 0..rounds {
        for ailment in AILMENTS {
            for (number, deed) in DEEDS.into_iter().enumerate() {
                // Which repository is sick, and whether the machine has a disk elsewhere too.
                let sick = (number + round as usize) % 2;
                let vm = match ward.random.below(2) {
                    0 => sick,
                    _ => BOTH,
                };
                ward.trial(ailment, deed, sick, vm);
            }
        }
    }
    ward.end();
}

impl Ward {
    fn new(brief: &Brief) -> Ward {
        let disks: Vec<PathBuf> = brief.disks.iter().map(|disk| disk.device.clone()).collect();
        let mapped = disks
            .iter()
            .enumerate()
            .map(|(at, disk)| Mapped::new(disk, &format!("d{at}")))
            .collect();
        Ward {
            made: u32::try_from(disks.len()).unwrap(),
            disks,
            mapped,
            random: Random::new(brief.seed),
            known: BTreeMap::new(),
            usual: BTreeMap::new(),
            tally: BTreeMap::new(),
        }
    }

    fn estate(&self) -> Estate {
        let devices: Vec<PathBuf> = self.mapped.iter().map(|one| one.device.clone()).collect();
        Estate::on(&devices)
    }

    /// Gives a machine two snapshots that are known, with work between them and after.
    fn prepare(&mut self, estate: &Estate, vm: usize) {
        let (vm, places) = MACHINES[vm];
        let here =
            |known: &BTreeMap<Uuid, Known>| known.values().filter(|known| known.vm == vm).count();
        self.write(estate, places);
        while here(&self.known) < 2 {
            let snapshot = estate.take(&estate.subject(vm, &places)).unwrap();
            self.learn(vm, &snapshot);
            self.write(estate, places);
        }
    }

    fn write(&mut self, estate: &Estate, places: [(usize, &str); 2]) {
        for (repository, name) in places {
            let random = Random::new(self.random.number());
            let mut disk = Disk::there(estate.disk(repository, name), random, LARGEST);
            disk.work();
        }
    }

    fn learn(&mut self, vm: &'static str, snapshot: &Snapshot) {
        let bytes = aftermath::bytes(snapshot);
        self.known.insert(snapshot.id(), Known { vm, bytes });
    }

    /// A machine's snapshots, oldest first.
    fn of(&self, estate: &Estate, vm: &str) -> Vec<Uuid> {
        let all = estate.snapshots.all(Some(vm)).unwrap();
        all.iter().map(Snapshot::id).collect()
    }

    fn healthy(&mut self, deed: Deed) {
        let estate = self.estate();
        self.prepare(&estate, BOTH);
        let ids = self.of(&estate, MACHINES[BOTH].0);
        let live = live(&estate, BOTH);
        let begun = Instant::now();
        let new = act(&estate, deed, BOTH, &ids, &self.known).unwrap();
        self.usual.insert(deed, begun.elapsed());
        self.answered(deed, BOTH, &ids, new, &live);
        let (recovered, _) = aftermath::recover(&estate);
        assert_eq!(recovered, 0, "{deed:?}");
        estate.leave();
    }

    /// What is known after a deed that was answered well.
    fn answered(
        &mut self,
        deed: Deed,
        vm: usize,
        ids: &[Uuid],
        new: Option<Snapshot>,
        live: &[Vec<u8>],
    ) {
        match deed {
            Deed::Create => {
                let known = Known {
                    vm: MACHINES[vm].0,
                    bytes: live.to_vec(),
                };
                self.known.insert(new.unwrap().id(), known);
            }
            Deed::Delete => drop(self.known.remove(&ids[0])),
            Deed::DeleteAll => self.known.retain(|id, _| !ids.contains(id)),
            _ => {}
        }
    }

    fn trial(&mut self, ailment: Ailment, deed: Deed, sick: usize, vm: usize) {
        let estate = self.estate();
        let well = 1 - sick;
        self.prepare(&estate, vm);
        self.prepare(&estate, well);
        let ids = self.of(&estate, MACHINES[vm].0);
        let neighbour = self.of(&estate, MACHINES[well].0);
        let live = live(&estate, vm);
        let usual = u64::try_from(self.usual[&deed].as_micros()).unwrap();
        let delay = Duration::from_micros(self.random.below(usual * 5 / 4));

        let over = AtomicBool::new(false);
        let fallen = AtomicBool::new(false);
        let outcome = std::thread::scope(|scope| {
            let (estate, known, over, fallen) = (&estate, &self.known, &over, &fallen);
            let mapped = &self.mapped[sick];
            scope.spawn(move || {
                std::thread::sleep(delay);
                fall(estate, mapped, ailment, sick, over);
                fallen.store(true, Ordering::SeqCst);
            });
            scope.spawn(move || unaffected(estate, well, &neighbour, known, over, fallen));
            let outcome = act(estate, deed, vm, &ids, known);
            over.store(true, Ordering::SeqCst);
            outcome
        });

        let tally = self.tally.entry(ailment).or_default();
        tally.trials += 1;
        let described = format!("{ailment:?} in {deed:?} of {}", MACHINES[vm].0);
        match outcome {
            Ok(new) => self.answered(deed, vm, &ids, new, &live),
            Err(error) => {
                tally.failed += 1;
                clear(&described, &error, &estate, sick);
            }
        }
        self.heal(estate, ailment, sick);
        self.after(deed, vm, &ids, &live, ailment, &described);
    }

    /// Storage that is well again: as after a fence, the node comes back with a new mount.
    fn heal(&mut self, mut estate: Estate, ailment: Ailment, sick: usize) {
        match ailment {
            Ailment::WritesFail | Ailment::AllFails => {
                // What the kernel still holds of the old mount ends at a device that stays sick.
                estate.mounts[sick].detach();
                estate.mounts[sick].forget();
                self.mapped[sick].turn(Health::AllFails);
                let name = format!("d{}", self.made);
                self.made += 1;
                self.mapped[sick] = Mapped::new(&self.disks[sick], &name);
            }
            Ailment::ReadOnly => {
                // In place, and what could not be undone is undone.
                estate.mounts[sick].remount(MsFlags::empty()).unwrap();
                estate.snapshots.recover().unwrap();
            }
            Ailment::Detached => {
                estate.mounts[sick].forget();
                let point = estate.root(sick);
                let left: Vec<_> = fs::read_dir(point).unwrap().collect();
                assert!(left.is_empty(), "below the bare mount point: {left:?}");
            }
        }
        estate.leave();
    }

    fn after(
        &mut self,
        deed: Deed,
        vm: usize,
        ids: &[Uuid],
        live: &[Vec<u8>],
        ailment: Ailment,
        described: &str,
    ) {
        let estate = self.estate();
        let (recovered, all) = aftermath::recover(&estate);
        let tally = self.tally.entry(ailment).or_default();
        tally.recovered += recovered;
        // A deletion that failed may have been done, later.
        let mut there: BTreeMap<Uuid, Known> = BTreeMap::new();
        for snapshot in &all {
            let id = snapshot.id();
            let bytes = aftermath::bytes(snapshot);
            let known = match self.known.remove(&id) {
                Some(known) => known,
                None => {
                    assert_eq!(deed, Deed::Create, "{described}: what is {id}?");
                    assert_eq!(snapshot.manifest.vm_id, MACHINES[vm].0, "{described}");
                    tally.unanswered += 1;
                    Known {
                        vm: MACHINES[vm].0,
                        bytes: live.to_vec(),
                    }
                }
            };
            assert_eq!(snapshot.manifest.vm_id, known.vm, "{described}");
            assert!(bytes == known.bytes, "WRONG: {described}: {id}");
            there.insert(id, known);
        }
        for id in self.known.keys() {
            let deleted = matches!(deed, Deed::Delete | Deed::DeleteAll) && ids.contains(id);
            assert!(deleted, "LOST: {described}: {id}");
        }
        self.known = there;
        // Not more and more of them.
        let ids = self.of(&estate, MACHINES[vm].0);
        for id in ids.iter().take(ids.len().saturating_sub(3)) {
            estate.delete(MACHINES[vm].0, *id).unwrap();
            self.known.remove(id);
        }
        estate.leave();
    }

    fn end(self) {
        let estate = self.estate();
        for (vm, _) in MACHINES {
            estate.delete_all(vm).unwrap();
        }
        let (recovered, all) = aftermath::recover(&estate);
        assert!(recovered == 0 && all.is_empty());
        estate.leave();
        let mut failed = 0;
        for (ailment, tally) in &self.tally {
            println!(
                "  {ailment:?}: {} trials, {} failed, {} whole and not answered, {} recovered",
                tally.trials, tally.failed, tally.unanswered, tally.recovered
            );
            failed += tally.failed;
        }
        assert!(failed > 0, "nothing ever failed");
    }
}

/// What a machine's disks hold.
fn live(estate: &Estate, vm: usize) -> Vec<Vec<u8>> {
    let disks = MACHINES[vm].1.iter();
    disks
        .map(|(repository, name)| fs::read(estate.disk(*repository, name)).unwrap())
        .collect()
}

/// Makes the file system sick, now.
fn fall(estate: &Estate, mapped: &Mapped, ailment: Ailment, sick: usize, over: &AtomicBool) {
    match ailment {
        Ailment::WritesFail => mapped.turn(Health::WritesFail),
        Ailment::AllFails => mapped.turn(Health::AllFails),
        Ailment::Detached => estate.mounts[sick].detach(),
        Ailment::ReadOnly => {
            // Refused while a file is open for writing.
            while estate.mounts[sick].remount(MsFlags::MS_RDONLY).is_err()
                && !over.load(Ordering::SeqCst)
            {
                std::thread::yield_now();
            }
        }
    }
}

/// The other repository's machine goes on, at least once after the fall.
fn unaffected(
    estate: &Estate,
    vm: usize,
    ids: &[Uuid],
    known: &BTreeMap<Uuid, Known>,
    over: &AtomicBool,
    fallen: &AtomicBool,
) {
    let (name, places) = MACHINES[vm];
    loop {
        let last = over.load(Ordering::SeqCst) && fallen.load(Ordering::SeqCst);
        let new = estate.take(&estate.subject(name, &places)).unwrap();
        act(estate, Deed::Compare, vm, ids, known).unwrap();
        estate.delete(name, new.id()).unwrap();
        if last {
            return;
        }
    }
}

/// Does it, to the machine's snapshots `ids`, at least two.
fn act(
    estate: &Estate,
    deed: Deed,
    vm: usize,
    ids: &[Uuid],
    known: &BTreeMap<Uuid, Known>,
) -> Result<Option<Snapshot>, SnapshotError> {
    let (name, places) = MACHINES[vm];
    let find = |id: Uuid| estate.snapshots.find(name, &id.to_string());
    match deed {
        Deed::Create => return estate.take(&estate.subject(name, &places)).map(Some),
        Deed::Delete => estate.delete(name, ids[0])?,
        Deed::DeleteAll => estate.delete_all(name)?,
        Deed::Compare => {
            let now = find(ids[1])?;
            let comparison =
                estate
                    .snapshots
                    .compare(now, &ids[0].to_string(), Refine::Auto, || true)?;
            let (older, newer) = (&known[&ids[0]].bytes, &known[&ids[1]].bytes);
            for at in 0..places.len() {
                let disk = &comparison.disks[at];
                let missed = replica::missed(&disk.ranges, &older[at], &newer[at]);
                assert_eq!(missed, 0, "disk {at} of {} since {}", ids[1], ids[0]);
            }
        }
        Deed::Read => {
            let snapshot = find(ids[0])?.ready()?;
            for (disk, bytes) in snapshot.manifest.disks.iter().zip(&known[&ids[0]].bytes) {
                let path = snapshot.path(disk).unwrap();
                let read = replica::try_read(&snapshot, disk).map_err(|error| match error {
                    Ok(error) => error,
                    Err(source) => io_error(path, source),
                })?;
                assert!(read == *bytes, "{} reads wrong", ids[0]);
            }
        }
        Deed::Relabel => {
            let change = Change {
                label: Some(Some("a label".to_owned())),
                ..Change::default()
            };
            let turn = estate.snapshots.turn();
            estate
                .snapshots
                .change(name, &ids[0].to_string(), &change, false, &turn)?;
        }
        Deed::Recover => drop(estate.snapshots.recover()?),
    }
    Ok(None)
}

/// The server says of a read which file it was.
fn io_error(path: PathBuf, source: io::Error) -> SnapshotError {
    SnapshotError::Io {
        what: "cannot read",
        path,
        source,
    }
}

/// An error says where, and never that something is gone or was changed, which would have the
/// client give up a snapshot that is whole.
fn clear(described: &str, error: &SnapshotError, estate: &Estate, sick: usize) {
    let text = error.to_string();
    println!("  {described}: {text}");
    let root = estate.root(sick).display().to_string();
    assert!(text.contains(&root), "{described}: {error:?}");
    assert!(
        matches!(
            error,
            SnapshotError::Io { .. }
                | SnapshotError::Unavailable { .. }
                | SnapshotError::Incompatible { .. }
                | SnapshotError::NotNow { .. }
                | SnapshotError::Unreadable { .. }
        ),
        "{described}: {error:?}"
    );
}
