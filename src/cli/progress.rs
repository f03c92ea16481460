//! How far something long has come: a bar on a terminal, else a line now and then. On standard
//! error.

use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::output::harmless;
use super::{say, size};

/// A line at least that often,
const OFTEN: Duration = Duration::from_secs(10);
/// or when so many percent were gained,
const STEP: u64 = 10;
/// but not more often than that.
const SELDOM: Duration = Duration::from_secs(1);

/// The progress of one disk.
pub struct Progress {
    label: String,
    begun: Instant,
    total: u64,
    reached: u64,
    received: u64,
    shape: Shape,
}

enum Shape {
    Silent,
    Bar(ProgressBar),
    Lines { said: Instant, percent: u64 },
}

impl Progress {
    pub fn new(label: &str, quiet: bool) -> Progress {
        let bars = MultiProgress::with_draw_target(ProgressDrawTarget::stderr());
        Progress::among(&bars, label, quiet)
    }

    /// One of several.
    pub fn among(bars: &MultiProgress, label: &str, quiet: bool) -> Progress {
        let begun = Instant::now();
        let shape = if quiet {
            Shape::Silent
        } else if std::io::stderr().is_terminal() {
            Shape::Bar(bars.add(bar(&harmless(label))))
        } else {
            Shape::Lines {
                said: begun,
                percent: 0,
            }
        };
        Progress {
            label: label.to_owned(),
            begun,
            total: 0,
            reached: 0,
            received: 0,
            shape,
        }
    }

    /// Bytes of the whole.
    pub fn total(&mut self, total: u64) {
        self.total = total;
        if let Shape::Bar(bar) = &self.shape {
            bar.set_length(total);
        }
    }

    /// So many bytes came up to now.
    pub fn received(&mut self, bytes: u64) {
        self.received = bytes;
    }

    /// All before this offset is done.
    pub fn reached(&mut self, offset: u64) {
        self.reached = offset;
        let pace = self.pace();
        match &mut self.shape {
            Shape::Silent => {}
            Shape::Bar(bar) => {
                bar.set_position(offset);
                bar.set_message(pace.rate_and_rest());
            }
            Shape::Lines { said, percent } => {
                let (since, now) = (said.elapsed(), pace.percent());
                if since >= OFTEN || (since >= SELDOM && now >= *percent + STEP) {
                    say(&format!("{}: {now} % {}", self.label, pace.rate_and_rest()));
                    (*said, *percent) = (Instant::now(), now);
                }
            }
        }
    }

    /// Takes the bar away. Gives how long all of it took.
    pub fn end(self) -> Duration {
        self.begun.elapsed()
    }

    fn pace(&self) -> Pace {
        Pace {
            total: self.total,
            reached: self.reached,
            received: self.received,
            elapsed: self.begun.elapsed(),
        }
    }
}

/// Where something failed too: the error gets a line of its own.
impl Drop for Progress {
    fn drop(&mut self) {
        if let Shape::Bar(bar) = &self.shape {
            bar.finish_and_clear();
        }
    }
}

fn bar(label: &str) -> ProgressBar {
    let bar = ProgressBar::new(0);
    let style = ProgressStyle::with_template("{prefix} [{bar:30}] {percent:>3} % {msg}");
    bar.with_style(
        style
            .unwrap_or_else(|_| ProgressStyle::default_bar())
            .progress_chars("#> "),
    )
    .with_prefix(label.to_owned())
}

/// Numbers of one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Pace {
    total: u64,
    reached: u64,
    received: u64,
    elapsed: Duration,
}

impl Pace {
    fn percent(self) -> u64 {
        let share = u128::from(self.reached) * 100 / u128::from(self.total.max(1));
        u64::try_from(share).unwrap_or(100).min(100)
    }

    /// Bytes in a second.
    fn rate(self) -> u64 {
        let milliseconds = self.elapsed.as_millis().max(1);
        u64::try_from(u128::from(self.received) * 1000 / milliseconds).unwrap_or(u64::MAX)
    }

    /// As if the rest went on as fast.
    fn left(self) -> Option<Duration> {
        let rest = u128::from(self.total.saturating_sub(self.reached));
        let milliseconds = (self.elapsed.as_millis() * rest).checked_div(self.reached.into())?;
        u64::try_from(milliseconds).ok().map(Duration::from_millis)
    }

    fn rate_and_rest(self) -> String {
        let mut text = String::new();
        if self.received > 0 {
            let (received, rate) = (size::text(self.received), size::text(self.rate()));
            text = format!("{received}, {rate}/s, ");
        }
        match self.left() {
            Some(left) => text + &clock(left) + " left",
            None => text + "beginning",
        }
    }
}

/// `3:07`, `1:00:09`.
pub fn clock(time: Duration) -> String {
    let seconds = time.as_secs();
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    if hours > 0 {
        format!("{hours}:{minutes:02}:{seconds:02}")
    } else {
        format!("{minutes}:{seconds:02}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_takes_as_long_as_what_was_done() {
        let pace = Pace {
            total: 400 << 20,
            reached: 100 << 20,
            received: 50 << 20,
            elapsed: Duration::from_secs(25),
        };
        assert_eq!(pace.percent(), 25);
        assert_eq!(pace.rate_and_rest(), "50.0 MiB, 2.0 MiB/s, 1:15 left");
    }

    #[test]
    fn nothing_is_divided_by_nothing() {
        let pace = Pace {
            total: 0,
            reached: 0,
            received: 0,
            elapsed: Duration::ZERO,
        };
        assert_eq!((pace.percent(), pace.rate()), (0, 0));
        assert_eq!(pace.rate_and_rest(), "beginning");
        assert_eq!(clock(Duration::from_secs(3609)), "1:00:09");
    }
}
