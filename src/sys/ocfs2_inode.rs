//! How many clusters an OCFS2 inode says that it has (`i_clusters` of `struct ocfs2_dinode`,
//! `fs/ocfs2/ocfs2_fs.h`).
//!
//! No call tells it for certain: `st_blocks` is made of it in 32 bits, which 2 TiB fill, and is a second
//! copy in memory. So the inode's block is read from the device that is mounted, through the device's
//! page cache, in which the file system itself keeps it: it is never older than what this node knows.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use super::file_system;

/// `OCFS2_INODE_SIGNATURE`.
const SIGNATURE: &[u8; 8] = b"INODE01\0";
const I_CLUSTERS: usize = 0x14;
const I_BLKNO: usize = 0x50;
/// All that is looked at of the structure.
const HEAD: usize = 0x58;

/// The number.
///
/// # Errors
/// The kernel's; [`io::ErrorKind::NotFound`] where the device has no name here, or has not the inode.
pub fn clusters(file: &File) -> io::Result<u32> {
    // First: in a cluster this has another node write out what it holds, and this one read it again.
    let metadata = file.metadata()?;
    let device = File::open(device(metadata.dev())?)?;
    let number = metadata.ino();
    let missing = || {
        let text = format!("inode {number} is not on the device");
        io::Error::new(io::ErrorKind::NotFound, text)
    };
    // An inode's number is its block's, and `f_bsize` is what the file system calls a block.
    let offset = number.checked_mul(file_system::status(file)?.block);
    let mut head = [0; HEAD];
    device.read_exact_at(&mut head, offset.ok_or_else(missing)?)?;
    parse(&head, number).ok_or_else(missing)
}

/// None where this is not that inode.
fn parse(head: &[u8; HEAD], number: u64) -> Option<u32> {
    let (signature, rest) = head.split_first_chunk::<8>()?;
    let clusters = rest.get(I_CLUSTERS - 8..)?.first_chunk()?;
    let block = rest.get(I_BLKNO - 8..)?.first_chunk()?;
    (signature == SIGNATURE && u64::from_le_bytes(*block) == number)
        .then(|| u32::from_le_bytes(*clusters))
}

/// A name of the block device with this number.
fn device(number: u64) -> io::Result<PathBuf> {
    let name = format!("{}:{}", libc::major(number), libc::minor(number));
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let sources = sources(&mounts, &name).map(PathBuf::from);
    let is_it = |path: &PathBuf| {
        fs::metadata(path)
            .is_ok_and(|found| found.file_type().is_block_device() && found.rdev() == number)
    };
    sources
        .chain([Path::new("/dev/block").join(&name)])
        .find(is_it)
        .ok_or_else(|| {
            let text = format!("there is no file for the block device {name}");
            io::Error::new(io::ErrorKind::NotFound, text)
        })
}

/// What is mounted from the device with this number, by `/proc/self/mountinfo` (proc(5)).
fn sources<'m>(mounts: &'m str, number: &str) -> impl Iterator<Item = &'m str> {
    mounts.lines().filter_map(move |line| {
        let (mount, source) = line.split_once(" - ")?;
        (mount.split(' ').nth(2)? == number).then(|| source.split(' ').nth(1))?
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_that_inode_is_believed() {
        let mut head = [0; HEAD];
        assert_eq!(parse(&head, 0), None);
        head[..8].copy_from_slice(SIGNATURE);
        head[I_CLUSTERS..I_CLUSTERS + 4].copy_from_slice(&77_u32.to_le_bytes());
        head[I_BLKNO..].copy_from_slice(&66_000_u64.to_le_bytes());
        assert_eq!(parse(&head, 66_000), Some(77));
        assert_eq!(parse(&head, 66_001), None);
        head[0] = b'X';
        assert_eq!(parse(&head, 66_000), None);
    }

    #[test]
    fn the_device_is_found_by_its_number() {
        let mounts = "22 1 254:0 / / rw - ext4 /dev/vda rw\n\
                      41 22 252:3 / /OVS/Repositories/1 rw shared:1 - ocfs2 /dev/mapper/360a rw,x\n\
                      43 22 252:33 / /mnt/d rw - xfs /dev/loop10 rw\n\
                      half a line";
        assert_eq!(
            sources(mounts, "252:3").collect::<Vec<_>>(),
            ["/dev/mapper/360a"]
        );
        assert_eq!(sources(mounts, "252:4").count(), 0);
        let error = device(u64::MAX).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn another_file_system_has_no_such_inode() {
        let file = tempfile::tempfile().unwrap();
        assert!(clusters(&file).is_err());
    }
}
