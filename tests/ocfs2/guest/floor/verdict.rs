//! What was refused, and what was used instead.

use nix::libc;

use super::kernel::Kernel;
use super::trace::{Counts, Trace};

/// For every call that may be refused, what has to be seen in its place. Nothing where it only
/// asks for more than is needed.
const INSTEAD: &[(&str, Option<&str>)] = &[
    ("clone3", Some("clone")),
    ("getrandom", Some("openat /dev/urandom")),
    ("ioctl FICLONE", Some("ioctl OCFS2_IOC_REFLINK")),
    ("pidfd_open", Some("wait4")),
    ("renameat2", Some("linkat")),
    ("statx", Some("newfstatat")),
    // Whether a file lies on XFS's realtime device.
    ("ioctl FS_IOC_FSGETXATTR", None),
    // AWS-LC's guard against forks, and its test of whether madvise refuses anything. The daemon
    // forks only to start another program.
    ("madvise MADV_WIPEONFORK", None),
    ("madvise -1", None),
    // glibc's sched_getcpu asks the kernel then.
    ("rseq", None),
];

/// Seen on every kernel of old: the filter was there, and the daemon met it.
const ALWAYS: [&str; 4] = ["clone3", "ioctl FICLONE", "pidfd_open", "statx"];
/// Before 3.17 too.
const WITHOUT_GETRANDOM: [&str; 2] = ["getrandom", "renameat2"];

/// Fails where the filter refused nothing, where it refused what nobody has thought about, and
/// where the older call was not seen.
pub fn on(kernel: &Kernel, trace: &Trace) {
    let Trace { refused, made } = trace;
    let mut missed: Vec<String> = Vec::new();
    for (name, count) in refused {
        let known = INSTEAD.iter().find(|(known, _)| known == name);
        let told = match known {
            None => {
                missed.push(format!("{name}: nobody has thought about its refusal"));
                "?".to_owned()
            }
            Some((_, None)) => "nothing".to_owned(),
            Some((_, Some(older))) => match made.get(*older) {
                Some(times) => format!("{older} ({times} times)"),
                None => {
                    missed.push(format!("{name}: {older} was not seen"));
                    "?".to_owned()
                }
            },
        };
        println!("  refused: {name} ({count} times), instead: {told}");
    }
    let must = ALWAYS.iter().chain(
        WITHOUT_GETRANDOM
            .iter()
            .filter(|_| kernel.last_call() < libc::SYS_getrandom),
    );
    missed.extend(
        must.filter(|name| !refused.contains_key(**name))
            .map(|name| format!("{name} was not refused")),
    );
    for (name, _) in starting(made, "openat /proc/").chain(starting(made, "openat /sys/")) {
        println!("  not there: {}", name.trim_start_matches("openat "));
    }
    // What glibc's own look-up of names would open and load.
    let modules = |name: &str| name.contains("nsswitch") || name.contains("libnss");
    missed.extend(made.keys().filter(|name| modules(name)).cloned());
    assert!(missed.is_empty(), "{missed:#?}\nmade: {made:#?}");
}

fn starting<'c>(
    counts: &'c Counts,
    start: &'static str,
) -> impl Iterator<Item = (&'c String, &'c u64)> {
    counts
        .iter()
        .filter(move |(name, _)| name.starts_with(start))
}
