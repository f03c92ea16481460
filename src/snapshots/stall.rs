//! How long cloning is going to take, judged by what earlier clones took.
//!
//! A clone copies the extent map, so its time goes with the number of extents. How much one costs
//! depends on the file system and the storage below: each repository has its own rate.

use std::collections::HashMap;
use std::time::Duration;

use super::Snapshots;
use super::create::Source;
use super::error::SnapshotError;
use super::manifest::Manifest;
use super::snapshot::Snapshot;
use crate::sys::extent_count;

/// Nanoseconds an extent, where nothing is known of a repository: more than was measured on XFS
/// and btrfs (2 to 20 µs).
const UNKNOWN_RATE: u64 = 25_000;
/// So much longer than expected may a clone take before it is said to hang.
const SEVERAL: u32 = 5;
/// With fewer extents than this, what a clone costs anyway hides what an extent costs.
const FEW: u64 = 100;
/// So many of the latest clones are looked at.
const LATEST: usize = 20;

/// What is known of the time that clones take.
#[derive(Debug, Default)]
pub(super) struct Rates(HashMap<String, u64>);

impl Rates {
    /// The worst of the latest clones in each repository. `manifests` from the newest on.
    pub(super) fn of<'m>(manifests: impl Iterator<Item = &'m Manifest>) -> Rates {
        let mut seen: HashMap<&str, usize> = HashMap::new();
        let mut rates: HashMap<String, u64> = HashMap::new();
        for disk in manifests.flat_map(|manifest| &manifest.disks) {
            if disk.extents <= FEW || disk.identity.is_none() {
                continue;
            }
            let seen = seen.entry(&disk.repository).or_default();
            *seen += 1;
            if *seen <= LATEST {
                let rate = disk.stall_us.saturating_mul(1000) / disk.extents;
                let worst = rates.entry(disk.repository.clone()).or_default();
                *worst = rate.max(*worst);
            }
        }
        Rates(rates)
    }

    /// Longer than it takes, however slow the storage is, as long as it answers: several times what
    /// it took, and what it takes where nothing is known.
    pub(super) fn most(&self, repository: &str, extents: u64) -> Duration {
        let unknown = Duration::from_nanos(UNKNOWN_RATE.saturating_mul(extents));
        let expected = self.time(repository, extents).max(unknown);
        expected.saturating_mul(SEVERAL)
    }

    /// How long it takes to clone so many extents in a repository.
    fn time(&self, repository: &str, extents: u64) -> Duration {
        let rate = self.0.get(repository).copied().unwrap_or(UNKNOWN_RATE);
        Duration::from_nanos(rate.saturating_mul(extents))
    }
}

impl Source<'_> {
    /// How many extents it has. Writes out the guest's dirty pages too, which the clone need not do
    /// then.
    ///
    /// # Errors
    /// The file system's.
    pub(super) fn extents(&self) -> Result<u64, SnapshotError> {
        extent_count::of(&self.file).map_err(SnapshotError::io(
            "cannot count the extents of",
            &self.disk.path,
        ))
    }
}

