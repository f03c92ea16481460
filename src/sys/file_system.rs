//! What a file lies on: kind, space, whether it is writable, its UUID.
#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::AsRawFd;

use uuid::Uuid;

/// A file system by the magic number of `statfs(2)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `0x7461636f`.
    Ocfs2,
    /// `0x58465342`.
    Xfs,
    /// `0x9123683e`.
    Btrfs,
    /// `0x6969`.
    Nfs,
    /// Anything else.
    Other(i64),
}

impl Kind {
    /// True where several nodes may have it mounted at once.
    #[must_use]
    pub fn is_shared(self) -> bool {
        match self {
            Kind::Ocfs2 | Kind::Nfs => true,
            // GFS2, Ceph, GPFS ("GPFS"), CIFS, SMB2, Lustre, FUSE (GlusterFS and others).
            Kind::Other(magic) => matches!(
                magic,
                0x0116_1970
                    | 0x00C3_6400
                    | 0x4750_4653
                    | 0xFF53_4D42
                    | 0xFE53_4D42
                    | 0x0BD0_0BD0
                    | 0x6573_5546
            ),
            Kind::Xfs | Kind::Btrfs => false,
        }
    }
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Kind::Ocfs2 => f.write_str("ocfs2"),
            Kind::Xfs => f.write_str("xfs"),
            Kind::Btrfs => f.write_str("btrfs"),
            Kind::Nfs => f.write_str("nfs"),
            Kind::Other(0xEF53) => f.write_str("ext4"),
            Kind::Other(0x0102_1994) => f.write_str("tmpfs"),
            Kind::Other(0x794C_7630) => f.write_str("overlayfs"),
            Kind::Other(magic) => write!(f, "{magic:#x}"),
        }
    }
}

/// What `fstatfs(2)` tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Status {
    /// Which file system.
    pub kind: Kind,
    /// Bytes of a block (`f_bsize`).
    pub block: u64,
    /// Size of the file system, bytes.
    pub total: u64,
    /// Bytes that an unprivileged writer may still use.
    pub available: u64,
    /// Mounted read-only.
    pub read_only: bool,
}

/// `ST_RDONLY` of `f_flags`.
const READ_ONLY: i64 = 1;

/// Asks the file system that holds `file`.
///
/// # Errors
/// The kernel's, such as ESTALE on a lost NFS server.
pub fn status(file: &File) -> io::Result<Status> {
    let mut answer = MaybeUninit::<libc::statfs64>::uninit();
    // SAFETY: the descriptor is open while `file` is borrowed and the kernel writes one statfs64.
    if unsafe { libc::fstatfs64(file.as_raw_fd(), answer.as_mut_ptr()) } < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call succeeded, so the structure is filled.
    let answer = unsafe { answer.assume_init() };
    let unit = u64::try_from(answer.f_frsize).unwrap_or(0);
    Ok(Status {
        kind: match answer.f_type {
            0x7461_636F => Kind::Ocfs2,
            0x5846_5342 => Kind::Xfs,
            0x9123_683E => Kind::Btrfs,
            0x6969 => Kind::Nfs,
            other => Kind::Other(other),
        },
        block: u64::try_from(answer.f_bsize).unwrap_or(0),
        total: answer.f_blocks.saturating_mul(unit),
        available: answer.f_bavail.saturating_mul(unit),
        read_only: answer.f_flags & READ_ONLY != 0,
    })
}

/// The UUID written in the file system itself: the same on every node and at every mount.
///
/// # Errors
/// ENOTTY and the like; [`io::ErrorKind::Unsupported`] for a file system that this does not know
/// to ask.
pub fn uuid(file: &File) -> io::Result<Uuid> {
    match status(file)?.kind {
        Kind::Xfs => xfs_uuid(file),
        Kind::Btrfs => btrfs_uuid(file),
        Kind::Ocfs2 => ocfs2_uuid(file),
        kind => Err(io::Error::new(
            io::ErrorKind::Unsupported,
            format!("{kind} does not tell its UUID"),
        )),
    }
}

/// `XFS_IOC_FSGEOMETRY_V1`, `_IOR('X', 100, struct xfs_fsop_geom_v1)`: answered by every kernel.
const XFS_IOC_FSGEOMETRY_V1: libc::Ioctl = 0x8070_5864;
/// `_IOR(0x94, 31, struct btrfs_ioctl_fs_info_args)`.
const BTRFS_IOC_FS_INFO: libc::Ioctl = 0x8400_941F;
/// `_IOR('o', 5, struct ocfs2_info)`.
const OCFS2_IOC_INFO: libc::Ioctl = 0x8010_6F05;

