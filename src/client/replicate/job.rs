use std::io;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use uuid::Uuid;

use super::places::{Place, Samples};
use super::progress::Progress;
use super::rate::Rate;
use super::stop::Stop;
use super::tally::Tally;
use crate::client::target::{Target, why_it_does_not_hold};
use crate::client::{Comparison, DiskOf};
use crate::protocol::Refine;
use crate::protocol::delta::{Compression, StreamHeader};

/// One disk that is copied: what all of its streams share.
pub(super) struct Job {
    pub(super) vm: String,
    pub(super) snapshot: Uuid,
    pub(super) disk: String,
    pub(super) size: u64,
    /// What the target holds; None to copy without a base.
    pub(super) base: Option<Uuid>,
    pub(super) refine: Refine,
    pub(super) compression: Compression,
    pub(super) target: Arc<dyn Target>,
    pub(super) skip_zeros: bool,
    pub(super) progress: Arc<dyn Progress>,
    /// Bytes of the disk that are to be dealt with.
    pub(super) of: AtomicU64,
    pub(super) tally: Arc<Tally>,
    pub(super) stop: Stop,
    pub(super) rate: Arc<Rate>,
    /// Held while anything may still write: whoever has the state has the targets.
    pub(super) _store: Arc<dyn super::StateStore>,
    /// What the first header said: what the streams are relative to. One disk is not made of both.
    pub(super) agreed: OnceLock<Option<Uuid>>,
    /// What the headers said of how changes are found.
    pub(super) told: Mutex<Told>,
    /// Some of what was written, where the target cannot be known by anything else.
    pub(super) samples: Option<Mutex<Samples>>,
}

/// What headers say for people.
#[derive(Debug, Clone, Default)]
pub(super) struct Told {
    pub(super) method: String,
    pub(super) reason: Option<String>,
}

impl Job {
    pub(super) fn disk_of(&self) -> DiskOf<'_> {
        DiskOf {
            vm: &self.vm,
            snapshot: self.snapshot,
            disk: &self.disk,
        }
    }

    pub(super) fn comparison(&self) -> Comparison {
        Comparison {
            refine: self.refine,
            ..Comparison::to(self.base)
        }
    }

    /// Whether a stream is of what was asked for.
    ///
    /// # Errors
    /// With what it is of instead.
    pub(super) fn check(&self, header: &StreamHeader) -> Result<(), String> {
        let asked = (self.snapshot, self.disk.as_str(), self.size);
        let answered = (header.snapshot, header.disk.as_str(), header.size);
        if asked != answered {
            return Err(format!(
                "its header says {} {:?} of {} bytes; {} {:?} of {} bytes was asked for",
                answered.0, answered.1, answered.2, asked.0, asked.1, asked.2
            ));
        }
        // All of the disk is right over any bytes; what changed since another base is not.
        if header.base.is_some() && header.base != self.base {
            return Err(format!(
                "its header says that it is relative to {:?}; {:?} was asked for",
                header.base, self.base
            ));
        }
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        // By content as soon as any stretch was.
        if told.method != "content" {
            told.method.clone_from(&header.method);
        }
        if header.reason.is_some() {
            told.reason.clone_from(&header.reason);
        }
        Ok(())
    }

    /// Why the target does not hold what is relied on, if that is what the error says.
    pub(super) fn does_not_hold(&self, error: &io::Error) -> Option<String> {
        let relies = self.base.is_some() || self.skip_zeros;
        why_it_does_not_hold(error).filter(|_| relies)
    }

    /// Whether a stream is relative to what all the others are.
    pub(super) fn agrees(&self, header: &StreamHeader) -> bool {
        *self.agreed.get_or_init(|| header.base) == header.base
    }

    pub(super) fn told(&self) -> Told {
        let told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.clone()
    }

    /// These bytes were written.
    pub(super) fn wrote(&self, offset: u64, bytes: &[u8]) {
        if let Some(samples) = &self.samples {
            let mut samples = samples.lock().unwrap_or_else(PoisonError::into_inner);
            samples.wrote(offset, bytes);
        }
    }

    /// What the base had there was made zeros.
    pub(super) fn zeroed(&self, offset: u64, length: u64) {
        if let Some(samples) = self.samples.as_ref().filter(|_| self.base.is_some()) {
            let mut samples = samples.lock().unwrap_or_else(PoisonError::into_inner);
            samples.zeroed(offset, length);
        }
    }

    /// Where it is to be looked before the next run, with `older` of the runs before.
    pub(super) fn places(&self, older: &[Place]) -> Vec<Place> {
        let Some(samples) = &self.samples else {
            return Vec::new();
        };
        let samples = samples.lock().unwrap_or_else(PoisonError::into_inner);
        samples.remembered(older, self.size)
    }

    pub(super) fn set_goal(&self, bytes: u64) {
        self.of.store(bytes, Relaxed);
    }
}