impl Snapshots {
    /// Refuses what would hold the machine for longer than it may.
    ///
    /// # Errors
    /// [`SnapshotError::TooLong`]; the catalog's.
    pub(super) fn see_that_it_is_short(
        &self,
        vm_id: &str,
        sources: &[Source<'_>],
        extents: &[u64],
    ) -> Result<(), SnapshotError> {
        let known = self.all(None)?;
        let mut manifests: Vec<&Manifest> = known.iter().map(|one| &one.manifest).collect();
        manifests.sort_by_key(|manifest| std::cmp::Reverse(manifest.created_at));
        let rates = Rates::of(manifests.into_iter());
        let mut expected = Duration::ZERO;
        for (source, extents) in sources.iter().zip(extents) {
            let time = rates.time(&source.disk.repository.id, *extents);
            expected = expected.saturating_add(time);
        }
        let max_pause = self.settings.get().max_pause;
        if expected > max_pause {
            return Err(SnapshotError::TooLong {
                vm_id: vm_id.to_owned(),
                extents: extents.iter().sum(),
                expected,
                max_pause,
            });
        }
        Ok(())
    }
}

/// How long clones are expected to take.
#[derive(Debug, Clone)]
pub struct Stalls {
    /// Of each disk of the snapshot, in its order.
    pub expected: Vec<Duration>,
    /// How that is known, in words for people.
    pub source: String,
}

impl Snapshots {
    /// How long the next clone of each disk of a snapshot is expected to hold that disk.
    ///
    /// # Errors
    /// The catalog's.
    pub fn expected_stalls(&self, snapshot: &Snapshot) -> Result<Stalls, SnapshotError> {
        let known = self.all(None)?;
        let rates = Rates::of(known.iter().rev().map(|one| &one.manifest));
        let disks = &snapshot.manifest.disks;
        let measured = disks
            .iter()
            .filter(|it| rates.0.contains_key(&it.repository));
        let unknown = UNKNOWN_RATE / 1000;
        let source = match measured.count() {
            count if count == disks.len() => {
                "the slowest of the latest clones on the same repositories".to_owned()
            }
            0 => format!(
                "nothing was measured on these repositories yet: {unknown} microseconds an extent, \
                 more than XFS and btrfs took (2 to 20)"
            ),
            _ => format!(
                "the slowest of the latest clones on the same repository; where there are none, \
                 {unknown} microseconds an extent"
            ),
        };
        Ok(Stalls {
            expected: disks
                .iter()
                .map(|disk| rates.time(&disk.repository, disk.extents))
                .collect(),
            source,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(repository: &str, measured: &[(u64, u64)]) -> Manifest {
        let disks: Vec<serde_json::Value> = measured
            .iter()
            .enumerate()
            .map(|(at, (extents, stall_us))| {
                serde_json::json!({
                    "name": format!("{at}.img"), "parent_path": "/r/a.img",
                    "repository": repository, "size": 1, "extents": extents,
                    "stall_us": stall_us, "sealed": true,
                    "identity": {"file_system": uuid::Uuid::nil(), "handle": "1",
                                 "size": 1, "modified": "1.0"},
                })
            })
            .collect();
        let id = uuid::Uuid::nil();
        let json = serde_json::json!({
            "version": 1, "id": id, "vm_id": "v", "created_at": "2026-01-01T00:00:00Z",
            "state": "ready", "node": "n", "disks": disks,
            "repositories": [{"repository": repository, "mount_point": "/r"}],
        });
        Manifest::parse(json.to_string().as_bytes(), id).unwrap()
    }

    #[test]
    fn the_worst_of_the_latest_counts_for_each_repository() {
        let mut manifests = vec![
            manifest("one", &[(1000, 2000), (1000, 5000)]),
            manifest("two", &[(100, 1_000_000), (200, 200)]),
        ];
        manifests.extend((0..20).map(|_| manifest("one", &[(1000, 3000)])));
        // Too long ago.
        manifests.push(manifest("one", &[(1000, 900_000)]));
        let rates = Rates::of(manifests.iter());
        assert_eq!(rates.time("one", 10_000), Duration::from_millis(50));
        assert_eq!(rates.time("two", 10_000), Duration::from_millis(10));
        assert_eq!(rates.time("three", 10_000), Duration::from_millis(250));
        assert_eq!(rates.time("one", 0), Duration::ZERO);
        // Faster than is known of others, and slower.
        assert_eq!(rates.most("one", 10_000), Duration::from_millis(1250));
        let slow = Rates::of([manifest("one", &[(1000, 100_000)])].iter());
        assert_eq!(slow.most("one", 10_000), Duration::from_secs(5));
        assert!(rates.time("three", u64::MAX) > Duration::from_secs(1 << 30));
    }
}
