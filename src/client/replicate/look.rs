//! What a volume that cannot be read from here holds: before an increment goes there.
//!
//! Whoever has it makes checksums of some places of it, while it is ours, and the same bytes of the base
//! say what those have to be. Places are the start and the end of the disk, what it holds here and there,
//! and [those](super::places) that were written last, where an older copy differs. After a run
//! that was interrupted, only where base and the snapshot that was being copied have the same.

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::join_all;
use reqwest::StatusCode;
use uuid::Uuid;

use super::disk::Goal;
use super::halt::Halt;
use super::journal::blocking;
use super::places::{Place, believed, ends, head_of, joined, without};
use super::run::Run;
use super::{DiskState, ReplicateError};
use crate::client::{Client, ClientError, Comparison, DiskOf, answer};
use crate::protocol::digest::{Algorithm, BlockDigests};
use crate::protocol::{ChangeKind, RangePage};

/// So many checksums are made at most, and so many at the same time.
const MOST: usize = 48;
const AT_A_TIME: usize = 4;
/// Ranges of a page.
const PAGE: usize = 32;
/// Bytes of a place: all of them together have fewer.
const LARGEST: usize = 64 << 20;

/// What was found.
pub(super) enum Verdict {
    Holds,
    /// The base cannot be read.
    BaseLost(String),
    /// Nobody can tell.
    Unknown(String),
    /// It does not hold the base.
    Other(String),
}

/// Bytes of the base.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Sample {
    offset: u64,
    bytes: Bytes,
}

impl Sample {
    fn place(&self) -> Place {
        Place {
            offset: self.offset,
            length: self.bytes.len() as u64,
        }
    }

    /// A part of it.
    fn of(&self, place: Place) -> Option<Sample> {
        let from = usize::try_from(place.offset.checked_sub(self.offset)?).ok()?;
        let to = from.checked_add(usize::try_from(place.length).ok()?)?;
        (to <= self.bytes.len()).then(|| Sample {
            offset: place.offset,
            bytes: self.bytes.slice(from..to),
        })
    }

    fn is_zero(&self) -> bool {
        self.bytes.iter().all(|byte| *byte == 0)
    }

    fn sha256(&self) -> String {
        let mut digests = BlockDigests::new(Algorithm::Sha256, None);
        digests.take(&self.bytes);
        digests.finish().whole
    }
}

/// A volume that is looked at.
pub(super) struct Look {
    pub(super) run: Arc<Run>,
    pub(super) goal: Goal,
    pub(super) base: Uuid,
    /// What the state says of it.
    pub(super) left: DiskState,
    pub(super) snapshot: Uuid,
    /// An interrupted run has written some of the snapshot.
    pub(super) is_half: bool,
}

impl Look {
    pub(super) async fn verdict(&self) -> Result<Verdict, ReplicateError> {
        let wanted = match self.wanted().await {
            Ok(wanted) => wanted,
            Err(Halt::BaseLost(reason)) => return Ok(Verdict::BaseLost(reason)),
            Err(Halt::Error(error)) => return Err(error),
        };
        let Some(wanted) = wanted else {
            return Ok(self.by_word(
                "an interrupted run may have written to every place of it where it is looked",
            ));
        };
        let mut is_known_to_make_some = false;
        for some in wanted.chunks(AT_A_TIME) {
            let made = join_all(some.iter().map(|sample| self.checksum(sample.place()))).await;
            for (sample, made) in some.iter().zip(made) {
                let told = match made {
                    Ok(told) => told,
                    Err(error) => match error.kind() {
                        io::ErrorKind::Unsupported if !is_known_to_make_some => {
                            return Ok(self.by_word(&error.to_string()));
                        }
                        io::ErrorKind::Unsupported | io::ErrorKind::InvalidData => {
                            return Ok(Verdict::Unknown(error.to_string()));
                        }
                        _ => return Err(self.goal.failed(error)),
                    },
                };
                is_known_to_make_some = true;
                let Some(told) = told else {
                    return Ok(self.by_word("nobody makes checksums of what lies on it"));
                };
                if !told.eq_ignore_ascii_case(&sample.sha256()) {
                    let Place { offset, length } = sample.place();
                    return Ok(Verdict::Other(format!(
                        "{} is not as the last run has left it: of {length} bytes at {offset} it has \
                         others than snapshot {}, so it is another volume, or an older copy was put \
                         back, or somebody has written to it",
                        self.goal.facts.name, self.base
                    )));
                }
            }
        }
        Ok(Verdict::Holds)
    }

