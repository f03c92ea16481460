//! What calls are called.

use nix::libc;

use super::kernel::Call;

/// From 314 on.
const AFTER_3_8: [&str; 21] = [
    "sched_setattr",
    "sched_getattr",
    "renameat2",
    "seccomp",
    "getrandom",
    "memfd_create",
    "kexec_file_load",
    "bpf",
    "execveat",
    "userfaultfd",
    "membarrier",
    "mlock2",
    "copy_file_range",
    "preadv2",
    "pwritev2",
    "pkey_mprotect",
    "pkey_alloc",
    "pkey_free",
    "statx",
    "io_pgetevents",
    "rseq",
];

/// From 424 on.
const AFTER_5_0: [&str; 29] = [
    "pidfd_send_signal",
    "io_uring_setup",
    "io_uring_enter",
    "io_uring_register",
    "open_tree",
    "move_mount",
    "fsopen",
    "fsconfig",
    "fsmount",
    "fspick",
    "pidfd_open",
    "clone3",
    "close_range",
    "openat2",
    "pidfd_getfd",
    "faccessat2",
    "process_madvise",
    "epoll_pwait2",
    "mount_setattr",
    "quotactl_fd",
    "landlock_create_ruleset",
    "landlock_add_rule",
    "landlock_restrict_self",
    "memfd_secret",
    "process_mrelease",
    "futex_waitv",
    "set_mempolicy_home_node",
    "cachestat",
    "fchmodat2",
];

const OLDER: [(i64, &str); 17] = [
    (libc::SYS_link, "link"),
    (libc::SYS_linkat, "linkat"),
    (libc::SYS_uname, "uname"),
    (libc::SYS_open, "open"),
    (libc::SYS_stat, "stat"),
    (libc::SYS_fstat, "fstat"),
    (libc::SYS_lstat, "lstat"),
    (libc::SYS_newfstatat, "newfstatat"),
    (libc::SYS_clone, "clone"),
    (libc::SYS_fork, "fork"),
    (libc::SYS_vfork, "vfork"),
    (libc::SYS_execve, "execve"),
    (libc::SYS_wait4, "wait4"),
    (libc::SYS_openat, "openat"),
    (libc::SYS_fallocate, "fallocate"),
    (libc::SYS_mmap, "mmap"),
    (libc::SYS_mremap, "mremap"),
];

/// A call's name, with the argument that says what it is about.
pub fn of(call: &Call, path: Option<&str>) -> String {
    let argument = |at: usize| call.arguments[at] & 0xFFFF_FFFF;
    match (call.number, path) {
        (libc::SYS_ioctl, _) => format!("ioctl {}", ioctl(argument(1))),
        (libc::SYS_openat | libc::SYS_open | libc::SYS_execve, Some(path)) => {
            format!("{} {path}", plain(call.number))
        }
        (libc::SYS_setsockopt, _) => format!("setsockopt {} {}", argument(1), argument(2)),
        (libc::SYS_getsockopt, _) => format!("getsockopt {} {}", argument(1), argument(2)),
        (libc::SYS_fcntl, _) => format!("fcntl {}", argument(1)),
        (libc::SYS_madvise, _) => format!("madvise {}", advice(argument(2))),
        (libc::SYS_prctl, _) => format!("prctl {:#x}", argument(0)),
        (libc::SYS_arch_prctl, _) => format!("arch_prctl {:#x}", argument(0)),
        (libc::SYS_waitid, _) => format!("waitid {}", argument(0)),
        (number, _) => plain(number),
    }
}

fn plain(number: i64) -> String {
    let listed = |first: i64, names: &[&'static str]| {
        let at = usize::try_from(number - first).ok()?;
        names.get(at).copied()
    };
    let older = OLDER.iter().find(|(known, _)| *known == number);
    listed(libc::SYS_sched_setattr, &AFTER_3_8)
        .or_else(|| listed(libc::SYS_pidfd_send_signal, &AFTER_5_0))
        .or(older.map(|(_, name)| *name))
        .map_or_else(|| format!("call {number}"), ToOwned::to_owned)
}

fn advice(advice: u64) -> String {
    match advice {
        18 => "MADV_WIPEONFORK".to_owned(),
        0xFFFF_FFFF => "-1".to_owned(),
        other => other.to_string(),
    }
}

fn ioctl(request: u64) -> String {
    let name = match request {
        0x4004_9409 => "FICLONE",
        0x4020_940D => "FICLONERANGE",
        0x4018_6F04 => "OCFS2_IOC_REFLINK",
        0x8010_6F05 => "OCFS2_IOC_INFO",
        0xC020_660B => "FS_IOC_FIEMAP",
        0x8008_6601 => "FS_IOC_GETFLAGS",
        0x4008_6602 => "FS_IOC_SETFLAGS",
        0x801C_581F => "FS_IOC_FSGETXATTR",
        0x8004_5200 => "RNDGETENTCNT",
        _ => return format!("{request:#x}"),
    };
    name.to_owned()
}
