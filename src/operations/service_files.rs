//! Where systemd and upstart look for the daemon, and where the packages and people put it.

use std::path::{Path, PathBuf};

const UNIT: &str = "coriolis-ovm-exporter.service";
/// By hand, by a package, by a package of old.
const UNIT_FOLDERS: [&str; 3] = [
    "etc/systemd/system",
    "usr/lib/systemd/system",
    "lib/systemd/system",
];
const ENABLED: &str = "etc/systemd/system/multi-user.target.wants";
const JOB: &str = "etc/init/coriolis-ovm-exporter.conf";

/// What brings the unit of systemd there.
pub(super) const UNIT_COMES_BY: &str = "install the RPM or DEB (/usr/lib/systemd/system), or copy contrib/systemd to /etc/systemd/system";
/// What brings the job of upstart there.
pub(super) const JOB_COMES_BY: &str =
    "install the RPM or DEB, or copy contrib/upstart to /etc/init";

/// What starts a node's services.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum InitSystem {
    /// With the daemon's unit, where there is one, and whether it is enabled.
    Systemd(Option<(PathBuf, bool)>),
    /// With the daemon's job, where there is one.
    Upstart(Option<PathBuf>),
    /// Something else, or nothing.
    Other,
}

impl InitSystem {
    /// What runs below `root`, which is `/`.
    pub(super) fn of(root: &Path) -> InitSystem {
        let is_there = |path: &Path| root.join(path).symlink_metadata().is_ok();
        if is_there(Path::new("run/systemd/system")) {
            let unit = UNIT_FOLDERS
                .iter()
                .map(|folder| Path::new(folder).join(UNIT))
                .find(|unit| is_there(unit));
            let enabled = is_there(&Path::new(ENABLED).join(UNIT));
            return InitSystem::Systemd(unit.map(|unit| (Path::new("/").join(unit), enabled)));
        }
        if is_there(Path::new("sbin/initctl")) {
            let job = Path::new(JOB);
            return InitSystem::Upstart(is_there(job).then(|| Path::new("/").join(job)));
        }
        InitSystem::Other
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::fs;

    use super::*;

    /// Puts an empty file there, and the folders that lead to it.
    pub(in crate::operations) fn make(root: &Path, path: &str) {
        let path = root.join(path.trim_start_matches('/'));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "").unwrap();
    }

    #[test]
    fn what_runs_and_what_is_there() {
        let root = tempfile::tempdir().unwrap();
        let look = || InitSystem::of(root.path());
        assert_eq!(look(), InitSystem::Other);
        make(root.path(), "sbin/initctl");
        assert_eq!(look(), InitSystem::Upstart(None));
        make(root.path(), JOB);
        let job = Path::new("/etc/init/coriolis-ovm-exporter.conf").to_owned();
        assert_eq!(look(), InitSystem::Upstart(Some(job)));
        make(root.path(), "run/systemd/system/x");
        assert_eq!(look(), InitSystem::Systemd(None));
        let unit = "/usr/lib/systemd/system/coriolis-ovm-exporter.service";
        make(root.path(), unit);
        assert_eq!(look(), InitSystem::Systemd(Some((unit.into(), false))));
        make(root.path(), &format!("{ENABLED}/{UNIT}"));
        assert_eq!(look(), InitSystem::Systemd(Some((unit.into(), true))));
        // What a hand has put there goes first, as systemd has it.
        let by_hand = "/etc/systemd/system/coriolis-ovm-exporter.service";
        make(root.path(), by_hand);
        assert_eq!(look(), InitSystem::Systemd(Some((by_hand.into(), true))));
    }
}