    /// Nothing that was seen tells; the caller may have said which volume it is, both times.
    fn by_word(&self, because: &str) -> Verdict {
        let (found, left) = (&self.goal.facts.fingerprint, &self.left.fingerprint);
        let name = &self.goal.facts.name;
        let missing = match (found, left) {
            // The same: another one was found out before.
            (Some(_), Some(_)) => return Verdict::Holds,
            (Some(_), None) => "and in the last run nobody has said which volume it was",
            (None, _) => "and nobody says which volume it is (--volume-id)",
        };
        Verdict::Unknown(format!(
            "nothing tells whether {name} is still the volume that was written to: {because}, {missing}"
        ))
    }

    async fn checksum(&self, place: Place) -> io::Result<Option<String>> {
        let target = Arc::clone(&self.goal.target);
        let range = place.offset..place.end();
        blocking(move || target.sha256(range))
            .await
            .map_err(io::Error::other)?
    }

    /// What the volume has to hold. None where that is nothing that could tell it from another.
    async fn wanted(&self) -> Result<Option<Vec<Sample>>, Halt> {
        let mut all = Vec::new();
        for place in self.places().await? {
            all.push(self.read(place).await?);
        }
        let mut wanted = Vec::new();
        for sample in &all {
            if self.is_half {
                let changed = self.changed(sample.place()).await?;
                let same = without(sample.place(), &changed);
                wanted.extend(same.into_iter().filter_map(|place| sample.of(place)));
            } else {
                wanted.push(sample.clone());
            }
        }
        // An older copy differs where it was written last, and perhaps nowhere else.
        let last: Vec<Place> = believed(&self.left.places).collect();
        let tells_of_age = last.is_empty()
            || wanted.iter().any(|sample| {
                let Place { offset, .. } = sample.place();
                last.iter()
                    .any(|place| offset < place.end() && place.offset < sample.place().end())
            });
        Ok(telling(&all, wanted).filter(|_| tells_of_age))
    }

