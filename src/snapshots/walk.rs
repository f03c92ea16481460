//! Going over one disk from an offset on, in stretches, with flat memory: over what changed since
//! a base, or over all of it.
//!
//! 1. Both files are open and are what was sealed.
//! 2. A page of both maps is read and swept, then read again, unless nothing can have moved either
//!    (`stillness`). If one has moved in between, the page is read anew; maps that keep moving are not
//!    trusted there, and bytes are compared.
//! 3. Where the maps name too much (opaque extents, or a file system that copies in large units)
//!    the bytes of both snapshots decide.
//!
//! No map is ever stored: a map that was true when it was written may be wrong now. What a page
//! says stays true: bytes do not change, only their places do.

use std::collections::VecDeque;
use std::io;
use std::path::PathBuf;

use uuid::Uuid;

use super::buffers::BufferPool;
use super::compare::Method;
use super::content::{self, Buffers, Sides};
use super::error::SnapshotError;
use super::manifest::Disk;
use super::map_turns::{MapTurn, MapTurns};
use super::snapshot::Snapshot;
use super::stillness;
use crate::extents::{Page, PageLimit, Range, RangeKind, Segment, Segments, verified};
use crate::protocol::Refine;
use crate::sys::attributes;
use crate::sys::fiemap::ExtentReader;
use crate::sys::file_system::{self, Kind};
use crate::sys::uncached::UncachedFile;

/// How often a page of moving maps is read again before bytes are compared.
const ATTEMPTS: usize = 4;
/// After so many changes a page ends. Each begins with a query of its own and reads somewhat past its
/// end: it has to be many times longer than such a batch.
const CHANGES: usize = 16_384;
/// After so many pieces, changed or not.
const PIECES: usize = 65_536;
/// About so many ranges come out of one step.
const RANGES: usize = 16_384;
/// Bytes compared in one step: then whoever asked may have gone.
const COMPARED: u64 = 64 << 20;

/// A walk over one disk.
#[derive(Debug)]
pub struct Walk {
    snapshot: Uuid,
    disk: Disk,
    /// For errors.
    path: PathBuf,
    now: UncachedFile,
    base: Option<Base>,
    refine: Refine,
    map_turn: MapTurn,
    /// Everything before has been handed out.
    position: u64,
    /// What begins here or later is not asked for.
    end: u64,
    /// How far the maps have been read.
    mapped: u64,
    /// What that gave and was not handed out yet.
    pending: VecDeque<Pending>,
    /// Where memory comes from, for each step that compares bytes anew.
    pool: BufferPool,
    method: Method,
    reason: Option<String>,
    by_content: u64,
}

#[derive(Debug)]
struct Base {
    id: Uuid,
    file: UncachedFile,
    /// The maps of the two files say nothing about each other.
    incomparable: bool,
}

#[derive(Debug)]
struct Pending {
    range: Range,
    /// The bytes decide.
    look: bool,
}

/// What a step has found: of everything up to `reached`, these ranges are to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stretch {
    /// Sorted, not overlapping. With a base: what changed. Without one: they tile the stretch.
    pub ranges: Vec<Range>,
    /// Where the stretch ends, and the next one begins.
    pub reached: u64,
}

impl Walk {
    /// Over all of a disk. `reason`: why, where a base was asked for.
    pub(super) fn whole(
        snapshot: &Snapshot,
        disk: &Disk,
        from: u64,
        reason: Option<String>,
    ) -> Result<Walk, SnapshotError> {
        Walk::begin(snapshot, disk, from, reason)
    }

    /// Over what changed since `base`, whose disk is open already.
    pub(super) fn since(
        snapshot: &Snapshot,
        disk: &Disk,
        base: Uuid,
        before: UncachedFile,
        refine: Refine,
        from: u64,
    ) -> Result<Walk, SnapshotError> {
        let mut walk = Walk::begin(snapshot, disk, from, None)?;
        let comparable = comparable(&before, &walk.now);
        if let Err(reason) = &comparable {
            walk.method = Method::Content;
            walk.reason = Some(reason.clone());
        }
        walk.base = Some(Base {
            id: base,
            file: before,
            incomparable: comparable.is_err(),
        });
        walk.refine = match refine {
            // OCFS2 copies a megabyte for a block written.
            Refine::Auto if is_ocfs2(&walk.now) => Refine::Blocks,
            other => other,
        };
        Ok(walk)
    }

