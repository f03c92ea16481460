//! Changing what is said of a snapshot: its label, and when it goes. Its disks never change.

use super::Snapshots;
use super::delete::lock_copies;
use super::error::SnapshotError;
use super::faults::Point;
use super::shelf::Shelf;
use super::snapshot::Snapshot;
use super::turn::Turn;
use super::wish::Change;

impl Snapshots {
    /// Writes a change into every copy of the manifest. Of copies that a crash left different the
    /// first one counts, in the order of repositories, and that is written first.
    ///
    /// # Errors
    /// As [`Snapshots::delete`], and [`SnapshotError::Unknown`].
    pub fn change(
        &self,
        vm_id: &str,
        id: &str,
        change: &Change,
        turn: &Turn,
    ) -> Result<Snapshot, SnapshotError> {
        let _vm = self.locks.lock(vm_id, turn)?;
        let _locks = lock_copies(&self.find(vm_id, id)?.ready()?, turn)?;
        turn.take()?;
        // Whoever held the locks may have changed or deleted it.
        let snapshot = self.find(vm_id, id)?.ready()?;
        let mut manifest = snapshot.manifest.clone();
        if let Some(label) = &change.label {
            manifest.label.clone_from(label);
        }
        if let Some(expires_at) = change.expires_at {
            manifest.expires_at = expires_at;
        }
        for (_, shelf) in snapshot.shelves() {
            let written = shelf.write_manifest(&manifest, &self.faults);
            self.protect_copy(&shelf, &manifest);
            written.map_err(SnapshotError::io(
                "cannot write the manifest in",
                &shelf.directory(manifest.id),
            ))?;
            self.faults.pass(Point::ChangeWritten);
        }
        self.find(vm_id, id)
    }

    /// Seals a manifest as the disks are. It is only a guard against an `rm -rf`: where it cannot be
    /// done, the manifest's warnings say so of the disks already.
    pub(super) fn protect_copy(&self, shelf: &Shelf, manifest: &super::manifest::Manifest) {
        if !self.settings.get().immutable {
            return;
        }
        if let Err(error) = shelf.protect(manifest.id, true) {
            tracing::debug!(snapshot = %manifest.id, "the manifest is not sealed: {error}");
        }
    }
}