    fn disk_of(&self, snapshot: Uuid) -> DiskOf<'_> {
        DiskOf {
            vm: &self.run.vm,
            snapshot,
            disk: &self.goal.disk.name,
        }
    }

    /// Where it is looked.
    async fn places(&self) -> Result<Vec<Place>, Halt> {
        let mut size = self.left.size;
        if self.is_half {
            size = size.min(self.goal.disk.size);
        }
        let mut places: Vec<Place> = ends(size).into();
        for number in 0..Place::HERE_AND_THERE {
            let from = size / Place::HERE_AND_THERE * number;
            let page = self.ranges(self.base, None, from, 2).await?;
            let data = page.ranges.iter();
            let mut data = data.filter(|range| range.kind == ChangeKind::Data);
            places.extend(data.next().map(|data| head_of(data.start, data.length)));
        }
        places.extend(believed(&self.left.places));
        Ok(joined(places, size))
    }

    /// What the snapshot that was being copied has otherwise than the base.
    async fn changed(&self, place: Place) -> Result<Vec<Place>, Halt> {
        let mut changed = Vec::new();
        let mut from = place.offset;
        while from < place.end() {
            let page = self
                .ranges(self.snapshot, Some(self.base), from, PAGE)
                .await?;
            changed.extend(page.ranges.iter().map(|range| Place {
                offset: range.start,
                length: range.length,
            }));
            match page.next {
                Some(next) if next > from => from = next,
                _ => break,
            }
        }
        changed.sort_unstable();
        Ok(changed)
    }

    async fn ranges(
        &self,
        snapshot: Uuid,
        base: Option<Uuid>,
        from: u64,
        limit: usize,
    ) -> Result<RangePage, Halt> {
        self.ask("look at", |client| async move {
            let comparison = Comparison::to(base);
            client
                .ranges(&self.disk_of(snapshot), &comparison, from, Some(limit))
                .await
        })
        .await
    }

    async fn read(&self, place: Place) -> Result<Sample, Halt> {
        let bytes = self
            .ask("read", |client| async move {
                let disk = self.disk_of(self.base);
                let Place { offset, length } = place;
                let (vm, snapshot, disk) = (disk.vm, disk.snapshot, disk.disk);
                let answer = client.read(vm, snapshot, disk, offset, length).await?;
                let bytes = answer::bytes(answer, LARGEST).await?;
                if bytes.len() as u64 == length {
                    return Ok(Bytes::from(bytes));
                }
                Err(ClientError::Short {
                    disk: disk.to_owned(),
                    offset,
                    length,
                })
            })
            .await?;
        let mut taker = self.run.rate.taker();
        tokio::select! {
            () = taker.took(bytes.len() as u64) => {}
            () = self.run.stop.stopped() => {}
        }
        Ok(Sample {
            offset: place.offset,
            bytes,
        })
    }

    /// Asks for something of the base.
    async fn ask<T: Send, F>(
        &self,
        deed: &str,
        call: impl Fn(Client) -> F + Send,
    ) -> Result<T, Halt>
    where
        F: Future<Output = Result<T, ClientError>> + Send,
    {
        let endpoints = &self.run.endpoints;
        let disk = self.goal.disk.name.as_str();
        let what = format!("{deed} {disk} of snapshot {}", self.base);
        let error = match endpoints.ask(&what, call).await {
            Ok(answer) => return Ok(answer),
            Err(error) => error,
        };
        let status = error.client_error().and_then(ClientError::status);
        let may_be_the_base = matches!(
            status,
            Some(StatusCode::NOT_FOUND | StatusCode::CONFLICT | StatusCode::BAD_REQUEST)
        );
        if !may_be_the_base {
            return Err(Halt::Error(error));
        }
        // Whoever does not see the machine does not see the snapshot either.
        let size = self.goal.disk.size;
        let what = format!("look at {disk} of snapshot {}", self.snapshot);
        let looked = endpoints.ask(&what, |client| async move {
            let bare = Comparison::to(None);
            client
                .ranges(&self.disk_of(self.snapshot), &bare, size, Some(1))
                .await
        });
        looked.await?;
        Err(Halt::BaseLost(error.to_string()))
    }
}

/// Those of the samples that are compared, if they tell the volume from others: where the base has
/// something anywhere that was looked at, zeros alone do not.
fn telling(all: &[Sample], mut wanted: Vec<Sample>) -> Option<Vec<Sample>> {
    if all.is_empty() {
        // A disk of no bytes.
        return Some(Vec::new());
    }
    wanted.sort_by_key(|sample| (sample.is_zero(), std::cmp::Reverse(sample.bytes.len())));
    wanted.truncate(MOST);
    let held: BTreeSet<bool> = wanted.iter().map(Sample::is_zero).collect();
    let is_blank = all.iter().all(Sample::is_zero);
    let tells = held.contains(&false) || (is_blank && !held.is_empty());
    tells.then_some(wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(offset: u64, bytes: &'static [u8]) -> Sample {
        Sample {
            offset,
            bytes: Bytes::from_static(bytes),
        }
    }

    #[test]
    fn zeros_tell_only_of_a_disk_that_holds_nothing_else() {
        let [some, zeros, more] = [sample(0, b"ab"), sample(2, b"\0\0\0"), sample(9, b"\0x")];
        let all = [zeros.clone(), some.clone(), more.clone()];
        let found = telling(&all, all.to_vec()).unwrap();
        assert_eq!(found, [some.clone(), more, zeros.clone()]);
        assert_eq!(telling(&all, vec![zeros.clone()]), None);
        assert_eq!(telling(&all, vec![some.clone()]), Some(vec![some]));
        let blank = [zeros.clone()];
        assert_eq!(telling(&blank, vec![zeros.clone()]), Some(vec![zeros]));
        assert_eq!(telling(&blank, vec![]), None);
        assert_eq!(telling(&[], vec![]), Some(vec![]));
    }

    #[test]
    fn a_part_of_a_sample_is_of_its_own_place() {
        let whole = sample(10, b"abcdef");
        let part = |offset, length| whole.of(Place { offset, length });
        assert_eq!(part(12, 3), Some(sample(12, b"cde")));
        assert_eq!(part(10, 6), Some(whole.clone()));
        assert_eq!(part(9, 2), None);
        assert_eq!(part(15, 2), None);
    }
}
