//! Answers the daemon's calls as an old kernel does, and keeps count of them.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use nix::libc;

use super::filter::{Answer, Listener, Question, Watch};
use super::kernel::{Call, Kernel};
use super::names;

/// Calls that may ask for what came later, and those that are used in place of newer ones.
pub const WATCHED: &[Watch] = &[
    Watch::Always(libc::SYS_ioctl),
    Watch::Always(libc::SYS_open),
    Watch::Always(libc::SYS_openat),
    Watch::Always(libc::SYS_stat),
    Watch::Always(libc::SYS_fstat),
    Watch::Always(libc::SYS_lstat),
    Watch::Always(libc::SYS_newfstatat),
    Watch::Always(libc::SYS_clone),
    Watch::Always(libc::SYS_fork),
    Watch::Always(libc::SYS_vfork),
    Watch::Always(libc::SYS_execve),
    Watch::Always(libc::SYS_wait4),
    Watch::Always(libc::SYS_waitid),
    Watch::Always(libc::SYS_setsockopt),
    Watch::Always(libc::SYS_getsockopt),
    Watch::Always(libc::SYS_prctl),
    Watch::Always(libc::SYS_arch_prctl),
    Watch::Always(libc::SYS_fallocate),
    Watch::Always(libc::SYS_uname),
    Watch::Always(libc::SYS_link),
    Watch::Always(libc::SYS_linkat),
    Watch::From(libc::SYS_fcntl, 1, 36),
    Watch::From(libc::SYS_madvise, 2, 8),
    Watch::From(libc::SYS_mmap, 3, 0x8_0000),
    Watch::From(libc::SYS_mremap, 3, 4),
];

/// `RNDGETENTCNT` of `linux/random.h`.
const RNDGETENTCNT: u64 = 0x8004_5200;
/// What a busy node of old has in its pool, in bits, and how often it says so before it has more.
const SCARCE: i32 = 180;
const TIMES: u32 = 3;

/// Calls by name, with how often each was made.
pub type Counts = BTreeMap<String, u64>;

/// What the daemon did.
#[derive(Debug, Default)]
pub struct Trace {
    pub refused: Counts,
    pub made: Counts,
}

impl Trace {
    /// Answers until nobody is left to ask. Counts what the program `of` asks; it starts others,
    /// and was started by us.
    pub fn take(listener: &Listener, kernel: &Kernel, of: &PathBuf) -> Trace {
        let mut trace = Trace::default();
        let mut known = HashMap::new();
        let mut scarce = if kernel.last_call() < libc::SYS_getrandom {
            TIMES
        } else {
            0
        };
        while let Some(question) = listener.next() {
            let call = Call {
                number: question.number,
                arguments: question.arguments,
            };
            let error = kernel.refuses(&call);
            let asker = question.thread;
            let ours = *known.entry(asker).or_insert_with(|| {
                fs::read_link(format!("/proc/{asker}/exe")).is_ok_and(|program| program == *of)
            });
            if call.number == libc::SYS_execve {
                // Another program from now on.
                known.remove(&asker);
            }
            if ours {
                let name = names::of(&call, path_of(&question).as_deref());
                let counts = match error {
                    Some(_) => &mut trace.refused,
                    None => &mut trace.made,
                };
                *counts.entry(name).or_default() += 1;
            }
            let answer = match (error, question.number) {
                (Some(error), _) => Answer::Fails(error),
                // Libraries go by the release, too.
                (None, libc::SYS_uname) => {
                    put(&question, 0, &uname(kernel));
                    Answer::Done
                }
                (None, libc::SYS_ioctl) if call.arguments[1] == RNDGETENTCNT && scarce > 0 => {
                    scarce -= 1;
                    put(&question, 2, &SCARCE.to_ne_bytes());
                    Answer::Done
                }
                (None, _) => Answer::AsMeant,
            };
            listener.answer(&question, answer);
        }
        trace
    }

    pub fn add(&mut self, other: Trace) {
        for (mine, others) in [
            (&mut self.refused, other.refused),
            (&mut self.made, other.made),
        ] {
            for (name, count) in others {
                *mine.entry(name).or_default() += count;
            }
        }
    }
}

/// Six texts of 65 bytes, the release the third of them.
fn uname(kernel: &Kernel) -> Vec<u8> {
    let mut names = vec![0; 6 * 65];
    let texts = ["Linux", "ovs", kernel.release, "#1 SMP", "x86_64", "(none)"];
    for (place, text) in names.chunks_mut(65).zip(texts) {
        place[..text.len()].copy_from_slice(text.as_bytes());
    }
    names
}

/// Writes to where an argument points.
fn put(question: &Question, argument: usize, bytes: &[u8]) {
    let memory = format!("/proc/{}/mem", question.thread);
    let memory = File::options().write(true).open(memory).unwrap();
    let address = question.arguments[argument];
    memory.write_all_at(bytes, address).unwrap();
}

/// The path that the call names, where it is one of the system's own.
fn path_of(question: &Question) -> Option<String> {
    let at = match question.number {
        libc::SYS_openat => 1,
        libc::SYS_open | libc::SYS_execve => 0,
        _ => return None,
    };
    let memory = File::open(format!("/proc/{}/mem", question.thread)).ok()?;
    let mut bytes = [0; 256];
    // Shorter where the path ends near the end of what is mapped.
    let length = memory.read_at(&mut bytes, question.arguments[at]).ok()?;
    let path = bytes[..length].split(|byte| *byte == 0).next()?;
    let path = String::from_utf8_lossy(path).into_owned();
    let ours = ["/OVS/", "/etc/coriolis-ovm-exporter"];
    (!ours.iter().any(|start| path.starts_with(start))).then_some(path)
}
