use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

use super::EndpointShare;

/// What was done for a disk so far.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) data: AtomicU64,
    pub(super) zeros: AtomicU64,
    pub(super) zeros_skipped: AtomicU64,
    pub(super) ranges: AtomicU64,
    pub(super) resumed: AtomicU64,
    /// So much of what is to be done is dealt with, bytes of the disk.
    pub(super) covered: AtomicU64,
    shares: Mutex<BTreeMap<String, EndpointShare>>,
}

impl Tally {
    /// A degraded disk begins anew.
    pub(super) fn start_anew(&self) {
        self.covered.store(0, Relaxed);
    }

    fn share(&self, endpoint: &str, change: impl FnOnce(&mut EndpointShare)) {
        let mut shares = self.shares.lock().unwrap_or_else(PoisonError::into_inner);
        change(
            shares
                .entry(endpoint.to_owned())
                .or_insert_with(|| EndpointShare {
                    endpoint: endpoint.to_owned(),
                    covered: 0,
                    received: 0,
                    dropped: None,
                }),
        );
    }

    pub(super) fn came(&self, endpoint: &str, covered: u64, received: u64) {
        self.share(endpoint, |share| {
            share.covered += covered;
            share.received += received;
        });
    }

    pub(super) fn dropped(&self, endpoint: &str, reason: &str) {
        self.share(endpoint, |share| share.dropped = Some(reason.to_owned()));
    }

    pub(super) fn shares(&self) -> Vec<EndpointShare> {
        let shares = self.shares.lock().unwrap_or_else(PoisonError::into_inner);
        shares.values().cloned().collect()
    }
}
