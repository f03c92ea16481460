//! Small reads of a disk, as many as are worth it.

use std::io;

/// Bytes that are read of one disk at most.
pub const MOST: u64 = 16 << 20;
/// What a read costs at least: blocks are read whole.
const BLOCK: u64 = 4096;
/// More than this nobody reads.
const MOST_NOTES: usize = 32;

/// A disk's bytes.
pub trait Source {
    /// Fills the buffer from an offset on; both lie inside the disk.
    ///
    /// # Errors
    /// The file system's.
    fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> io::Result<()>;
}

impl Source for &[u8] {
    fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let piece = usize::try_from(offset)
            .ok()
            .and_then(|at| self.get(at..)?.get(..buffer.len()));
        buffer.copy_from_slice(piece.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }
}

/// A stretch of the disk.
#[derive(Debug, Clone, Copy)]
pub(super) struct Window {
    pub(super) start: u64,
    pub(super) length: u64,
}

/// Reads a disk, and keeps count.
pub(super) struct Peek<'s> {
    source: &'s mut dyn Source,
    size: u64,
    spent: u64,
    read: u64,
    refused: bool,
    notes: Vec<String>,
}

impl<'s> Peek<'s> {
    pub(super) fn new(source: &'s mut dyn Source, size: u64) -> Self {
        Self {
            source,
            size,
            spent: 0,
            read: 0,
            refused: false,
            notes: Vec::new(),
        }
    }

    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// Bytes at an offset; none where they are not all there, cannot be read, or are too many.
    pub(super) fn read(&mut self, at: u64, length: usize) -> Option<Vec<u8>> {
        let end = at.checked_add(length as u64)?;
        if end > self.size {
            return None;
        }
        // Whole blocks are read.
        let cost = (at % BLOCK + length as u64).next_multiple_of(BLOCK);
        if self.spent + cost > MOST {
            if !self.refused {
                self.refused = true;
                let most = MOST >> 20;
                self.note(format!(
                    "more than {most} MiB would have to be read: the rest is left out"
                ));
            }
            return None;
        }
        self.spent += cost;
        self.read += length as u64;
        let mut buffer = vec![0; length];
        match self.source.read_at(at, &mut buffer) {
            Ok(()) => Some(buffer),
            Err(error) => {
                self.note(format!("{length} bytes at {at} cannot be read: {error}"));
                None
            }
        }
    }

    /// The same inside of a window.
    pub(super) fn within(&mut self, window: Window, at: u64, length: usize) -> Option<Vec<u8>> {
        if at.checked_add(length as u64)? > window.length {
            return None;
        }
        self.read(window.start.checked_add(at)?, length)
    }

    /// Something that people should know.
    pub(super) fn note(&mut self, note: String) {
        if self.notes.len() < MOST_NOTES && !self.notes.contains(&note) {
            self.notes.push(note);
        }
    }

    pub(super) fn bytes_read(&self) -> u64 {
        self.read
    }

    pub(super) fn into_notes(self) -> Vec<String> {
        self.notes
    }
}