/// An answer of `SIZE` bytes, aligned as the kernel's structures are.
#[repr(C, align(8))]
struct Answer<const SIZE: usize>([u8; SIZE]);

fn xfs_uuid(file: &File) -> io::Result<Uuid> {
    // struct xfs_fsop_geom_v1: eight u32, four u64, then the UUID.
    let mut answer = Answer([0; 112]);
    ask(file, XFS_IOC_FSGEOMETRY_V1, &mut answer)?;
    let mut id = [0; 16];
    id.copy_from_slice(&answer.0[64..80]);
    Ok(Uuid::from_bytes(id))
}

fn btrfs_uuid(file: &File) -> io::Result<Uuid> {
    // struct btrfs_ioctl_fs_info_args: max_id and num_devices, both u64, then the UUID.
    let mut answer = Answer([0; 1024]);
    ask(file, BTRFS_IOC_FS_INFO, &mut answer)?;
    let mut id = [0; 16];
    id.copy_from_slice(&answer.0[16..32]);
    Ok(Uuid::from_bytes(id))
}

/// `struct ocfs2_info_request` with the text of a UUID behind it (`struct ocfs2_info_uuid`,
/// 32 hexadecimal digits and a NUL, packed: 49 bytes).
#[repr(C, align(8))]
struct Ocfs2UuidRequest {
    magic: u32,
    code: u32,
    size: u32,
    flags: u32,
    text: [u8; 33],
}

/// `struct ocfs2_info`.
#[repr(C)]
struct Ocfs2Info {
    requests: u64,
    count: u32,
    pad: u32,
}

const OCFS2_INFO_MAGIC: u32 = 0x4F32_494E;
const OCFS2_INFO_UUID: u32 = 5;
const OCFS2_INFO_FL_FILLED: u32 = 0x4000_0000;

fn ocfs2_uuid(file: &File) -> io::Result<Uuid> {
    let mut request = Ocfs2UuidRequest {
        magic: OCFS2_INFO_MAGIC,
        code: OCFS2_INFO_UUID,
        size: 49,
        flags: 0,
        text: [0; 33],
    };
    let requests = [(&raw mut request).expose_provenance() as u64];
    let mut info = Ocfs2Info {
        requests: requests.as_ptr().expose_provenance() as u64,
        count: 1,
        pad: 0,
    };
    // SAFETY: the descriptor is open while `file` is borrowed. `info` names an array of one
    // address, which is that of a live request with room for the 49 bytes its size promises;
    // both outlive the call, and nothing else refers to them while it runs.
    let result = unsafe { libc::ioctl(file.as_raw_fd(), OCFS2_IOC_INFO, &raw mut info) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    let text = std::str::from_utf8(&request.text[..32]).ok();
    match text.and_then(|text| Uuid::try_parse(text).ok()) {
        Some(id) if request.flags & OCFS2_INFO_FL_FILLED != 0 => Ok(id),
        _ => Err(io::Error::other("OCFS2_IOC_INFO gave no UUID")),
    }
}

fn ask<const SIZE: usize>(
    file: &File,
    request: libc::Ioctl,
    answer: &mut Answer<SIZE>,
) -> io::Result<()> {
    // SAFETY: the descriptor is open while `file` is borrowed; both callers pass an answer of
    // the size that is encoded in the request's number, which is all the kernel writes.
    let result = unsafe { libc::ioctl(file.as_raw_fd(), request, answer.0.as_mut_ptr()) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::mem::{offset_of, size_of};

    use super::*;

    /// `_IOR(kind, number, size)` of `asm-generic/ioctl.h`.
    fn ior(kind: u32, number: u32, size: usize) -> libc::Ioctl {
        libc::Ioctl::from((2 << 30) | (u32::try_from(size).unwrap() << 16) | (kind << 8) | number)
    }

    #[test]
    fn the_numbers_and_layouts_are_the_kernels() {
        assert_eq!(XFS_IOC_FSGEOMETRY_V1, ior(u32::from(b'X'), 100, 112));
        assert_eq!(BTRFS_IOC_FS_INFO, ior(0x94, 31, 1024));
        assert_eq!(
            OCFS2_IOC_INFO,
            ior(u32::from(b'o'), 5, size_of::<Ocfs2Info>())
        );
        assert_eq!(offset_of!(Ocfs2UuidRequest, text), 16);
        assert!(size_of::<Ocfs2UuidRequest>() >= 49);
    }

    #[test]
    fn proc_is_no_file_system_with_a_uuid() {
        let file = File::open("/proc/self/status").unwrap();
        assert_eq!(uuid(&file).unwrap_err().kind(), io::ErrorKind::Unsupported);
    }
}
