//! Who may change what: one change at a time for each virtual machine, and for each snapshot
//! directory across the nodes of a pool.

use std::collections::HashSet;
use std::path::Path;
use std::sync::{Condvar, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use super::error::SnapshotError;
use super::shelf::open_directory;
use super::turn::Turn;
use crate::sys::flock::Flock;

/// The virtual machines that this process is changing snapshots of.
#[derive(Debug, Default)]
pub struct VmLocks {
    held: Mutex<HashSet<String>>,
    released: Condvar,
}

/// Held while one VM's snapshots change.
#[derive(Debug)]
pub struct VmLock<'l> {
    locks: &'l VmLocks,
    vm_id: String,
}

impl VmLocks {
    /// Takes the lock of a VM, waiting as long as `turn` allows. Blocks the thread.
    ///
    /// # Errors
    /// [`SnapshotError::Busy`].
    pub fn lock(&self, vm_id: &str, turn: &Turn) -> Result<VmLock<'_>, SnapshotError> {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut held, timeout) = self
            .released
            .wait_timeout_while(held, turn.left(), |held| held.contains(vm_id))
            .unwrap_or_else(PoisonError::into_inner);
        if timeout.timed_out() && held.contains(vm_id) {
            return Err(SnapshotError::Busy {
                what: format!("VM {vm_id}"),
                seconds: turn.patience().as_secs(),
            });
        }
        held.insert(vm_id.to_owned());
        Ok(VmLock {
            locks: self,
            vm_id: vm_id.to_owned(),
        })
    }
}

impl Drop for VmLock<'_> {
    fn drop(&mut self) {
        self.locks
            .held
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&self.vm_id);
        self.locks.released.notify_all();
    }
}

/// Takes the lock of a snapshot's directory, which other nodes honour too. Where a node of the pool
/// has died, even one attempt can hang until it is evicted: that is what [`Turn::at_lock`] is for.
///
/// # Errors
/// [`SnapshotError::Busy`] where `turn` is over; the file system's (NotFound when somebody has
/// deleted the snapshot).
pub fn lock_directory(directory: &Path, turn: &Turn) -> Result<Flock, SnapshotError> {
    loop {
        let attempt = || {
            let file =
                open_directory(directory).map_err(SnapshotError::io("cannot open", directory))?;
            Flock::try_exclusive(file).map_err(SnapshotError::io("cannot lock", directory))
        };
        if let Some(lock) = turn.at_lock(attempt)? {
            return Ok(lock);
        }
        if turn.left().is_zero() {
            return Err(SnapshotError::Busy {
                what: format!("{}", directory.display()),
                seconds: turn.patience().as_secs(),
            });
        }
        // flock(2) has no timeout; the holder's work takes milliseconds to seconds.
        thread::sleep(Duration::from_millis(10));
    }
}
