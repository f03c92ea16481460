//! Losses of power on disks with a volatile cache: one life, whose every write is logged, and many
//! deaths. At each moment the disks have what was flushed, and chance decides on every other write.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command as Program;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use coriolis_ovm_exporter::operations::demo::guest::Random;

use super::image::{FileSystem, run};
use super::ledger::Ledger;
use super::partner::Partner;
use super::power::Tally;
use super::write_log::{Mortal, WriteLog, copy};
use super::{Equipment, Lab};
use crate::guest::power::REPOSITORIES;
use crate::scenario::Scenario;
use crate::wire::{Command, Word};

/// So many moments are looked at by one machine: it has room for two disks of each.
const BATCH: usize = 10;

/// A moment of the machine's life: how long the logs of its disks were, and what had been said.
#[derive(Debug, Clone)]
struct Moment {
    logs: Vec<u64>,
    /// So many words for sure.
    words: usize,
    /// So many at most.
    perhaps: usize,
}

pub fn drive(lab: &Lab, scenario: &Scenario) -> anyhow::Result<()> {
    let disks = lab.make_images(scenario)?;
    let mut random = Random::new(lab.seed);
    let log = |disk: &FileSystem| disk.path.with_extension("log");
    let before = |disk: &FileSystem| disk.path.with_extension("before");
    for disk in &disks {
        std::fs::File::create_new(log(disk))?;
        copy(&disk.path, &before(disk))?;
    }
    let logs: Vec<PathBuf> = disks.iter().map(log).collect();
    let equipment = Equipment {
        logs: &logs,
        ..Equipment::default()
    };
    let machine = lab.boot_equipped(scenario, &disks, equipment)?;
    let mut partner = Partner::new(machine, lab.patience());
    partner.command(Command::Work {
        seed: random.number(),
        barrier: true,
        ficlone: random.below(2) == 0,
    })?;
    let words = lab.count(120, 600) as usize;
    let (moments, words) = watch(&mut partner, &logs, words)?;
    partner.end()?;

    let taken = words
        .iter()
        .filter(|word| matches!(word, Word::Ready { .. }));
    let taken = taken.count();
    let mut mortals = Vec::new();
    for disk in &disks {
        disk.check()?;
        let log = WriteLog::read(&log(disk))?;
        // Without flushes every moment would find the disks as they were at first.
        ensure!(log.flushes() > taken, "{} flushes", log.flushes());
        // Nothing is missing in the log, or the deaths would prove nothing.
        let replayed = disk.path.with_extension("replayed");
        copy(&before(disk), &replayed)?;
        log.replay(&replayed)?;
        run(Program::new("cmp").args([&disk.path, &replayed]))?;
        std::fs::remove_file(replayed)?;
        mortals.push(Mortal::new(log, before(disk)));
    }
    let losses = lab.count(8, 60);
    ensure!(moments.len() > 1, "no moment was noted");
    println!("  {} moments of {} words", moments.len(), words.len());
    let chosen = choose(&moments, &words, losses, &mortals, &mut random)?;
    let mut tally = Tally::default();
    let mut lost = 0;
    for batch in chosen.chunks(BATCH) {
        let mut images = Vec::new();
        for moment in batch {
            for (number, mortal) in mortals.iter_mut().enumerate() {
                let path = lab.folder().join(format!("{}.lost", images.len()));
                lost += mortal.lose(moment.logs[number], &mut random, &path)?;
                images.push(FileSystem {
                    path,
                    ..disks[number].clone()
                });
            }
        }
        let mut partner = Partner::new(lab.boot(scenario, &images)?, lab.patience());
        for (at, moment) in batch.iter().enumerate() {
            let described = || format!("at {moment:?}, on disks from {}", at * REPOSITORIES);
            let aftermath = partner.check(at * REPOSITORIES).with_context(described)?;
            let mut ledger = Ledger::after(&words[..moment.words]);
            for word in &words[moment.words..moment.perhaps] {
                ledger.note_unsure(word);
            }
            let survivors = ledger.hold(&aftermath.found).with_context(described)?;
            tally.add(survivors, &aftermath);
        }
        partner.end()?;
        for image in images {
            image.check_after_loss()?;
            std::fs::remove_file(image.path)?;
        }
    }
    println!("  {lost} unflushed writes lost");
    ensure!(lost > 0, "nothing was lost");
    tally.tell()?;
    tally.ensure_interrupted(lab.long)
}

