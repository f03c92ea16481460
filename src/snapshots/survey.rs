//! What lies on the repositories, read without the index and without a change to anything: for who
//! looks at a node beside its daemon.

use std::collections::BTreeMap;
use std::path::PathBuf;

use uuid::Uuid;

use super::catalog::Copy;
use super::shelf::{Entry, Shelf};
use super::snapshot::{Reach, Snapshot};
use crate::ovm::repository::Repository;

/// All that is there. Folders without manifest are [`Orphans`](super::Orphans)' business.
#[derive(Debug, Default)]
pub struct Survey {
    /// Every snapshot, whatever its standing, by id.
    pub snapshots: Vec<Snapshot>,
    /// Folders whose manifest cannot be read or understood, and shelves that cannot be listed.
    pub unreadable: Vec<(PathBuf, String)>,
    /// Folders that are being made or removed, or were left so by a crash.
    pub unfinished: usize,
}

impl Survey {
    /// Reads every manifest of those repositories that are mounted. Blocks.
    #[must_use]
    pub fn of(repositories: &[Repository]) -> Survey {
        let mut survey = Survey::default();
        let mut copies: BTreeMap<Uuid, Vec<Copy>> = BTreeMap::new();
        for repository in repositories {
            if repository.status().is_none() {
                continue;
            }
            for copy in survey.read(repository) {
                copies.entry(copy.manifest.id).or_default().push(copy);
            }
        }
        let reach = Reach::of(repositories);
        let whole = copies
            .values()
            .filter_map(|copies| Snapshot::assemble(copies, &reach));
        survey.snapshots = whole.collect();
        survey
    }

    fn read(&mut self, repository: &Repository) -> Vec<Copy> {
        let shelf = Shelf::of(&repository.mount_point);
        let entries = match shelf.entries() {
            Ok(entries) => entries,
            Err(error) => {
                self.unreadable
                    .push((shelf.root().to_owned(), error.to_string()));
                return Vec::new();
            }
        };
        let mut copies = Vec::new();
        for entry in entries {
            match entry {
                Entry::Snapshot(id, _) => match shelf.read_manifest(id) {
                    Ok((Ok(manifest), stamp)) => copies.push(Copy {
                        repository: repository.id.clone(),
                        mount_point: repository.mount_point.clone(),
                        stamp,
                        manifest,
                    }),
                    Ok((Err(error), _)) => self
                        .unreadable
                        .push((shelf.directory(id), error.to_string())),
                    // Deleted between the listing and now.
                    Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                    Err(error) => self
                        .unreadable
                        .push((shelf.directory(id), error.to_string())),
                },
                Entry::Unreadable(id, error) => self
                    .unreadable
                    .push((shelf.directory(id), error.to_string())),
                Entry::Unfinished(_) => self.unfinished += 1,
                Entry::Unmatched(_) | Entry::Foreign(_) => {}
            }
        }
        copies
    }
}
