//! The machine whose power is taken away: it makes, compares and deletes snapshots, and says what
//! it was answered. After a loss it looks at what is there.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use coriolis_ovm_exporter::operations::demo::guest::Random;
use coriolis_ovm_exporter::snapshots::{Ability, Subject};
use coriolis_ovm_exporter::sys::reflink::CloneCall;
use uuid::Uuid;

use super::disk::{self, Disk};
use super::estate::Estate;
use super::mount::{BARRIER, DEFAULT};
use super::{aftermath, wire, without_ficlone};
use crate::brief::Brief;
use crate::wire::{Command, Word};

/// A node has so many repositories, each with clusters of its own size.
pub const REPOSITORIES: usize = 2;
/// So many snapshots of a machine are kept.
const KEEP: usize = 3;
/// Bytes of a disk, at most.
const LARGEST: u64 = 3 << 20;

/// Machines, and in which repository each of their disks lies.
const MACHINES: [(&str, [(usize, &str); 2]); 3] = [
    ("small-clusters", [(0, "a.img"), (0, "b.img")]),
    ("large-clusters", [(1, "c.img"), (1, "d.img")]),
    ("both", [(0, "e.img"), (1, "f.img")]),
];

pub fn run(brief: &Brief) {
    super::fail_at_once();
    loop {
        match wire::command() {
            Command::Check(first) => check(&devices(brief, first)),
            Command::Settle => Estate::on(&devices(brief, 0)).leave(),
            Command::Work {
                seed,
                barrier,
                ficlone,
            } => {
                let options = if barrier { BARRIER } else { DEFAULT };
                let estate = Estate::mounted(&devices(brief, 0), options);
                let mut random = Random::new(seed);
                if ficlone {
                    work(estate, &mut random, CloneCall::Ficlone);
                } else {
                    // Threads begun in there cannot use it either.
                    without_ficlone::run(|| work(estate, &mut random, CloneCall::Ocfs2Reflink));
                }
            }
            Command::Clear => clear(&devices(brief, 0)),
            Command::End => return,
        }
        wire::tell(&Word::Done);
    }
}

fn devices(brief: &Brief, first: usize) -> Vec<PathBuf> {
    brief.disks[first..first + REPOSITORIES]
        .iter()
        .map(|disk| disk.device.clone())
        .collect()
}

fn check(devices: &[PathBuf]) {
    let estate = Estate::on(devices);
    wire::tell(&Word::Mounted);
    let (recovered, all) = aftermath::recover(&estate);
    wire::tell(&Word::Recovered(recovered));
    let mut compared = 0;
    for (vm, _) in MACHINES {
        let mut older = None;
        for snapshot in all.iter().filter(|found| found.manifest.vm_id == vm) {
            let id = snapshot.id();
            wire::tell(&Word::Found {
                vm: vm.to_owned(),
                id,
                sums: aftermath::sums(&aftermath::bytes(snapshot)),
            });
            if let Some(older) = older.replace(id) {
                aftermath::compare(&estate, vm, older, id);
                compared += 1;
            }
        }
    }
    wire::tell(&Word::Compared(compared));
    estate.leave();
}

fn clear(devices: &[PathBuf]) {
    let estate = Estate::on(devices);
    for (vm, _) in MACHINES {
        estate.delete_all(vm).unwrap();
    }
    let (recovered, all) = aftermath::recover(&estate);
    assert!(recovered == 0 && all.is_empty());
    estate.leave();
}

/// All machines at once, until the host wants no more, or the power is gone.
fn work(estate: Estate, random: &mut Random, call: CloneCall) {
    for repository in estate.repositories() {
        let ability = estate.snapshots.ability(&repository);
        assert_eq!(ability, Ability::Yes(call));
    }
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let machines: Vec<_> = MACHINES
            .iter()
            .map(|(vm, disks)| {
                let machine = Machine::new(&estate, vm, disks, random);
                let estate = &estate;
                scope.spawn(move || machine.live(estate))
            })
            .collect();
        // As the daemon does beside its requests.
        let (estate, over) = (&estate, &over);
        scope.spawn(move || {
            while !over.load(Ordering::Relaxed) {
                let recovered = estate.snapshots.recover().unwrap();
                // A directory that is made and not locked yet may be cleared, and is made again.
                assert!(
                    recovered.undone.is_empty() && recovered.finished.is_empty(),
                    "{recovered:?}"
                );
                std::thread::sleep(Duration::from_millis(300));
            }
        });
        for machine in machines {
            machine.join().unwrap();
        }
        over.store(true, Ordering::Relaxed);
    });
    estate.leave();
}

struct Machine {
    vm: String,
    disks: Vec<Disk>,
    subject: Subject,
    random: Random,
    kept: Vec<Uuid>,
}

impl Machine {
    fn new(estate: &Estate, vm: &str, disks: &[(usize, &str)], random: &mut Random) -> Machine {
        let snapshots = estate.snapshots.all(Some(vm)).unwrap();
        Machine {
            vm: vm.to_owned(),
            disks: disks
                .iter()
                .map(|(repository, name)| {
                    let path = estate.disk(*repository, name);
                    Disk::there(path, Random::new(random.number()), LARGEST)
                })
                .collect(),
            subject: estate.subject(vm, disks),
            random: Random::new(random.number()),
            kept: snapshots.iter().map(|snapshot| snapshot.id()).collect(),
        }
    }

    fn live(mut self, estate: &Estate) {
        while self.take(estate) {
            if self.kept.len() > 1 && self.random.below(3) == 0 {
                let at = self.pick(self.kept.len() - 1);
                let newest = *self.kept.last().unwrap();
                aftermath::compare(estate, &self.vm, self.kept[at], newest);
            }
            while self.kept.len() > KEEP || (!self.kept.is_empty() && self.random.below(4) == 0) {
                if !self.delete(estate) {
                    return;
                }
            }
        }
    }

    fn pick(&mut self, limit: usize) -> usize {
        usize::try_from(self.random.below(limit as u64)).unwrap()
    }

    fn take(&mut self, estate: &Estate) -> bool {
        let vm = self.vm.clone();
        self.disks.iter_mut().for_each(Disk::work);
        let bytes: Vec<Vec<u8>> = self.disks.iter().map(Disk::bytes).collect();
        let sums = aftermath::sums(&bytes);
        if !wire::may(&Word::Taking {
            vm: vm.clone(),
            sums: sums.clone(),
        }) {
            return false;
        }
        let disks: Vec<&Disk> = self.disks.iter().collect();
        let (snapshot, _) = disk::snapshot(&disks, || estate.take(&self.subject));
        let id = snapshot.id();
        wire::tell(&Word::Ready { vm, id, sums });
        self.kept.push(id);
        true
    }

    /// One, or now and then all.
    fn delete(&mut self, estate: &Estate) -> bool {
        let vm = self.vm.clone();
        let all = self.random.below(8) == 0;
        let ids = if all {
            std::mem::take(&mut self.kept)
        } else {
            let at = self.pick(self.kept.len());
            vec![self.kept.remove(at)]
        };
        if !wire::may(&Word::Deleting {
            vm: vm.clone(),
            ids: ids.clone(),
        }) {
            return false;
        }
        if all {
            estate.delete_all(&vm).unwrap();
        } else {
            estate.delete(&vm, ids[0]).unwrap();
        }
        wire::tell(&Word::Deleted { vm, ids });
        true
    }
}
