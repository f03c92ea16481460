//! Holes: stretches of a file, or of a block device, that read as zeros and take no room.

use std::fs::File;
use std::io;

use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, fallocate};

/// Makes a hole in a file, of its size unchanged; blocks that the stretch covers in part are zeroed
/// there. False where that cannot be done here (a file system without holes), and then nothing has
/// changed.
///
/// On a block device (since Linux 4.9) it gives the room back to the storage below, and is done
/// only where the device promises zeros after that. The stretch has to be whole logical sectors.
///
/// # Errors
/// The kernel's: ENOSPC where a record of the hole finds no room, EIO, EINVAL for a stretch of
/// length 0 or past the largest offset.
///
/// ```
/// # use std::os::unix::fs::MetadataExt as _;
/// let mut file = tempfile::tempfile()?;
/// std::io::Write::write_all(&mut file, &[7; 65_536])?;
/// if coriolis_ovm_exporter::sys::hole::punch(&file, 0, 65_536)? {
///     assert_eq!(file.metadata()?.len(), 65_536);
/// }
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn punch(file: &File, offset: u64, length: u64) -> io::Result<bool> {
    let (Ok(offset), Ok(length)) = (i64::try_from(offset), i64::try_from(length)) else {
        return Err(Errno::EINVAL.into());
    };
    let how = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
    loop {
        match fallocate(file, how, offset, length) {
            Ok(()) => return Ok(true),
            Err(Errno::EINTR) => {}
            // ENODEV: of kernels that have it for regular files only.
            Err(Errno::EOPNOTSUPP | Errno::ENOSYS | Errno::ENODEV) => return Ok(false),
            Err(other) => return Err(other.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{FileExt as _, MetadataExt as _};

    #[test]
    fn the_flags_are_the_kernels() {
        // include/uapi/linux/falloc.h
        assert_eq!(FallocateFlags::FALLOC_FL_KEEP_SIZE.bits(), 0x01);
        assert_eq!(FallocateFlags::FALLOC_FL_PUNCH_HOLE.bits(), 0x02);
    }

    #[test]
    fn a_hole_is_zero_and_takes_no_room() {
        // /dev/shm is tmpfs, which has holes.
        let file = tempfile::tempfile_in("/dev/shm").unwrap();
        file.write_all_at(&[7; 65_536], 0).unwrap();
        let before = file.metadata().unwrap().blocks();
        assert!(punch(&file, 1000, 50_000).unwrap());
        let mut bytes = vec![1; 65_536];
        file.read_exact_at(&mut bytes, 0).unwrap();
        let zeros = 1000..51_000;
        assert!(
            (0..65_536).all(|at| bytes[at] == if zeros.contains(&at) { 0 } else { 7 }),
            "not exactly the stretch is zero"
        );
        assert!(file.metadata().unwrap().blocks() < before);
        assert_eq!(file.metadata().unwrap().len(), 65_536);
    }

    #[test]
    fn where_there_are_no_holes_is_told_from_an_error() {
        let (reader, _writer) = io::pipe().unwrap();
        let pipe = File::from(std::os::fd::OwnedFd::from(reader));
        assert!(punch(&pipe, 0, 1).is_err());
        let file = tempfile::tempfile().unwrap();
        let error = punch(&file, u64::MAX, 1).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    }
}
