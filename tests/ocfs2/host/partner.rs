//! A machine that does as it is told and says what it is answered (`guest::power`).

use std::time::Duration;

use anyhow::{Context as _, bail, ensure};

use super::machine::Machine;
use crate::wire::{Command, Word};

pub struct Partner {
    pub machine: Machine,
    patience: Duration,
}

/// What was there after a loss of power.
#[derive(Debug, Default)]
pub struct Aftermath {
    /// Nothing but [`Word::Found`].
    pub found: Vec<Word>,
    /// Directories that recovery had to do something with.
    pub recovered: usize,
    pub compared: u64,
}

impl Partner {
    pub fn new(machine: Machine, patience: Duration) -> Partner {
        Partner { machine, patience }
    }

    /// Gives a command, once the machine waits for one.
    pub fn command(&mut self, command: Command) -> anyhow::Result<()> {
        let word = self.hear()?;
        ensure!(word == Word::Next, "{command:?} was to follow, not {word}");
        self.machine.say(&serde_json::to_string(&command)?)
    }

    /// Lets it go on, or has it stop.
    pub fn answer(&mut self, go: bool) -> anyhow::Result<()> {
        self.machine.say(if go { "go" } else { "stop" })
    }

    pub fn hear(&mut self) -> anyhow::Result<Word> {
        self.hear_within(self.patience)?
            .context("the machine has gone silent")
    }

    /// None where it says nothing for so long.
    pub fn hear_within(&mut self, wait: Duration) -> anyhow::Result<Option<Word>> {
        loop {
            match self.machine.try_next_line(wait)? {
                None => return Ok(None),
                Some(line) => {
                    if let Some(word) = Word::read(&line)? {
                        return Ok(Some(word));
                    }
                }
            }
        }
    }

    /// Has it begin to recover what lies on its disks, and gives up on hearing how that ends. OCFS2's
    /// own recovery is over then: killed in that, OCFS2 loses clusters of its own accord.
    pub fn begin_recovery(&mut self) -> anyhow::Result<()> {
        self.command(Command::Settle)?;
        self.expect(&Word::Done)?;
        self.command(Command::Check(0))?;
        self.expect(&Word::Mounted)
    }

    fn expect(&mut self, expected: &Word) -> anyhow::Result<()> {
        let word = self.hear()?;
        ensure!(word == *expected, "{expected} was to come, not {word}");
        Ok(())
    }

    /// Has it recover what lies on its disks from `first` on.
    pub fn check(&mut self, first: usize) -> anyhow::Result<Aftermath> {
        self.command(Command::Check(first))?;
        let mut aftermath = Aftermath::default();
        loop {
            match self.hear()? {
                Word::Mounted => {}
                Word::Recovered(count) => aftermath.recovered = count,
                Word::Compared(count) => aftermath.compared = count,
                Word::Done => return Ok(aftermath),
                found @ Word::Found { .. } => aftermath.found.push(found),
                other => bail!("{other} is no part of a check"),
            }
        }
    }

    /// Has it end, well.
    pub fn end(mut self) -> anyhow::Result<()> {
        self.command(Command::End)?;
        self.machine.finish(self.patience)
    }
}
