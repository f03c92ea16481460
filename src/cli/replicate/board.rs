//! The progress of all disks of a run.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use indicatif::{MultiProgress, ProgressDrawTarget};

use crate::cli::progress::Progress;
use crate::cli::say;
use crate::client::replicate::{self, Event};

/// Bars or lines of the disks that are under way.
pub struct Board {
    quiet: bool,
    bars: MultiProgress,
    disks: Mutex<BTreeMap<String, Progress>>,
}

impl Board {
    pub fn new(quiet: bool) -> Board {
        Board {
            quiet,
            bars: MultiProgress::with_draw_target(ProgressDrawTarget::stderr()),
            disks: Mutex::default(),
        }
    }

    /// A line that the bars make room for.
    fn tell(&self, text: &str) {
        self.bars.suspend(|| say(text));
    }
}

impl replicate::Progress for Board {
    fn on(&self, event: &Event<'_>) {
        let mut disks = self.disks.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            Event::DiskStarted { disk, size, .. } => {
                let mut progress = Progress::among(&self.bars, disk, self.quiet);
                progress.total(*size);
                disks.insert((*disk).to_owned(), progress);
            }
            Event::DiskAdvanced {
                disk,
                done,
                of,
                written,
            } => {
                if let Some(progress) = disks.get_mut(*disk) {
                    progress.total(*of);
                    progress.received(*written);
                    progress.reached(*done);
                }
            }
            Event::DiskDigested { disk, is_check } => {
                let what = if *is_check { "read back" } else { "compared" };
                if !self.quiet {
                    self.tell(&format!("{disk}: {what} by digests"));
                }
            }
            Event::DiskFinished { disk, .. } => {
                if let Some(progress) = disks.remove(*disk) {
                    progress.end();
                }
            }
            Event::Retrying {
                endpoint,
                error,
                after,
            } => {
                let seconds = after.as_secs_f64();
                self.tell(&format!(
                    "ovm-exporter: {endpoint}: {error}; again in {seconds:.1} s"
                ));
            }
            Event::EndpointDropped { endpoint, reason } => {
                self.tell(&format!(
                    "ovm-exporter: {endpoint} gets no more work: {reason}"
                ));
            }
            Event::SnapshotTaken {
                snapshot,
                is_leftover: true,
            } if !self.quiet => {
                self.tell(&format!(
                    "going on with snapshot {snapshot} of an earlier run"
                ));
            }
            _ => {}
        }
    }
}
