//! Where the bytes of a replica go.
//!
//! | | what it is | zeros |
//! | --- | --- | --- |
//! | [`RawFile`] | a regular file, kept sparse | holes |
//! | [`BlockDevice`] | a device that nobody else uses | by the device's own means |
//! | [`Memory`] | for tests and examples | – |
//! | [`coriolis`] | a volume of a worker of Coriolis's | are sent, packed |
//!
//! [`open`] picks by what lies at a path. Something else (an object store, another program's
//! format) implements [`Target`].
//!
//! ```
//! use coriolis_ovm_exporter::client::target::{self, TargetOptions};
//!
//! # let folder = tempfile::tempdir()?;
//! # let path = folder.path().join("System.img");
//! let target = target::open(&path, &TargetOptions::default())?;
//! target.prepare(1 << 20)?;
//! target.write_at(4096, b"some bytes")?;
//! target.zero(8192, 65_536)?;
//! target.flush()?;
//! assert_eq!(target.size()?, 1 << 20);
//! # Ok::<(), std::io::Error>(())
//! ```

mod block_device;
pub mod coriolis;
mod failure;
mod fingerprint;
mod hardware;
mod memory;
mod opening;
mod place;
mod raw_file;
mod state;
mod users;

use std::io;
use std::ops::Range;

pub use block_device::BlockDevice;
pub use failure::does_not_hold;
pub(crate) use failure::{path_in_use, why_it_does_not_hold};
pub use fingerprint::Fingerprint;
pub use memory::Memory;
pub use opening::{TargetOptions, open};
pub(crate) use place::{file_name, settled};
pub use raw_file::RawFile;

/// What a target has to hold for what is written to it to be enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Held<'a> {
    /// Whatever: all of it is written.
    Anything,
    /// Nothing but zeros: they are left out.
    Zeros,
    /// What the last run has left, when it looked like this: only changes are written.
    Base(Option<&'a Fingerprint>),
}

/// Where the bytes of one disk's replica go.
///
/// Calls come from blocking threads, several at a time, for ranges that do not overlap. Ranges are
/// of any alignment: two of them may share a sector or a page.
///
/// An error names the target and, where there is one, the offset, and says what to do. Its kind is
/// that of the kernel's error ([`io::ErrorKind::StorageFull`] and so on), or
/// [`io::ErrorKind::InvalidInput`] for a range that does not lie inside of the target.
pub trait Target: Send + Sync {
    /// Bytes that it can hold now; 0 where nobody can say.
    ///
    /// # Errors
    /// What keeps it from telling.
    fn size(&self) -> io::Result<u64>;

    /// What a run is going to rely on, told before [`Target::prepare`]. For a target that is opened when
    /// it is first written to, and can be looked at only then: where it does not hold that, it writes
    /// nothing, fails with [`does_not_hold`] until something else is relied on, and is copied in full.
    ///
    /// # Errors
    /// What keeps it from noting that.
    fn rely_on(&self, held: Held<'_>) -> io::Result<()> {
        let _ = held;
        Ok(())
    }

    /// Makes it ready for a disk of this many bytes, before anything is written: a file is grown or
    /// cut to that, a device may be larger. What grows reads as zeros.
    ///
    /// # Errors
    /// [`io::ErrorKind::InvalidInput`] with both sizes where it is too small and cannot grow.
    fn prepare(&self, disk: u64) -> io::Result<()> {
        let size = self.size()?;
        if size < disk {
            return Err(failure::too_small(&self.name(), size, disk));
        }
        Ok(())
    }

    /// Writes all of the bytes at this offset in bytes.
    ///
    /// # Errors
    /// What keeps it from doing so; some of the bytes may be written then. A success is not yet on
    /// stable storage: see [`Target::flush`].
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Makes `length` bytes at `offset` read as zeros.
    ///
    /// # Errors
    /// What keeps it from doing so; some of the range may be zero then.
    fn zero(&self, offset: u64, length: u64) -> io::Result<()>;

    /// Returns when everything that was written before the call is on stable storage.
    ///
    /// # Errors
    /// What keeps it from being there. Nothing that was written since the last success counts
    /// then, and no later call succeeds: a kernel forgets bytes that it could not write out, so a
    /// second try would say that all is well. Open the target again, and write again.
    fn flush(&self) -> io::Result<()>;

    /// Fills the buffer with what lies at this offset.
    ///
    /// # Errors
    /// [`io::ErrorKind::Unsupported`] where the target cannot be read.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let _ = (offset, buffer);
        Err(failure::unreadable(&self.name()))
    }

    /// The SHA-256, hexadecimal, of these of its bytes, made where they lie: of a target that cannot
    /// be read from here. Before anything is written, or after a flush. None where nobody can make any,
    /// whichever bytes.
    ///
    /// # Errors
    /// What keeps it from being made: [`io::ErrorKind::Unsupported`] where that is found out only when it
    /// is tried, [`io::ErrorKind::InvalidData`] where it was tried, and nothing that is one came of it.
    fn sha256(&self, range: Range<u64>) -> io::Result<Option<String>> {
        let _ = range;
        Ok(None)
    }

    /// Nothing more is written to it, since the run has failed or was cancelled: what waits may end
    /// now, with an error. Called at any time, also while it is written to, and more than once;
    /// returns when nothing of ours writes to it any more.
    fn abandon(&self) {}

    /// Before it is compared with a snapshot: what is read after that comes from where it is kept,
    /// not from a copy in memory, which may tell of writes that were lost.
    ///
    /// # Errors
    /// What keeps it from being so.
    fn forget_copies(&self) -> io::Result<()> {
        Ok(())
    }

    /// Whether [`Target::read_at`] works.
    fn readable(&self) -> bool {
        false
    }

    /// Whether all of it is known to be zero now: then zero ranges of a first run may be skipped. A
    /// file that was just created is; so is a device whose owner declares it. No longer once
    /// something was written, so ask at the start of a run.
    fn zeroed(&self) -> bool {
        false
    }

    /// Whether nobody can tell from here what lies on it. Then a replica that has never written to it
    /// does so only with its owner's word, as to one that holds something; and what has changed since
    /// the last run goes there only where [`Target::sha256`] shows that it holds the rest, or, where there
    /// is none, where [`Target::fingerprint`] is the same as then.
    fn is_opaque(&self) -> bool {
        false
    }

    /// What tells whether somebody else has written to it between two runs. It is asked for at the
    /// start of a run, before anything is done, and after the last flush. None where that cannot be
    /// told.
    ///
    /// # Errors
    /// What keeps it from telling.
    fn fingerprint(&self) -> io::Result<Option<Fingerprint>> {
        Ok(None)
    }

    /// What messages call it. The state of a replica knows its targets by it: it has to be the same
    /// the next time, and that of no other target.
    fn name(&self) -> String;
}

#[cfg(test)]
mod tests;
