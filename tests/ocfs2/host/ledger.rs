//! What a machine was answered before its power went, held against what it finds afterwards.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{bail, ensure};
use uuid::Uuid;

use crate::wire::{Sums, Word};

/// What the clients of a node know.
#[derive(Debug, Clone, Default)]
pub struct Ledger(BTreeMap<String, Machine>);

#[derive(Debug, Clone, Default)]
struct Machine {
    /// Asked for, and not answered yet: what its disks are.
    taking: Vec<Sums>,
    /// Answered.
    ready: BTreeMap<Uuid, Sums>,
    /// Their deletion was asked for, and not answered.
    doubtful: BTreeMap<Uuid, Sums>,
    /// Their deletion was answered.
    gone: BTreeSet<Uuid>,
}

/// What became of snapshots in losses of power.
#[derive(Debug, Clone, Copy, Default)]
pub struct Survivors {
    /// Answered, still there, every byte as it was.
    pub answered: u64,
    /// Not answered, there and whole.
    pub unanswered: u64,
    /// Their deletion was not answered, there and whole.
    pub doubtful: u64,
}

impl Ledger {
    /// What is known after these words.
    pub fn after(words: &[Word]) -> Ledger {
        let mut ledger = Ledger::default();
        words.iter().for_each(|word| ledger.note(word));
        ledger
    }

    pub fn note(&mut self, word: &Word) {
        match word {
            Word::Taking { vm, sums } => self.machine(vm).taking = vec![sums.clone()],
            Word::Ready { vm, id, sums } => {
                let machine = self.machine(vm);
                machine.taking.clear();
                machine.ready.insert(*id, sums.clone());
            }
            Word::Deleting { vm, ids } => {
                let machine = self.machine(vm);
                for id in ids {
                    let known = machine.ready.remove_entry(id);
                    machine.doubtful.extend(known);
                }
            }
            Word::Deleted { vm, ids } => {
                let machine = self.machine(vm);
                for id in ids {
                    machine.doubtful.remove(id);
                    machine.gone.insert(*id);
                }
            }
            _ => {}
        }
    }

    /// What was said about the moment of the loss: it was asked for, and counts as not answered.
    pub fn note_unsure(&mut self, word: &Word) {
        match word {
            Word::Taking { vm, sums } => self.machine(vm).taking.push(sums.clone()),
            Word::Deleting { .. } => self.note(word),
            _ => {}
        }
    }

    fn machine(&mut self, vm: &str) -> &mut Machine {
        self.0.entry(vm.to_owned()).or_default()
    }

    /// Every answered snapshot has to be found, with the bytes that it was answered with; what
    /// else is found has to be one whose making or deletion was not answered. From then on what
    /// was found is what is known.
    pub fn hold(&mut self, found: &[Word]) -> anyhow::Result<Survivors> {
        let mut survivors = Survivors::default();
        let mut there: BTreeMap<&str, BTreeMap<Uuid, Sums>> = BTreeMap::new();
        for word in found {
            let Word::Found { vm, id, sums } = word else {
                bail!("{word} is nothing found");
            };
            let machine = self.machine(vm);
            let (expected, count) = if let Some(sums) = machine.ready.remove(id) {
                (sums, &mut survivors.answered)
            } else if let Some(sums) = machine.doubtful.remove(id) {
                (sums, &mut survivors.doubtful)
            } else if machine.gone.contains(id) {
                bail!("WRONG: {id} of {vm} was deleted, which was answered, and is back");
            } else if let Some(at) = machine.taking.iter().position(|asked| asked == sums) {
                (machine.taking.remove(at), &mut survivors.unanswered)
            } else {
                bail!("WRONG: {id} of {vm}: nobody has asked for {sums:?}");
            };
            ensure!(
                *sums == expected,
                "WRONG: {id} of {vm} reads {sums:?}, its disks were {expected:?}"
            );
            *count += 1;
            there.entry(vm).or_default().insert(*id, expected);
        }
        for (vm, machine) in &self.0 {
            if let Some(id) = machine.ready.keys().next() {
                bail!("LOST: {id} of {vm} was answered and is not there");
            }
        }
        for (vm, machine) in &mut self.0 {
            machine.taking.clear();
            machine.doubtful.clear();
            machine.ready = there.remove(vm.as_str()).unwrap_or_default();
        }
        Ok(survivors)
    }
}
