use std::io;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::Target;
use super::failure::outside;

/// A replica in this process's memory. For tests and examples: it is as large as the disk, and gone
/// when it is dropped.
///
/// ```
/// use coriolis_ovm_exporter::client::target::{Memory, Target as _};
///
/// let memory = Memory::default();
/// memory.prepare(8)?;
/// memory.write_at(2, b"abc")?;
/// memory.zero(3, 1)?;
/// assert_eq!(memory.bytes(), b"\0\0a\0c\0\0\0");
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct Memory {
    bytes: RwLock<Vec<u8>>,
    blank: AtomicBool,
}

impl Default for Memory {
    /// Of no size yet, and all zeros.
    fn default() -> Memory {
        Memory::of(Vec::new(), true)
    }
}

/// A replica that an earlier run has left.
impl From<Vec<u8>> for Memory {
    fn from(bytes: Vec<u8>) -> Memory {
        let blank = bytes.is_empty();
        Memory::of(bytes, blank)
    }
}

impl Memory {
    fn of(bytes: Vec<u8>, blank: bool) -> Memory {
        Memory {
            bytes: RwLock::new(bytes),
            blank: AtomicBool::new(blank),
        }
    }

    /// A copy of what it holds.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        self.read().clone()
    }

    fn read(&self) -> RwLockReadGuard<'_, Vec<u8>> {
        self.bytes.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Vec<u8>> {
        self.bytes.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn outside(&self, held: &[u8], offset: u64, length: usize) -> io::Error {
        outside(&self.name(), held.len() as u64, offset, length as u64)
    }
}

/// None where the address space does not go so far.
fn place(offset: u64, length: usize) -> Option<Range<usize>> {
    let start = usize::try_from(offset).ok()?;
    Some(start..start.checked_add(length)?)
}

impl Target for Memory {
    fn size(&self) -> io::Result<u64> {
        Ok(self.read().len() as u64)
    }

    fn prepare(&self, disk: u64) -> io::Result<()> {
        let length = usize::try_from(disk).map_err(io::Error::other)?;
        let mut bytes = self.write();
        let more = length.saturating_sub(bytes.len());
        bytes.try_reserve_exact(more).map_err(io::Error::other)?;
        bytes.resize(length, 0);
        Ok(())
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut held = self.write();
        match place(offset, bytes.len()).and_then(|place| held.get_mut(place)) {
            Some(room) => {
                self.blank.store(false, Ordering::SeqCst);
                room.copy_from_slice(bytes);
                Ok(())
            }
            None => Err(self.outside(&held, offset, bytes.len())),
        }
    }

    fn zero(&self, offset: u64, length: u64) -> io::Result<()> {
        let mut held = self.write();
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        match place(offset, length).and_then(|place| held.get_mut(place)) {
            Some(room) => {
                room.fill(0);
                Ok(())
            }
            None => Err(self.outside(&held, offset, length)),
        }
    }

    fn flush(&self) -> io::Result<()> {
        Ok(())
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let held = self.read();
        match place(offset, buffer.len()).and_then(|place| held.get(place)) {
            Some(found) => {
                buffer.copy_from_slice(found);
                Ok(())
            }
            None => Err(self.outside(&held, offset, buffer.len())),
        }
    }

    fn readable(&self) -> bool {
        true
    }

    fn zeroed(&self) -> bool {
        self.blank.load(Ordering::SeqCst)
    }

    fn name(&self) -> String {
        "memory".to_owned()
    }
}
