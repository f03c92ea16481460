//! The kernel: which one, and whether it is one that this was tried on.

use nix::sys::utsname::uname;

use super::finding::Finding;
use super::round::Notes;

const CHECK: &str = "kernel";
/// That of Oracle VM Server 3.3.
const OLDEST: (u32, u32) = (3, 8);

pub(super) fn check(notes: &Notes) {
    notes.found(match uname() {
        Ok(names) => judge(
            &names.release().to_string_lossy(),
            &names.machine().to_string_lossy(),
        ),
        Err(error) => Finding::warning(CHECK, format!("unknown: {error}"), "look at uname -a"),
    });
}

fn judge(release: &str, machine: &str) -> Finding {
    let shown = format!("{release} on {machine}");
    match version(release) {
        Some(found) if found >= OLDEST => Finding::good(CHECK, shown),
        _ => Finding::warning(
            CHECK,
            shown,
            "nothing older than the 3.8 of Oracle VM Server 3.3 was tried: try it with demo --dir",
        ),
    }
}

fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::super::finding::Grade;
    use super::*;

    #[test]
    fn releases_of_nodes() {
        for (release, grade) in [
            ("3.8.13-68.3.4.el6uek.x86_64", Grade::Good),
            ("4.1.12-124.16.4.el6uek.x86_64", Grade::Good),
            ("6.1.0-18-amd64", Grade::Good),
            ("3.0.36", Grade::Warning),
            ("2.6.39-300.22.2.el5uek", Grade::Warning),
            ("what", Grade::Warning),
        ] {
            assert_eq!(judge(release, "x86_64").grade, grade, "{release}");
        }
    }
}
