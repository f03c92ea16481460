//! Places at which a test kills the daemon, to see what recovery makes of what is left.
//!
//! Between two of them at most one thing changes that outlives the process. Only builds with debug
//! assertions can be armed; in others passing a point is nothing.

#[cfg(debug_assertions)]
use std::sync::atomic::{AtomicU32, Ordering};

/// The points and their names, in the order of a snapshot's life.
macro_rules! points {
    ($($(#[$doc:meta])* $point:ident $name:literal,)*) => {
        /// A place in the life of a snapshot.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Point {
            $($(#[$doc])* $point,)*
        }

        #[cfg(debug_assertions)]
        impl Point {
            /// All of them.
            pub const ALL: &[Point] = &[$(Point::$point,)*];

            /// How a test calls it.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self {
                    $(Point::$point => $name,)*
                }
            }
        }
    };
}

points! {
    /// A trial clone's source is written.
    ProbeWritten "probe.written",
    /// A trial clone is made.
    ProbeCloned "probe.cloned",
    /// A directory is made and locked under its hidden name.
    DirectoryHidden "directory.hidden",
    /// A manifest is written and not yet in its place.
    ManifestBeside "manifest.beside",
    /// A manifest is in its place.
    ManifestPlaced "manifest.placed",
    /// A directory has its own name.
    DirectoryNamed "directory.named",
    /// A clone's file is there, empty where the file system has it so.
    CreatePrepared "create.prepared",
    /// A disk is cloned.
    CreateCloned "create.cloned",
    /// A clone is sealed.
    CreateSealed "create.sealed",
    /// A repository's manifest says ready.
    CreatePublished "create.published",
    /// A repository's manifest is sealed.
    CreateProtected "create.protected",
    /// A create has failed, and nothing of it is undone yet.
    CreateFailed "create.failed",
    /// A row is written.
    CatalogPut "catalog.put",
    /// A row is removed.
    CatalogForgotten "catalog.forgotten",
    /// A disk is compared.
    CompareDisk "compare.disk",
    /// A manifest can be replaced.
    ManifestUnsealed "manifest.unsealed",
    /// A repository's manifest says what was changed, and is sealed again.
    ChangeWritten "change.written",
    /// A snapshot's term is over, and it is locked.
    ExpireLocked "expire.locked",
    /// Manifest and tombstone can be moved.
    DeleteUnsealed "delete.unsealed",
    /// A repository's manifest says deleting.
    DeleteMarked "delete.marked",
    /// A disk's file can be removed.
    DeleteDiskUnsealed "delete.disk.unsealed",
    /// A disk's file is gone.
    DeleteDiskGone "delete.disk.gone",
    /// A directory has its hidden name again.
    DirectoryHiddenAgain "directory.hidden.again",
    /// The tombstone is gone.
    TombstoneGone "tombstone.gone",
    /// The manifest is gone.
    ManifestGone "manifest.gone",
    /// The directory is gone.
    DirectoryGone "directory.gone",
    /// One of all snapshots of a machine is gone.
    PurgedOne "purge.one",
    /// A folder of the first generation is locked and its owner known, and nothing is done to it yet.
    AdoptLocked "adopt.locked",
    /// A folder has a note.
    AdoptNoted "adopt.noted",
    /// A file of it is sealed.
    AdoptSealed "adopt.sealed",
    /// A repository's folder has its manifest.
    AdoptWritten "adopt.written",
    /// A repository's manifest is sealed.
    AdoptProtected "adopt.protected",
    /// Recovery holds the locks of a snapshot that is half made or half deleted.
    RecoverLocked "recover.locked",
    /// Recovery has removed a snapshot.
    RecoverRemoved "recover.removed",
    /// Recovery has removed a directory that had no name.
    RecoverCleared "recover.cleared",
    /// Recovery holds the locks of a snapshot whose manifests are not as they should be.
    RecoverMending "recover.mending",
}

/// What is to happen at a point: nothing, unless a test says otherwise.
#[derive(Debug, Default)]
pub struct Faults {
    #[cfg(debug_assertions)]
    armed: Option<Armed>,
}

#[cfg(debug_assertions)]
#[derive(Debug)]
struct Armed {
    /// None: every passing is logged, and that is all.
    point: Option<Point>,
    /// Passings until it happens.
    left: AtomicU32,
}

impl Faults {
    /// Kills this process when it passes a point: `create.sealed:2` is the second time, without a
    /// number it is the first. `watch` kills nothing and logs each passing.
    ///
    /// # Errors
    /// In words, where there is no such point.
    #[cfg(debug_assertions)]
    pub fn armed(text: &str) -> Result<Faults, String> {
        let (name, number) = text.split_once(':').unwrap_or((text, "1"));
        let point = Point::ALL
            .iter()
            .copied()
            .find(|point| point.name() == name);
        let left = number.parse().ok().filter(|number| *number > 0);
        match (point, left) {
            (point, Some(left)) if point.is_some() || text == "watch" => Ok(Faults {
                armed: Some(Armed {
                    point,
                    left: AtomicU32::new(left),
                }),
            }),
            _ => Err(format!(
                "{text:?} is not a fault point, such as create.sealed:2"
            )),
        }
    }

    /// Says that the process is here.
    pub(super) fn pass(&self, point: Point) {
        #[cfg(debug_assertions)]
        if let Some(armed) = &self.armed {
            armed.pass(point);
        }
        #[cfg(not(debug_assertions))]
        let _ = point;
    }
}

#[cfg(debug_assertions)]
impl Armed {
    fn pass(&self, point: Point) {
        use nix::sys::signal::{Signal, kill};

        match self.point {
            None => tracing::debug!("passes {}", point.name()),
            Some(armed) if armed == point && self.left.fetch_sub(1, Ordering::Relaxed) == 1 => {
                tracing::error!("killed at {}", point.name());
                let _ = kill(nix::unistd::Pid::this(), Signal::SIGKILL);
                unreachable!("SIGKILL does not return");
            }
            Some(_) => {}
        }
    }
}

#[cfg(all(test, debug_assertions))]
mod tests {
    use super::*;

    #[test]
    fn points_have_one_name_each_and_are_found_by_it() {
        let mut names: Vec<_> = Point::ALL.iter().map(|point| point.name()).collect();
        for name in &names {
            assert!(Faults::armed(name).is_ok() && Faults::armed(&format!("{name}:3")).is_ok());
        }
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Point::ALL.len());
        assert!(Faults::armed("watch").is_ok());
        for wrong in [
            "",
            "create",
            "create.sealed:",
            "create.sealed:0",
            "create.sealed:x",
        ] {
            assert!(Faults::armed(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn other_points_and_earlier_passings_are_survived() {
        let faults = Faults::armed("create.sealed:3").unwrap();
        faults.pass(Point::CreateCloned);
        faults.pass(Point::CreateSealed);
        faults.pass(Point::CreateSealed);
        Faults::default().pass(Point::CreateSealed);
    }
}