    fn begin(
        snapshot: &Snapshot,
        disk: &Disk,
        from: u64,
        reason: Option<String>,
    ) -> Result<Walk, SnapshotError> {
        Ok(Walk {
            snapshot: snapshot.id(),
            disk: disk.clone(),
            path: snapshot.path(disk).unwrap_or_default(),
            now: snapshot.open(disk)?,
            base: None,
            refine: Refine::None,
            map_turn: MapTurn::default(),
            position: from,
            end: disk.size,
            mapped: from,
            pending: VecDeque::new(),
            pool: BufferPool::default(),
            method: Method::Extents,
            reason,
            by_content: 0,
        })
    }

    /// The same up to this offset, at most the disk's size.
    pub(super) fn ending_at(self, end: u64) -> Walk {
        Walk {
            end: end.min(self.end),
            ..self
        }
    }

    /// The same, which waits for its turn before it reads maps.
    pub(super) fn in_turn(self, turns: &MapTurns) -> Walk {
        let map_turn = turns.of(&self.now);
        Walk { map_turn, ..self }
    }

    /// The same, which compares bytes in memory of this pool.
    pub(super) fn in_memory_of(self, pool: &BufferPool) -> Walk {
        let pool = pool.clone();
        Walk { pool, ..self }
    }

    /// Where it ends.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.end
    }

    /// Where it ends, if before the disk's end.
    #[must_use]
    pub fn ends_early(&self) -> Option<u64> {
        (self.end < self.disk.size).then_some(self.end)
    }

    /// The snapshot.
    #[must_use]
    pub fn snapshot(&self) -> Uuid {
        self.snapshot
    }

    /// The disk.
    #[must_use]
    pub fn disk(&self) -> &Disk {
        &self.disk
    }

    /// The disk's file.
    #[must_use]
    pub fn file(&self) -> &UncachedFile {
        &self.now
    }

    /// Where that is.
    #[must_use]
    pub fn path(&self) -> &PathBuf {
        &self.path
    }

    /// What the ranges are relative to; None where they are all of the disk.
    #[must_use]
    pub fn base(&self) -> Option<Uuid> {
        self.base.as_ref().map(|base| base.id)
    }

    /// How changes were found so far: by content as soon as any stretch was.
    #[must_use]
    pub fn method(&self) -> Method {
        self.method
    }

    /// Why by content, or why all of the disk.
    #[must_use]
    pub fn reason(&self) -> Option<&str> {
        self.reason.as_deref()
    }

    /// Bytes of the disk that were compared by content because no map could be trusted.
    #[must_use]
    pub fn by_content(&self) -> u64 {
        self.by_content
    }

    /// Everything before this offset has been handed out.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.position
    }

    /// The next stretch; None at the end. Bounded in memory and, as far as the file
    /// system answers, in time.
    ///
    /// # Errors
    /// [`SnapshotError::Io`].
    pub fn step(&mut self) -> Result<Option<Stretch>, SnapshotError> {
        if self.position >= self.end {
            return Ok(None);
        }
        if self.pending.is_empty() {
            self.read_page().map_err(SnapshotError::io(
                "cannot read the extent map of",
                &self.path,
            ))?;
            self.cut();
        }
        let ranges = self
            .resolve()
            .map_err(SnapshotError::io("cannot compare the bytes of", &self.path))?;
        self.position = self
            .pending
            .front()
            .map_or(self.mapped, |next| next.range.start);
        Ok(Some(Stretch {
            ranges,
            reached: self.position,
        }))
    }

    /// Takes away what lies behind the end.
    fn cut(&mut self) {
        self.mapped = self.mapped.min(self.end);
        while let Some(last) = self.pending.back_mut()
            && last.range.end() > self.end
        {
            if last.range.start < self.end {
                last.range.length = self.end - last.range.start;
            } else {
                self.pending.pop_back();
            }
        }
    }

    /// Reads the maps from where the last page has ended.
    fn read_page(&mut self) -> io::Result<()> {
        let (start, end) = (self.mapped, self.end);
        let map_turn = self.map_turn.clone();
        let _turn = map_turn.take();
        let Some(base) = &self.base else {
            // Whether a place reads as zeros does not change with where it lies: read once.
            for segment in segments(&self.now, start).take(CHANGES) {
                if self.mapped >= self.end {
                    break;
                }
                let range = Range::from(segment?);
                self.mapped = range.end();
                self.pending.push_back(Pending { range, look: false });
            }
            return Ok(());
        };
        if base.incomparable {
            self.by_bytes(start, end);
            return Ok(());
        }
        let maps = || (segments(&base.file, start), segments(&self.now, start));
        let limit = PageLimit {
            changes: CHANGES,
            pieces: PIECES,
            reach: end,
        };
        let (page, held) = match read_still([&base.file, &self.now], maps, start, limit)? {
            Some(page) => (page, true),
            None => verified(start, limit, ATTEMPTS, maps)?,
        };
        if !held {
            self.method = Method::Content;
            self.reason.get_or_insert_with(|| {
                format!("the extent maps moved during each of {ATTEMPTS} readings")
            });
            self.by_bytes(start, page.end.min(end));
            return Ok(());
        }
        self.mapped = page.end;
        let (refine, base_size) = (self.refine, base.file.size());
        self.pending.extend(page.changes.into_iter().map(|change| {
            let range = Range::from(change.segment);
            // Past the end of the base zeros are told, whatever they are compared to.
            let certain = range.kind == RangeKind::Zero && range.start >= base_size;
            let look = match refine {
                Refine::None => false,
                Refine::Auto => change.uncertain,
                Refine::Blocks => !certain,
            };
            Pending { range, look }
        }));
        Ok(())
    }

    /// All of a stretch is to be compared by content.
    fn by_bytes(&mut self, start: u64, end: u64) {
        self.mapped = end;
        self.by_content += end - start;
        let range = Range::from(Segment {
            start,
            length: end - start,
            content: crate::extents::Content::Opaque,
        });
        self.pending.push_back(Pending { range, look: true });
    }

    /// Makes ranges of what is pending, as many as one step gives.
    fn resolve(&mut self) -> io::Result<Vec<Range>> {
        let mut ranges = Vec::new();
        let mut left = COMPARED;
        let mut buffers = None;
        while ranges.len() < RANGES && left > 0 {
            let Some(Pending { mut range, look }) = self.pending.pop_front() else {
                break;
            };
            let Some(base) = self.base.as_ref().filter(|_| look) else {
                ranges.push(range);
                continue;
            };
            let sides = Sides {
                base: &base.file,
                current: &self.now,
            };
            let buffers = buffers.get_or_insert_with(|| Buffers::of(&self.pool));
            let end = range.end();
            let (differing, reached) = content::differences(
                &sides,
                buffers,
                range.start,
                range.length.min(left),
                RANGES - ranges.len(),
            )?;
            ranges.extend(differing);
            left -= reached - range.start;
            if reached < end {
                range.start = reached;
                range.length = end - reached;
                self.pending.push_front(Pending { range, look });
            }
        }
        Ok(ranges)
    }
}

