//! Warnings that stand for as long as what they are about: logged once, not at every look.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

/// What has been logged and still stands.
#[derive(Debug, Default)]
pub struct WarningLog {
    standing: Mutex<HashSet<String>>,
}

impl WarningLog {
    /// Logs those of `now`, all that is wrong at this moment, that were not there the last time.
    pub fn tell(&self, now: &[String]) {
        let mut standing = self.standing.lock().unwrap_or_else(PoisonError::into_inner);
        for warning in now {
            if !standing.contains(warning) {
                tracing::warn!("{warning}");
            }
        }
        *standing = now.iter().cloned().collect();
    }
}
