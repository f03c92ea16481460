//! Programs that are started by a process that blocks signals.
#![allow(unsafe_code)]

use std::os::unix::process::CommandExt as _;
use std::process::Command;

use nix::sys::signal::SigSet;

/// Has the program start with no signal blocked. Otherwise it would inherit what its parent
/// blocks, and could not be told to end.
pub fn with_every_signal(command: &mut Command) -> &mut Command {
    // SAFETY: the closure runs in the child between fork and exec. It allocates nothing and takes
    // no lock: it fills a set on its own stack and makes one system call.
    unsafe { command.pre_exec(|| Ok(SigSet::empty().thread_set_mask()?)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_stays_blocked() {
        let blocked = |command: &mut Command| {
            command.args(["SigBlk", "/proc/self/status"]);
            let output = command.output().unwrap();
            let text = String::from_utf8(output.stdout).unwrap();
            let mask = text.split_whitespace().nth(1).unwrap();
            u64::from_str_radix(mask, 16).unwrap()
        };
        let (inherited, cleared) = std::thread::spawn(move || {
            SigSet::all().thread_block().unwrap();
            (
                blocked(&mut Command::new("grep")),
                blocked(with_every_signal(&mut Command::new("grep"))),
            )
        })
        .join()
        .unwrap();
        // Otherwise there would be nothing to do.
        assert_ne!(inherited, 0);
        assert_eq!(cleared, 0);
    }
}
