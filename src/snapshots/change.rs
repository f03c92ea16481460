//! Changing what is said of a snapshot: its label, and when it goes. Its disks never change.

use super::Snapshots;
use super::compare::Comparison;
use super::delete::lock_copies;
use super::error::SnapshotError;
use super::faults::Point;
use super::shelf::Shelf;
use super::turn::Turn;
use super::wish::Change;

impl Snapshots {
    /// Writes a change into every copy of the manifest. Of copies that a crash left different the
    /// first one counts, in the order of repositories, and that is written first.
    ///
    /// Gives the changed snapshot, with what is allocated in its disks if `allocated`. That is read
    /// before anything is written: after it, only writing can fail. Without it no disk is opened, so
    /// a snapshot can be changed that cannot be read any more.
    ///
    /// # Errors
    /// As [`Snapshots::delete`], and [`SnapshotError::Unknown`]; those of [`Snapshots::allocated`],
    /// with nothing changed.
    pub fn change(
        &self,
        vm_id: &str,
        id: &str,
        change: &Change,
        allocated: bool,
        turn: &Turn,
    ) -> Result<Comparison, SnapshotError> {
        let _vm = self.locks.lock(vm_id, turn)?;
        let _locks = lock_copies(&self.find(vm_id, id)?.ready()?, turn)?;
        turn.take()?;
        // Whoever held the locks may have changed or deleted it.
        let snapshot = self.find(vm_id, id)?.ready()?;
        let found = if allocated {
            self.allocated(snapshot)?
        } else {
            self.as_written(snapshot)?
        };
        let mut manifest = found.snapshot.manifest.clone();
        if let Some(label) = &change.label {
            manifest.label.clone_from(label);
        }
        if let Some(expires_at) = change.expires_at {
            manifest.expires_at = expires_at;
        }
        for (_, shelf) in found.snapshot.shelves() {
            let written = shelf.write_manifest(&manifest, &self.faults);
            self.protect_copy(&shelf, &manifest);
            written.map_err(SnapshotError::io(
                "cannot write the manifest in",
                &shelf.directory(manifest.id),
            ))?;
            self.faults.pass(Point::ChangeWritten);
        }
        tracing::info!(
            snapshot = %manifest.id,
            vm = manifest.vm_id,
            expires_at = manifest.expires_at.map(tracing::field::display),
            "snapshot changed"
        );
        Ok(Comparison {
            snapshot: found.snapshot.saying(manifest),
            ..found
        })
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
