//! The bytes of a snapshot's disk as an HTTP body: what is in the page cache at once, everything
//! else read ahead, past the page cache.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_util::Stream;
use tokio::task::JoinHandle;

use super::activity::metered::Ending;
use crate::extents::Span;
use crate::snapshots::Share;
use crate::sys::uncached::UncachedFile;

/// Fewer bytes that were read ahead are no turn of their own: many small parts of an answer leave
/// together.
const TURN: usize = 64 << 10;

/// A piece of a body.
#[derive(Debug)]
pub enum Piece {
    /// Bytes as they are: headers between the parts of a multipart answer.
    Text(Bytes),
    /// A stretch of the disk: offset and length.
    Disk(u64, u64),
}

/// A body that is made of pieces.
///
/// The cost of a read depends on its length alone: the disk's extent map is never looked at.
#[derive(Debug)]
pub struct DiskBody {
    file: Arc<UncachedFile>,
    share: Share,
    pieces: VecDeque<Piece>,
    /// What comes next, in order.
    ahead: VecDeque<Ahead>,
    /// A buffer was handed out, on a thread that serves others as well: they are next.
    yields: bool,
}

#[derive(Debug)]
enum Ahead {
    Text(Bytes),
    Read(JoinHandle<io::Result<Bytes>>),
}

impl DiskBody {
    /// A body of `pieces` of `file`, in memory of `share`.
    pub fn new(
        file: UncachedFile,
        share: Share,
        pieces: impl IntoIterator<Item = Piece>,
    ) -> DiskBody {
        DiskBody {
            file: Arc::new(file),
            share,
            pieces: pieces.into_iter().collect(),
            ahead: VecDeque::new(),
            yields: false,
        }
    }

    /// The next step of the disk, if the next piece is one of it: offset and length.
    fn next_step(&self, largest: usize) -> Option<(u64, usize)> {
        let Some(&Piece::Disk(offset, length)) = self.pieces.front() else {
            return None;
        };
        // Steps end on aligned offsets, so that only the first and the last are cut.
        let largest = largest as u64;
        let step = (largest - offset % largest).min(length);
        Some((offset, usize::try_from(step).unwrap_or(0)))
    }

    /// That step is taken care of.
    fn advance(&mut self, step: usize) {
        if let Some(Piece::Disk(offset, length)) = self.pieces.front_mut() {
            *offset += step as u64;
            *length -= step as u64;
            if *length == 0 {
                self.pieces.pop_front();
            }
        }
    }

    /// The next step, if it is cached.
    fn read_now(&mut self) -> Option<Bytes> {
        let largest = self.share.allowance().cached_step();
        let (offset, step) = self.next_step(largest)?;
        let mut buffer = self.share.take(step);
        if !self.file.read_now(&mut buffer[..step], offset) {
            return None;
        }
        self.advance(step);
        Some(buffer.freeze().slice(..step))
    }

    /// Has as much read as this stream may, at least `least` steps. What is cached is left alone: it
    /// comes at once when all before it is sent.
    fn read_ahead(&mut self, least: usize) {
        let allowance = self.share.allowance();
        while self.ahead.len() < allowance.ahead.max(least) {
            let Some((offset, step)) = self.next_step(allowance.step) else {
                let Some(Piece::Text(text)) = self.pieces.pop_front() else {
                    return;
                };
                self.ahead.push_back(Ahead::Text(text));
                continue;
            };
            if self.ahead.len() >= least && self.file.comes_now(offset, step) {
                return;
            }
            // Whole blocks are read, where it begins and ends inside of them.
            let stretch = Span {
                start: offset,
                length: step as u64,
            };
            let room = usize::try_from(stretch.room()).unwrap_or(usize::MAX);
            let (file, mut buffer) = (Arc::clone(&self.file), self.share.take(room));
            self.advance(step);
            let span = tracing::Span::current();
            let read = tokio::task::spawn_blocking(move || {
                let at = span.in_scope(|| file.read_at(&mut buffer, offset, step))?;
                Ok(buffer.freeze().slice(at..at + step))
            });
            self.ahead.push_back(Ahead::Read(read));
        }
    }
}

/// Where it cannot go on, it breaks off.
impl Ending for DiskBody {}

impl Stream for DiskBody {
    type Item = io::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let body = &mut *self;
        if std::mem::take(&mut body.yields) {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        if body.ahead.is_empty() {
            if let Some(bytes) = body.read_now() {
                body.yields = true;
                return Poll::Ready(Some(Ok(bytes)));
            }
            body.read_ahead(1);
        }
        let read = match body.ahead.front_mut() {
            None => return Poll::Ready(None),
            Some(Ahead::Read(read)) => {
                ready!(Pin::new(read).poll(context)).unwrap_or_else(|error| {
                    Err(io::Error::other(format!("a read ended badly: {error}")))
                })
            }
            Some(Ahead::Text(text)) => Ok(std::mem::take(text)),
        };
        body.ahead.pop_front();
        match &read {
            Ok(bytes) => {
                body.yields = bytes.len() >= TURN;
                body.read_ahead(0);
            }
            Err(error) => {
                // The client sees a body that ends short of its Content-Length.
                tracing::error!("a download was cut off: {error}");
                body.pieces.clear();
                body.ahead.clear();
            }
        }
        Poll::Ready(Some(read))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::{Wake, Waker};
    use std::time::Duration;

    use super::*;
    use crate::snapshots::BufferPool;
    use crate::sys::page_cache;

    #[derive(Default)]
    struct Wakes(AtomicUsize);

    impl Wake for Wakes {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// Whether all that was begun to be read has come.
    fn is_ahead(body: &DiskBody) -> bool {
        body.ahead
            .iter()
            .all(|ahead| matches!(ahead, Ahead::Read(read) if read.is_finished()))
    }

    #[tokio::test]
    async fn after_each_buffer_it_is_the_turn_of_others_though_more_has_come() {
        const SIZE: usize = 6 << 20;
        for is_cached in [true, false] {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("disk");
            std::fs::write(&path, vec![7; SIZE]).unwrap();
            let written = std::fs::File::open(&path).unwrap();
            written.sync_all().unwrap();
            if !is_cached {
                page_cache::drop_clean(&written).unwrap();
            }
            let file = UncachedFile::open(&path).unwrap();
            let disk = [Piece::Disk(0, SIZE as u64)];
            let mut body = DiskBody::new(file, BufferPool::default().join(), disk);
            let wakes = Arc::new(Wakes::default());
            let waker = Waker::from(Arc::clone(&wakes));
            let (mut came, mut in_a_row) = (0, 0);
            while came < SIZE {
                while !is_ahead(&body) {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                let before = wakes.0.load(Ordering::SeqCst);
                let next = Pin::new(&mut body).poll_next(&mut Context::from_waker(&waker));
                match next {
                    Poll::Ready(bytes) => {
                        let bytes = bytes.unwrap().unwrap();
                        came += bytes.len();
                        in_a_row += 1;
                        assert!(in_a_row == 1, "cached {is_cached}: at {came}");
                    }
                    // What was begun only now wakes by itself.
                    Poll::Pending if in_a_row == 0 => {}
                    Poll::Pending => {
                        in_a_row = 0;
                        assert_eq!(wakes.0.load(Ordering::SeqCst), before + 1);
                    }
                }
            }
        }
    }
}
