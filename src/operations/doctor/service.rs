//! Whether the node starts the daemon: a unit of systemd, or a job of upstart.

use std::path::Path;

use super::super::service_files::{InitSystem, JOB_COMES_BY, UNIT_COMES_BY};
use super::finding::Finding;
use super::round::Notes;

const CHECK: &str = "service";

/// `root` is `/`.
pub(super) fn check(notes: &Notes, root: &Path) {
    notes.found(judge(&InitSystem::of(root)));
}

fn judge(found: &InitSystem) -> Finding {
    match found {
        InitSystem::Systemd(None) => Finding::warning(
            CHECK,
            "systemd has no unit of the daemon",
            format!("{UNIT_COMES_BY}; then systemctl enable --now coriolis-ovm-exporter"),
        ),
        InitSystem::Systemd(Some((unit, false))) => Finding::warning(
            CHECK,
            format!("{} is there, but not enabled", unit.display()),
            "systemctl enable coriolis-ovm-exporter",
        ),
        InitSystem::Systemd(Some((unit, true))) => {
            Finding::good(CHECK, format!("{} is enabled", unit.display()))
        }
        InitSystem::Upstart(None) => Finding::warning(
            CHECK,
            "upstart has no job of the daemon",
            format!("{JOB_COMES_BY}; then start coriolis-ovm-exporter"),
        ),
        InitSystem::Upstart(Some(job)) => {
            Finding::good(CHECK, format!("{} is there", job.display()))
        }
        InitSystem::Other => Finding::warning(
            CHECK,
            "neither systemd nor upstart runs here",
            "see that something starts the daemon with the node",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::super::finding::Grade;
    use super::*;

    #[test]
    fn a_unit_must_be_there_and_enabled() {
        let told = |found: InitSystem| {
            let finding = judge(&found);
            (finding.grade, finding.message, finding.advice)
        };
        let unit = |enabled| InitSystem::Systemd(Some(("/x/unit".into(), enabled)));
        assert!(told(InitSystem::Other).1.contains("neither"));
        assert!(
            told(InitSystem::Upstart(None))
                .1
                .contains("upstart has no job")
        );
        assert_eq!(
            told(InitSystem::Upstart(Some("/x/job".into()))).0,
            Grade::Good
        );
        let (grade, message, advice) = told(InitSystem::Systemd(None));
        assert_eq!(grade, Grade::Warning);
        assert!(message.contains("systemd has no unit"));
        assert!(advice.unwrap().contains("/usr/lib/systemd/system"));
        assert!(told(unit(false)).1.contains("not enabled"));
        assert_eq!(told(unit(true)).0, Grade::Good);
    }
}