/// Listens to the machine until it has said `wanted` words, noting as many moments as possible.
fn watch(
    partner: &mut Partner,
    logs: &[PathBuf],
    wanted: usize,
) -> anyhow::Result<(Vec<Moment>, Vec<Word>)> {
    let mut moments: Vec<Moment> = Vec::new();
    let mut words = Vec::new();
    loop {
        // What is said at this moment was answered before it; a deletion is let go only later.
        if let Some(logs) = lengths(logs)?
            && moments.last().is_none_or(|last| last.logs != logs)
        {
            moments.push(Moment {
                logs,
                words: words.len(),
                perhaps: words.len(),
            });
        }
        let Some(word) = partner.hear_within(Duration::from_millis(1))? else {
            continue;
        };
        if word == Word::Done {
            return Ok((moments, words));
        }
        let waits = word.waits();
        words.push(word);
        if waits {
            partner.answer(words.len() < wanted)?;
        }
    }
}

/// The lengths of all logs at one moment; None where they grew meanwhile.
fn lengths(logs: &[PathBuf]) -> anyhow::Result<Option<Vec<u64>>> {
    let all = || -> anyhow::Result<Vec<u64>> { logs.iter().map(|log| length(log)).collect() };
    let lengths = all()?;
    Ok((all()? == lengths).then_some(lengths))
}

fn length(log: &Path) -> anyhow::Result<u64> {
    Ok(log.metadata()?.len())
}

/// Moments at random. Every other one lies inside of an operation, a making or a deletion in turn;
/// of both kinds, every other one is the worst of several.
fn choose(
    noted: &[Moment],
    words: &[Word],
    count: u32,
    mortals: &[Mortal],
    random: &mut Random,
) -> anyhow::Result<Vec<Moment>> {
    let danger = |moment: &Moment| -> usize {
        let disks = mortals.iter().zip(&moment.logs);
        disks.map(|(disk, length)| disk.endangered(*length)).sum()
    };
    // What follows the last one is not known.
    let all: Vec<usize> = (0..noted.len() - 1).collect();
    let during = |work: fn(&Busy) -> bool| -> Vec<usize> {
        let inside = |at: &usize| work(&Busy::after(&words[..noted[*at].words]));
        all.iter().copied().filter(inside).collect()
    };
    let making = during(|busy| !busy.making.is_empty());
    let deleting = during(|busy| !busy.deleting.is_empty());
    println!(
        "  {} of them inside of a making, {} inside of a deletion",
        making.len(),
        deleting.len()
    );
    let mut chosen = Vec::new();
    for number in 0..count {
        let among = match number % 4 {
            0 | 2 => &all,
            1 => &making,
            _ => &deleting,
        };
        ensure!(!among.is_empty(), "no moment to choose from");
        let several = if number % 8 < 4 { 1 } else { 10 };
        let candidates = (0..several).map(|_| somewhen(noted, among, random));
        chosen.extend(candidates.max_by_key(danger));
    }
    chosen.sort_by(|one, other| one.logs.cmp(&other.logs));
    Ok(chosen)
}

/// The virtual machines of which a snapshot is being made, or deleted.
#[derive(Debug, Default)]
struct Busy<'w> {
    making: BTreeSet<&'w str>,
    deleting: BTreeSet<&'w str>,
}

impl Busy<'_> {
    fn after(words: &[Word]) -> Busy<'_> {
        let mut busy = Busy::default();
        for word in words {
            let _ = match word {
                Word::Taking { vm, .. } => busy.making.insert(vm),
                Word::Ready { vm, .. } => busy.making.remove(vm.as_str()),
                Word::Deleting { vm, .. } => busy.deleting.insert(vm),
                Word::Deleted { vm, .. } => busy.deleting.remove(vm.as_str()),
                _ => false,
            };
        }
        busy
    }
}

/// A moment between one of these that were noted and the next, where only one disk was at work
/// meanwhile: of two disks' writes nobody knows which came first.
fn somewhen(noted: &[Moment], among: &[usize], random: &mut Random) -> Moment {
    let at = among[usize::try_from(random.below(among.len() as u64)).unwrap_or(0)];
    let (one, next) = (&noted[at], &noted[at + 1]);
    let changed: Vec<usize> = (0..one.logs.len())
        .filter(|disk| one.logs[*disk] != next.logs[*disk])
        .collect();
    let mut moment = one.clone();
    if let [disk] = changed[..] {
        let length = &mut moment.logs[disk];
        *length += random.below(next.logs[disk] - *length);
        moment.perhaps = next.words;
    }
    moment
}
