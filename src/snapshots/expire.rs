//! Snapshots that have a term go when it is over, whichever node of the pool sees it first.

use jiff::Timestamp;
use uuid::Uuid;

use super::Snapshots;
use super::delete::{finish, lock_copies};
use super::error::SnapshotError;
use super::faults::Point;
use super::manifest::Manifest;
use super::snapshot::Snapshot;

impl Snapshots {
    /// Deletes those whose term is over, and gives their ids. One that cannot be deleted now is logged and
    /// tried again next time.
    pub(super) fn expire_those(&self, snapshots: &[Snapshot]) -> Vec<Uuid> {
        let mut expired = Vec::new();
        for snapshot in snapshots.iter().filter(|one| is_over(&one.manifest)) {
            match self.expire_one(snapshot) {
                Ok(true) => expired.push(snapshot.id()),
                Ok(false) => {}
                Err(error) => {
                    tracing::warn!("expired snapshot {} stays: {error}", snapshot.id());
                }
            }
        }
        expired
    }

    /// False where its term has been extended, or somebody has deleted it meanwhile.
    fn expire_one(&self, snapshot: &Snapshot) -> Result<bool, SnapshotError> {
        let turn = self.turn();
        let vm_id = &snapshot.manifest.vm_id;
        let _vm = self.locks.lock(vm_id, &turn)?;
        let _locks = lock_copies(snapshot, &turn)?;
        let id = snapshot.id().to_string();
        let snapshot = match self.find(vm_id, &id) {
            Err(SnapshotError::Unknown { .. }) => return Ok(false),
            other => other?,
        };
        if !is_over(&snapshot.manifest) {
            return Ok(false);
        }
        self.faults.pass(Point::ExpireLocked);
        finish(&snapshot, &self.faults).map(|()| true)
    }
}

fn is_over(manifest: &Manifest) -> bool {
    manifest
        .expires_at
        .is_some_and(|expires_at| expires_at <= Timestamp::now())
}
