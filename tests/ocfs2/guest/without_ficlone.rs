//! Linux before 4.10, in one respect: FICLONE is answered ENOTTY on every file system.
#![allow(unsafe_code)]

use nix::libc::{self, sock_filter};

const FICLONE: u32 = 0x4004_9409;

/// Does `work` in a thread that cannot use FICLONE.
pub fn run<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            forbid();
            work()
        });
        thread.join().unwrap()
    })
}

/// A filter of system calls for the calling thread (`Documentation/userspace-api/seccomp_filter.rst`).
fn forbid() {
    let load = |offset| statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, offset);
    let unless =
        |value, skip| statement(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 0, skip, value);
    let answer = |value| statement(libc::BPF_RET | libc::BPF_K, 0, 0, value);
    let enotty = u32::try_from(libc::ENOTTY).unwrap();
    // struct seccomp_data: the call's number @0, its second argument's lower half @24.
    let mut filter = [
        load(0),
        unless(u32::try_from(libc::SYS_ioctl).unwrap(), 3),
        load(24),
        unless(FICLONE, 1),
        answer(libc::SECCOMP_RET_ERRNO | enotty),
        answer(libc::SECCOMP_RET_ALLOW),
    ];
    let program = libc::sock_fprog {
        len: filter.len().try_into().unwrap(),
        filter: filter.as_mut_ptr(),
    };
    // SAFETY: plain numbers; the program and its filter outlive the call, which copies them.
    unsafe {
        assert_eq!(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
        let mode = libc::SECCOMP_MODE_FILTER;
        assert_eq!(
            libc::prctl(libc::PR_SET_SECCOMP, mode, &raw const program),
            0
        );
    }
}

fn statement(code: u32, jt: u8, jf: u8, k: u32) -> sock_filter {
    sock_filter {
        code: code.try_into().unwrap(),
        jt,
        jf,
        k,
    }
}
