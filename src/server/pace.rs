//! `compression=auto`: whether to pack what is sent next, judged by what takes the time.
//!
//! The daemon makes a step of a stream while the one before it is on its way. Either the step waits
//! for the link, or the link waits for the step:
//!
//! * The link takes the time: fewer bytes can only help. It goes on packing.
//! * Packing takes the time: a trial without. If the link is fast enough then, that is better, and it
//!   stays so. If not, the two are compared, by bytes of the disk a second, and the better one is
//!   kept for a while that grows with each trial. A trial of packing is lost as soon as it is seen that
//!   packing alone, were the link without limit, is far slower than sending without it has been.
//!
//! Nobody has to know how fast anything is; buffers on the way only delay what is seen, and what is
//! sent before the link first holds it up is not counted for it. Arithmetic only, no clock.

use std::time::Duration;

/// Bytes sent before anything is concluded from them: more than lies in a socket's buffer.
const WINDOW: u64 = 5 << 20;
/// Bytes of the disk in a trial of packing that begins with that buffer full.
const TRIAL: u64 = 16 << 20;
/// And so many where it is lost at once.
const HOPELESS: u64 = 2 << 20;
/// Or so much time.
const LONG: Duration = Duration::from_secs(1);
/// Bytes of the disk that are sent unpacked before packing is tried again, at first: it may gain
/// more from other data. That the link became slower is seen without.
const STALE: u64 = 512 << 20;
/// How much longer the better way is kept after each trial that was lost.
const GROWTH: u64 = 4;
/// Bytes before a lost trial is made again, at most.
const LONGEST: u64 = 16 << 30;

/// What became of one step.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Step {
    /// Bytes of the disk in it.
    pub plain: u64,
    /// Bytes that it has as it is sent.
    pub wire: u64,
    /// Since the step before it was taken.
    pub took: Duration,
    /// Of that, how long it lay finished and nobody took it.
    pub held: Duration,
    /// Of that, how long it was waited for.
    pub missed: Duration,
}

/// See the module.
#[derive(Debug)]
pub struct Pace {
    packs: bool,
    seen: Step,
    /// Bytes of the disk a second, of each way where it was the one that took the time.
    packed_rate: Option<f64>,
    plain_rate: Option<f64>,
    /// Unpacked: the link has held it up since it began.
    held_up: bool,
    /// Bytes of the disk since packing was last measured.
    age: u64,
    /// Wire bytes without being held up, after which packing is what takes the time.
    patience: u64,
    /// Bytes of the disk, unpacked, after which packing is tried again.
    stale: u64,
    /// Packing is on trial.
    on_trial: bool,
}

impl Pace {
    /// Begins with packing: on a slow link the first bytes are the ones that cost.
    #[must_use]
    pub fn new() -> Pace {
        Pace {
            packs: true,
            seen: Step::default(),
            packed_rate: None,
            plain_rate: None,
            held_up: false,
            age: 0,
            patience: WINDOW,
            stale: STALE,
            on_trial: false,
        }
    }

    /// Whether the next step is packed.
    #[must_use]
    pub fn packs(&self) -> bool {
        self.packs
    }

    /// Takes in what became of a step.
    pub fn saw(&mut self, step: Step) {
        if !self.packs && !self.held_up {
            // What a buffer swallows says nothing about the link.
            self.age += step.plain;
            self.held_up = step.held > step.missed;
            return;
        }
        self.seen.plain += step.plain;
        self.seen.wire += step.wire;
        self.seen.took += step.took;
        self.seen.held += step.held;
        self.seen.missed += step.missed;
        if self.packs {
            self.judge_packing();
        } else {
            self.age += step.plain;
            self.judge_plain();
        }
    }

    fn judge_packing(&mut self) {
        let seen = self.seen;
        if self.on_trial && seen.plain >= HOPELESS && self.is_hopeless() {
            self.packed_rate = making_rate(seen);
            self.turn(false);
            return;
        }
        if seen.held >= seen.missed {
            // It may have been the buffer's last free bytes: the link's time counts from here.
            if seen.wire >= WINDOW || seen.took >= LONG {
                self.seen = Step::default();
            }
            return;
        }
        if seen.wire >= self.patience || (self.on_trial && seen.plain >= TRIAL) {
            self.packed_rate = rate(seen);
            self.turn(false);
        }
    }

    /// Packing takes more than twice the time that sending without it has taken.
    fn is_hopeless(&self) -> bool {
        match (making_rate(self.seen), self.plain_rate) {
            (Some(making), Some(plain)) => making * 2.0 < plain,
            _ => false,
        }
    }

    fn judge_plain(&mut self) {
        let seen = self.seen;
        if seen.wire < WINDOW && seen.took < LONG {
            return;
        }
        self.plain_rate = rate(seen);
        let better = match (self.plain_rate, self.packed_rate) {
            (Some(plain), Some(packed)) => plain >= packed,
            _ => true,
        };
        if !better {
            self.patience = (self.patience * GROWTH).min(LONGEST);
            self.turn(true);
        } else if self.age >= self.stale {
            self.stale = (self.stale * GROWTH).min(LONGEST);
            self.patience = WINDOW;
            self.turn(true);
            self.on_trial = true;
        } else {
            self.seen = Step::default();
        }
    }

    fn turn(&mut self, packs: bool) {
        self.packs = packs;
        self.seen = Step::default();
        self.held_up = false;
        self.age = 0;
        self.on_trial = false;
    }
}

/// Bytes of the disk a second.
fn rate(seen: Step) -> Option<f64> {
    over(seen, seen.took)
}

/// The same, had nothing lain finished.
fn making_rate(seen: Step) -> Option<f64> {
    over(seen, seen.took.saturating_sub(seen.held))
}

fn over(seen: Step, time: Duration) -> Option<f64> {
    let seconds = time.as_secs_f64();
    // Far below what a double holds exactly.
    #[allow(clippy::cast_precision_loss)]
    let plain = seen.plain as f64;
    (seconds > 0.0).then_some(plain / seconds)
}

#[cfg(test)]
#[path = "pace_tests.rs"]
mod tests;
