//! Old kernels, as far as their system calls go.

use std::fmt;

use nix::libc;

use super::additions;

/// A kernel of a line that Oracle VM ships.
#[derive(Debug)]
pub struct Kernel {
    version: (u8, u8),
    /// As uname gives it.
    pub release: &'static str,
    /// On x86-64 the numbers grow with time: what is above came later.
    last_call: i64,
}

pub const KERNELS: [Kernel; 2] = [
    // UEK R4, Oracle VM Server 3.4; execveat. arch/x86/syscalls/syscall_64.tbl of linux-uek.
    Kernel {
        version: (4, 1),
        release: "4.1.12-124.el6uek.x86_64",
        last_call: 322,
    },
    // UEK R3, Oracle VM Server 3.3; finit_module.
    Kernel {
        version: (3, 8),
        release: "3.8.13-118.el6uek.x86_64",
        last_call: 313,
    },
];

impl fmt::Display for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Linux {}.{}", self.version.0, self.version.1)
    }
}

/// A system call as it is made.
#[derive(Debug, Clone, Copy)]
pub struct Call {
    pub number: i64,
    pub arguments: [u64; 6],
}

impl Kernel {
    pub fn last_call(&self) -> i64 {
        self.last_call
    }

    /// The error that this kernel answers, where it does not know the call or what is asked of it.
    pub fn refuses(&self, call: &Call) -> Option<i32> {
        if call.number > self.last_call {
            return Some(libc::ENOSYS);
        }
        additions::ALL
            .iter()
            .find(|addition| self.version < addition.since && addition.is_asked_by(call))
            .map(|addition| addition.error)
    }
}
