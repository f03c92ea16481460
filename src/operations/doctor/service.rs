//! Whether the node starts the daemon: a unit of systemd, or a job of upstart.

use std::path::Path;

use super::finding::Finding;
use super::round::Notes;

const CHECK: &str = "service";
const UNIT: &str = "coriolis-ovm-exporter.service";
const UNIT_FOLDERS: [&str; 3] = [
    "etc/systemd/system",
    "usr/lib/systemd/system",
    "lib/systemd/system",
];
const ENABLED: &str = "etc/systemd/system/multi-user.target.wants";
const JOB: &str = "etc/init/coriolis-ovm-exporter.conf";

/// `root` is `/`.
pub(super) fn check(notes: &Notes, root: &Path) {
    notes.found(judge(root));
}

fn judge(root: &Path) -> Finding {
    let is_there = |path: &Path| root.join(path).symlink_metadata().is_ok();
    if is_there(Path::new("run/systemd/system")) {
        let unit = UNIT_FOLDERS
            .iter()
            .map(|folder| Path::new(folder).join(UNIT))
            .find(|unit| is_there(unit));
        return match unit {
            None => Finding::warning(
                CHECK,
                "systemd has no unit of the daemon",
                "copy contrib/systemd to /etc/systemd/system, then systemctl enable --now \
                 coriolis-ovm-exporter",
            ),
            Some(unit) if !is_there(&Path::new(ENABLED).join(UNIT)) => Finding::warning(
                CHECK,
                format!("/{} is there, but not enabled", unit.display()),
                "systemctl enable coriolis-ovm-exporter",
            ),
            Some(unit) => Finding::good(CHECK, format!("/{} is enabled", unit.display())),
        };
    }
    if is_there(Path::new("sbin/initctl")) {
        return match is_there(Path::new(JOB)) {
            true => Finding::good(CHECK, format!("/{JOB} is there")),
            false => Finding::warning(
                CHECK,
                "upstart has no job of the daemon",
                "copy contrib/upstart to /etc/init, then start coriolis-ovm-exporter",
            ),
        };
    }
    Finding::warning(
        CHECK,
        "neither systemd nor upstart runs here",
        "see that something starts the daemon with the node",
    )
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::finding::Grade;
    use super::*;

    #[test]
    fn a_unit_must_be_there_and_enabled() {
        let root = tempfile::tempdir().unwrap();
        let make = |path: &str| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        };
        let told = || {
            let found = judge(root.path());
            (found.grade, found.message)
        };
        assert!(told().1.contains("neither"));
        make("sbin/initctl");
        assert!(told().1.contains("upstart has no job"));
        make(JOB);
        assert_eq!(told().0, Grade::Good);
        fs::create_dir_all(root.path().join("run/systemd/system")).unwrap();
        assert!(told().1.contains("systemd has no unit"));
        make(&format!("usr/lib/systemd/system/{UNIT}"));
        assert!(told().1.contains("not enabled"));
        make(&format!("{ENABLED}/{UNIT}"));
        assert_eq!(told().0, Grade::Good);
    }
}
