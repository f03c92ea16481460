//! What old calls were taught later, and how the kernels before that refuse it.
//!
//! From the kernel's uapi headers and manual pages. Beside what the daemon is seen to ask, this has
//! what libraries like its own are known to ask. Left out is what old kernels silently ignore, such
//! as MAP_FIXED_NOREPLACE.

use nix::libc::{
    EINVAL, EISDIR, ENOPROTOOPT, ENOTTY, EOPNOTSUPP, IPPROTO_IP, IPPROTO_TCP, IPPROTO_UDP,
    SOL_SOCKET, SYS_arch_prctl, SYS_fallocate, SYS_fcntl, SYS_getsockopt, SYS_ioctl, SYS_madvise,
    SYS_mmap, SYS_mremap, SYS_open, SYS_openat, SYS_prctl, SYS_setsockopt, SYS_waitid,
};

use super::kernel::Call;

pub struct Addition {
    /// The first kernel that knows it.
    pub since: (u8, u8),
    call: i64,
    asked: Asked,
    pub error: i32,
}

enum Asked {
    /// Argument, lowest and highest value.
    Value(usize, u64, u64),
    /// Argument, any of these bits.
    Bits(usize, u64),
    /// Level, lowest and highest name.
    Option(i32, u64, u64),
}

use Asked::{Bits, Option, Value};

const ANY: u64 = u32::MAX as u64;

pub const ALL: &[Addition] = &[
    // FICLONE, FICLONERANGE and FIDEDUPERANGE, on OCFS2.
    ioctl((4, 10), 0x4004_9409),
    ioctl((4, 10), 0x4020_940D),
    ioctl((4, 10), 0xC018_9436),
    // FS_IOC_FSGETXATTR and FS_IOC_FSSETXATTR, on OCFS2.
    ioctl((5, 13), 0x801C_581F),
    ioctl((5, 13), 0x401C_5820),
    // O_TMPFILE: to older kernels a directory that is opened for writing.
    flag((3, 11), SYS_openat, Bits(2, 0o20_000_000), EISDIR),
    flag((3, 11), SYS_open, Bits(1, 0o20_000_000), EISDIR),
    // COLLAPSE_RANGE, ZERO_RANGE; INSERT_RANGE; UNSHARE_RANGE and later.
    flag((3, 15), SYS_fallocate, Bits(1, 0x18), EOPNOTSUPP),
    flag((4, 1), SYS_fallocate, Bits(1, 0x20), EOPNOTSUPP),
    flag((4, 9), SYS_fallocate, Bits(1, 0xC0), EOPNOTSUPP),
    // MADV_FREE; MADV_WIPEONFORK and later, but for MADV_HWPOISON and MADV_SOFT_OFFLINE.
    flag((4, 5), SYS_madvise, Value(2, 8, 8), EINVAL),
    flag((4, 14), SYS_madvise, Value(2, 18, 99), EINVAL),
    flag((4, 14), SYS_madvise, Value(2, 102, ANY), EINVAL),
    // MAP_SHARED_VALIDATE with MAP_SYNC; MREMAP_DONTUNMAP.
    flag((4, 15), SYS_mmap, Bits(3, 0x8_0000), EINVAL),
    flag((5, 7), SYS_mremap, Bits(3, 4), EINVAL),
    // Open file description locks; seals; write hints and later.
    flag((3, 15), SYS_fcntl, Value(1, 36, 38), EINVAL),
    flag((3, 17), SYS_fcntl, Value(1, 1033, 1034), EINVAL),
    flag((4, 13), SYS_fcntl, Value(1, 1035, ANY), EINVAL),
    // PR_SET_THP_DISABLE; PR_CAP_AMBIENT and later, with PR_SET_VMA.
    flag((3, 15), SYS_prctl, Value(0, 41, 46), EINVAL),
    flag((4, 3), SYS_prctl, Value(0, 47, ANY), EINVAL),
    flag((4, 9), SYS_arch_prctl, Value(0, 0x1005, ANY), EINVAL),
    // P_PIDFD.
    flag((5, 4), SYS_waitid, Value(0, 3, 3), EINVAL),
    // SO_REUSEPORT; SO_LOCK_FILTER and later; SO_ATTACH_REUSEPORT_CBPF and later.
    option((3, 9), Option(SOL_SOCKET, 15, 15)),
    option((3, 9), Option(SOL_SOCKET, 44, ANY)),
    option((4, 5), Option(SOL_SOCKET, 51, ANY)),
    // TCP_TIMESTAMP and later; TCP_SAVE_SYN and later.
    option((3, 9), Option(IPPROTO_TCP, 24, ANY)),
    option((4, 2), Option(IPPROTO_TCP, 27, ANY)),
    // IP_CHECKSUM; IP_BIND_ADDRESS_NO_PORT and IP_RECVFRAGSIZE.
    option((4, 0), Option(IPPROTO_IP, 23, 23)),
    option((4, 2), Option(IPPROTO_IP, 24, 25)),
    // UDP_NO_CHECK6_TX and later; UDP_SEGMENT and UDP_GRO.
    option((3, 16), Option(IPPROTO_UDP, 101, ANY)),
    option((4, 18), Option(IPPROTO_UDP, 103, ANY)),
];

const fn flag(since: (u8, u8), call: i64, asked: Asked, error: i32) -> Addition {
    Addition {
        since,
        call,
        asked,
        error,
    }
}

const fn ioctl(since: (u8, u8), request: u64) -> Addition {
    flag(since, SYS_ioctl, Value(1, request, request), ENOTTY)
}

const fn option(since: (u8, u8), asked: Asked) -> Addition {
    flag(since, SYS_setsockopt, asked, ENOPROTOOPT)
}

impl Addition {
    pub fn is_asked_by(&self, call: &Call) -> bool {
        // The kernel takes all of these as 32 bits.
        let argument = |at: usize| call.arguments[at] & ANY;
        match self.asked {
            Value(at, low, high) => {
                call.number == self.call && (low..=high).contains(&argument(at))
            }
            Bits(at, bits) => call.number == self.call && argument(at) & bits != 0,
            Option(level, low, high) => {
                [SYS_setsockopt, SYS_getsockopt].contains(&call.number)
                    && Ok(argument(1)) == u64::try_from(level)
                    && (low..=high).contains(&argument(2))
            }
        }
    }
}
