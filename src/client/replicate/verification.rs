//! Whether a target holds what a snapshot has.

use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use super::digesting::{Pair, block_for, differing};
use super::endpoints::{Endpoint, Endpoints};
use super::journal::blocking;
use super::progress::Silence;
use super::stop::Stop;
use super::{Cancellation, ReplicateError};
use crate::client::target::Target;
use crate::client::{Client, Comparison, DiskOf};

/// How long a call is made again while the node does not answer.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a comparison of a target with a snapshot's disk has found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verification {
    /// The disk.
    pub disk: String,
    /// What its target is called.
    pub target: String,
    /// Bytes of the disk. A target may hold more: those are not looked at.
    pub size: u64,
    /// Bytes of a block.
    pub block: u64,
    /// Where the blocks begin that differ. None where the target cannot be read, or is smaller than
    /// the disk: see `reason`.
    pub differing: Option<Vec<u64>>,
    /// Why nothing was compared.
    pub reason: Option<String>,
}

impl Verification {
    /// Whether it was compared, and nothing differs.
    #[must_use]
    pub fn is_identical(&self) -> bool {
        self.differing.as_ref().is_some_and(Vec::is_empty)
    }
}

/// Compares targets, by the names of their disks, with a snapshot: block by block, by BLAKE3, one
/// after the other. Nothing is written.
///
/// # Errors
/// [`ReplicateError::Call`] for a snapshot or disk that is gone, [`ReplicateError::Target`] for
/// bytes that cannot be read.
pub async fn verify(
    client: &Client,
    vm: &str,
    snapshot: Uuid,
    targets: &[(String, Arc<dyn Target>)],
) -> Result<Vec<Verification>, ReplicateError> {
    let endpoints = Endpoints {
        all: vec![Arc::new(Endpoint::new(client.clone(), 1))],
        patience: PATIENCE,
        progress: Arc::new(Silence),
        stop: Stop::new(&Cancellation::new()),
    };
    let mut found = Vec::new();
    for (disk, target) in targets {
        found.push(verify_one(&endpoints, vm, snapshot, disk, target).await?);
    }
    Ok(found)
}

async fn verify_one(
    endpoints: &Endpoints,
    vm: &str,
    snapshot: Uuid,
    disk: &str,
    target: &Arc<dyn Target>,
) -> Result<Verification, ReplicateError> {
    let what = format!("look at {disk} of snapshot {snapshot}");
    let size = endpoints
        .ask(&what, |client| {
            let (vm, disk) = (vm.to_owned(), disk.to_owned());
            async move {
                let disk = DiskOf {
                    vm: &vm,
                    snapshot,
                    disk: &disk,
                };
                let all = Comparison::to(None);
                let page = client.ranges(&disk, &all, 0, Some(1)).await?;
                Ok(page.size)
            }
        })
        .await?;
    let room = {
        let target = Arc::clone(target);
        blocking(move || target.size()).await?
    };
    let room = room.map_err(|source| ReplicateError::Target {
        disk: disk.to_owned(),
        target: target.name(),
        offset: None,
        source,
    })?;
    let reason = if !target.readable() {
        Some("it cannot be read".to_owned())
    } else if room < size {
        Some(format!("it has {room} bytes, the disk has {size}"))
    } else {
        None
    };
    let pair = Pair {
        vm: vm.to_owned(),
        snapshot,
        disk: disk.to_owned(),
        size,
        target: Arc::clone(target),
    };
    let found = match reason {
        Some(_) => None,
        None => Some(differing(endpoints, &pair).await?),
    };
    Ok(Verification {
        disk: disk.to_owned(),
        target: target.name(),
        size,
        block: block_for(size),
        differing: found.map(|found| found.offsets()),
        reason,
    })
}
