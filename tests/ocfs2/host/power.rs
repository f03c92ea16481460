//! Losses of power: nothing that was answered may be lost, nothing half-made may be left. Here the
//! whole machine is killed, again and again.

use std::time::{Duration, Instant};

use anyhow::ensure;
use coriolis_ovm_exporter::operations::demo::guest::Random;

use super::Lab;
use super::image::FileSystem;
use super::ledger::{Ledger, Survivors};
use super::partner::{Aftermath, Partner};
use crate::scenario::Scenario;
use crate::wire::{Command, Word};

/// What all losses of a scenario came to.
#[derive(Debug, Default)]
pub struct Tally {
    losses: u64,
    survivors: Survivors,
    /// Directories that recovery had to undo, finish or clear.
    recovered: usize,
    compared: u64,
}

impl Tally {
    pub fn add(&mut self, survivors: Survivors, aftermath: &Aftermath) {
        self.losses += 1;
        self.survivors.answered += survivors.answered;
        self.survivors.unanswered += survivors.unanswered;
        self.survivors.doubtful += survivors.doubtful;
        self.recovered += aftermath.recovered;
        self.compared += aftermath.compared;
    }

    pub fn tell(&self) -> anyhow::Result<()> {
        println!(
            "  {} losses of power: {} answered snapshots, 0 lost, 0 wrong; whole and not answered: \
             {} made, {} being deleted; {} recovered; {} pairs compared",
            self.losses,
            self.survivors.answered,
            self.survivors.unanswered,
            self.survivors.doubtful,
            self.recovered,
            self.compared
        );
        // A run in which there was never anything to lose would prove nothing.
        ensure!(
            self.survivors.answered >= self.losses,
            "too little was done"
        );
        Ok(())
    }

    /// Losses have to have fallen inside of operations; of many, so early in a deletion that the
    /// snapshot is still whole.
    pub fn ensure_interrupted(&self, many: bool) -> anyhow::Result<()> {
        ensure!(self.recovered > 0, "nothing half-made was ever found");
        ensure!(
            !many || self.survivors.doubtful > 0,
            "no deletion was caught at its beginning"
        );
        Ok(())
    }
}

/// qemu is killed: what the machine had handed to its disks is there, nothing after it.
pub fn drive(lab: &Lab, scenario: &Scenario) -> anyhow::Result<()> {
    let disks = lab.make_images(scenario)?;
    let mut random = Random::new(lab.seed);
    let mut ledger = Ledger::default();
    let mut tally = Tally::default();
    let losses = lab.count(2, 25).into();
    let mut partner = Partner::new(lab.boot(scenario, &disks)?, lab.patience());
    while tally.losses < losses {
        let ficlone = tally.losses % 2 == 0;
        live_and_die(&mut partner, &mut ledger, &mut random, ficlone)?;
        partner = Partner::new(lab.boot(scenario, &disks)?, lab.patience());
        // Now and then it goes during the recovery of the loss before.
        while random.below(6) == 0 {
            partner.begin_recovery()?;
            std::thread::sleep(Duration::from_millis(random.below(600)));
            partner.machine.kill();
            println!("  killed during recovery");
            partner = Partner::new(lab.boot(scenario, &disks)?, lab.patience());
        }
        let aftermath = partner.check(0)?;
        tally.add(ledger.hold(&aftermath.found)?, &aftermath);
        // The machine has unmounted them.
        disks.iter().try_for_each(FileSystem::check)?;
    }
    partner.command(Command::Clear)?;
    ensure!(partner.hear()? == Word::Done, "not cleared");
    partner.end()?;
    disks.iter().try_for_each(FileSystem::check)?;
    tally.tell()
}

fn live_and_die(
    partner: &mut Partner,
    ledger: &mut Ledger,
    random: &mut Random,
    ficlone: bool,
) -> anyhow::Result<()> {
    partner.command(Command::Work {
        seed: random.number(),
        barrier: false,
        ficlone,
    })?;
    let mut hear = |partner: &mut Partner, wait| -> anyhow::Result<()> {
        if let Some(word) = partner.hear_within(wait)? {
            ledger.note(&word);
            if word.waits() {
                partner.answer(true)?;
            }
        }
        Ok(())
    };
    for _ in 0..20 + random.below(40) {
        hear(partner, Duration::from_secs(60))?;
    }
    let end = Instant::now() + Duration::from_micros(random.below(100_000));
    while Instant::now() < end {
        hear(partner, end.saturating_duration_since(Instant::now()))?;
    }
    for line in partner.machine.cut_off() {
        // What waits was not answered, and so was not begun; the last line may be half a one.
        if let Ok(Some(word)) = Word::read(&line)
            && !word.waits()
        {
            ledger.note(&word);
        }
    }
    Ok(())
}
