//! The bytes of a snapshot's disk as an HTTP body: read ahead by one step, past the page cache.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_util::Stream;
use tokio::task::JoinHandle;

use crate::sys::aligned::{ALIGNMENT, AlignedBuffer};
use crate::sys::uncached::UncachedFile;

/// Bytes read at once. Less makes O_DIRECT slow, more only takes memory.
const STEP: u64 = 512 << 10;

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
    pieces: VecDeque<Piece>,
    reading: Option<JoinHandle<io::Result<Bytes>>>,
}

impl DiskBody {
    /// A body of `pieces` of `file`.
    pub fn new(file: UncachedFile, pieces: impl IntoIterator<Item = Piece>) -> DiskBody {
        DiskBody {
            file: Arc::new(file),
            pieces: pieces.into_iter().collect(),
            reading: None,
        }
    }

    /// Starts reading the next step if the next piece is one of the disk.
    fn read_ahead(&mut self) {
        if self.reading.is_some() {
            return;
        }
        let Some(Piece::Disk(offset, length)) = self.pieces.front_mut() else {
            return;
        };
        // Steps end on aligned offsets, so that only the first and the last are cut.
        let step = (STEP - *offset % STEP).min(*length);
        let start = *offset;
        *offset += step;
        *length -= step;
        if *length == 0 {
            self.pieces.pop_front();
        }
        let file = self.file.clone();
        self.reading = Some(tokio::task::spawn_blocking(move || {
            read(&file, start, step)
        }));
    }
}

fn read(file: &UncachedFile, offset: u64, length: u64) -> io::Result<Bytes> {
    let length = usize::try_from(length).map_err(io::Error::other)?;
    let mut buffer = AlignedBuffer::new(length + 2 * ALIGNMENT);
    let at = file.read_at(&mut buffer, offset, length)?;
    Ok(Bytes::from_owner(buffer).slice(at..at + length))
}

impl Stream for DiskBody {
    type Item = io::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let body = &mut *self;
        if body.reading.is_none() {
            if let Some(Piece::Text(_)) = body.pieces.front() {
                let Some(Piece::Text(text)) = body.pieces.pop_front() else {
                    return Poll::Ready(None);
                };
                return Poll::Ready(Some(Ok(text)));
            }
            body.read_ahead();
        }
        let Some(reading) = &mut body.reading else {
            return Poll::Ready(None);
        };
        let read = ready!(Pin::new(reading).poll(context))
            .unwrap_or_else(|error| Err(io::Error::other(format!("a read ended badly: {error}"))));
        body.reading = None;
        match &read {
            Ok(_) => body.read_ahead(),
            Err(error) => {
                // The client sees a body that ends short of its Content-Length.
                tracing::error!("a download was cut off: {error}");
                body.pieces.clear();
            }
        }
        Poll::Ready(Some(read))
    }
}