/// A page that one reading is enough for: neither file's extents can have moved meanwhile.
fn read_still<'f>(
    files: [&UncachedFile; 2],
    maps: impl Fn() -> (Map<'f>, Map<'f>),
    start: u64,
    limit: PageLimit,
) -> io::Result<Option<Page>> {
    let still = || Some((stillness::of(files[0])?, stillness::of(files[1])?));
    let Some(before) = still() else {
        return Ok(None);
    };
    let (base, now) = maps();
    let page = Page::read(start, base, now, limit)?;
    Ok((still() == Some(before)).then_some(page))
}

/// Addresses mean the same only on one and the same file system.
fn comparable(before: &UncachedFile, now: &UncachedFile) -> Result<(), String> {
    let uuid =
        |file: &UncachedFile| file_system::uuid(file.file()).map_err(|error| error.to_string());
    if uuid(before)? != uuid(now)? {
        return Err("the two snapshots lie on different file systems".to_owned());
    }
    if [before, now]
        .iter()
        .any(|file| attributes::is_realtime(file.file()))
    {
        return Err("a snapshot lies on a realtime device".to_owned());
    }
    Ok(())
}

type Map<'f> = Segments<ExtentReader<'f>>;

fn segments(file: &UncachedFile, from: u64) -> Map<'_> {
    // What begins past the end of the base has no map there.
    Segments::new(ExtentReader::new(file.file(), from), file.size(), from)
}

fn is_ocfs2(file: &UncachedFile) -> bool {
    file_system::status(file.file()).is_ok_and(|status| status.kind == Kind::Ocfs2)
}
