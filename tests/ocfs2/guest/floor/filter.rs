//! A filter of system calls that asks us (`Documentation/userspace-api/seccomp_filter.rst`).
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use nix::libc::{self, sock_filter};

/// `AUDIT_ARCH_X86_64` of `linux/audit.h`.
const X86_64: u32 = 0xC000_003E;
/// `struct seccomp_data`: number, processor, and the lower half of an argument.
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;
const fn argument(at: u32) -> u32 {
    16 + 8 * at
}

/// A call that is to be asked about.
#[derive(Debug, Clone, Copy)]
pub enum Watch {
    Always(i64),
    /// Where an argument (its number) is at least this: calls that are made all the time, some of
    /// them with the allocator's locks held.
    From(i64, u32, u32),
}

/// What is asked.
#[derive(Debug)]
pub struct Question {
    pub id: u64,
    /// The thread that waits.
    pub thread: u32,
    pub number: i64,
    pub arguments: [u64; 6],
}

/// What becomes of the call.
#[derive(Debug, Clone, Copy)]
pub enum Answer {
    /// The kernel makes it.
    AsMeant,
    /// It fails with this error number.
    Fails(i32),
    /// It succeeds; what it gives is there already.
    Done,
}

/// Where questions arrive.
#[derive(Debug)]
pub struct Listener(OwnedFd);

/// Gives the calling thread a root and working directory of its own.
pub fn unshare_root() {
    // SAFETY: takes a number, touches no memory.
    let result = unsafe { libc::unshare(libc::CLONE_FS) };
    assert_eq!(result, 0, "{}", io::Error::last_os_error());
}

/// Filters the calling thread, and whatever it starts: calls above `last` and those that are
/// watched wait for an answer.
pub fn install(last: i64, watched: &[Watch]) -> Listener {
    let mut filter = compile(last, watched);
    let program = libc::sock_fprog {
        len: filter.len().try_into().unwrap(),
        filter: filter.as_mut_ptr(),
    };
    // The second flag: a signal does not take a call back that has been asked about.
    let flags =
        libc::SECCOMP_FILTER_FLAG_NEW_LISTENER | libc::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV;
    // SAFETY: plain numbers; the program and its filter outlive the call, which copies them. The
    // descriptor that it gives is new and ours alone.
    unsafe {
        assert_eq!(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
        let descriptor = libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            flags,
            &raw const program,
        );
        assert!(descriptor >= 0, "{}", io::Error::last_os_error());
        Listener(OwnedFd::from_raw_fd(descriptor.try_into().unwrap()))
    }
}

fn compile(last: i64, watched: &[Watch]) -> Vec<sock_filter> {
    let load = |offset| statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, offset);
    let jump = |test, value, yes, no| statement(libc::BPF_JMP | test | libc::BPF_K, yes, no, value);
    let answer = |value| statement(libc::BPF_RET | libc::BPF_K, 0, 0, value);
    let number = |call: i64| u32::try_from(call).unwrap();
    let ask = answer(libc::SECCOMP_RET_USER_NOTIF);
    let mut filter = vec![
        load(ARCHITECTURE),
        jump(libc::BPF_JEQ, X86_64, 1, 0),
        answer(libc::SECCOMP_RET_KILL_PROCESS),
        load(NUMBER),
        jump(libc::BPF_JGT, number(last), 0, 1),
        ask,
    ];
    for watch in watched {
        match *watch {
            Watch::Always(call) => {
                filter.extend([jump(libc::BPF_JEQ, number(call), 0, 1), ask]);
            }
            Watch::From(call, at, low) => filter.extend([
                jump(libc::BPF_JEQ, number(call), 0, 4),
                load(argument(at)),
                jump(libc::BPF_JGE, low, 0, 1),
                ask,
                answer(libc::SECCOMP_RET_ALLOW),
            ]),
        }
    }
    filter.push(answer(libc::SECCOMP_RET_ALLOW));
    filter
}

fn statement(code: u32, jt: u8, jf: u8, k: u32) -> sock_filter {
    sock_filter {
        code: code.try_into().unwrap(),
        jt,
        jf,
        k,
    }
}

impl Listener {
    /// The next question; None when all that were filtered have ended.
    pub fn next(&self) -> Option<Question> {
        loop {
            let mut poll = libc::pollfd {
                fd: self.0.as_raw_fd(),
                events: libc::POLLIN,
                revents: 0,
            };
            // SAFETY: one pollfd, which outlives the call.
            let ready = unsafe { libc::poll(&raw mut poll, 1, -1) };
            if ready < 0 || poll.revents & libc::POLLIN == 0 {
                assert!(poll.revents & libc::POLLHUP != 0, "{ready} {poll:?}");
                return None;
            }
            if let Some(question) = self.receive() {
                return Some(question);
            }
        }
    }

    /// None where the one who asked has ended.
    fn receive(&self) -> Option<Question> {
        // SAFETY: numbers only, for which zero is a value; the kernel wants it zeroed.
        let mut asked: libc::seccomp_notif = unsafe { std::mem::zeroed() };
        // SAFETY: the descriptor is open, and the kernel fills one seccomp_notif.
        let result = unsafe {
            libc::ioctl(
                self.0.as_raw_fd(),
                libc::SECCOMP_IOCTL_NOTIF_RECV,
                &raw mut asked,
            )
        };
        if result < 0 {
            let error = io::Error::last_os_error();
            let gone = [Some(libc::ENOENT), Some(libc::EINTR)];
            assert!(gone.contains(&error.raw_os_error()), "{error}");
            return None;
        }
        Some(Question {
            id: asked.id,
            thread: asked.pid,
            number: asked.data.nr.into(),
            arguments: asked.data.args,
        })
    }

    /// Lets the one who asked go on.
    pub fn answer(&self, question: &Question, answer: Answer) {
        let (error, flags) = match answer {
            Answer::AsMeant => (0, libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE),
            Answer::Fails(error) => (-error, 0),
            Answer::Done => (0, 0),
        };
        let mut answer = libc::seccomp_notif_resp {
            id: question.id,
            val: 0,
            error,
            flags: flags.try_into().unwrap(),
        };
        // SAFETY: the descriptor is open, and the kernel reads one seccomp_notif_resp.
        let result = unsafe {
            libc::ioctl(
                self.0.as_raw_fd(),
                libc::SECCOMP_IOCTL_NOTIF_SEND,
                &raw mut answer,
            )
        };
        if result < 0 {
            // Who asked may have been killed meanwhile.
            let error = io::Error::last_os_error();
            assert_eq!(error.raw_os_error(), Some(libc::ENOENT), "{error}");
        }
    }
}
