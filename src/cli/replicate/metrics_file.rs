//! What became of the last run, in a file that node_exporter's textfile collector reads.

use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use jiff::Timestamp;

use super::shared_state::Held;
use crate::client::replicate::Outcome;
use crate::sys::durable::{Beside, write_beside_as};
use crate::sys::regular_file;

/// The largest file that is read: ours has less than two thousand bytes.
const LARGEST: u64 = 64 << 10;
/// Whoever collects it is somebody else, and there is no secret in it.
const MODE: u32 = 0o644;

/// Name, and what it is: the same in the files of all replicas, or the collector refuses them.
const FIGURES: [(&str, &str); 9] = [
    (RUN, "When the last run ended."),
    (SUCCESS, "Whether the last run has succeeded."),
    (
        BASE,
        "When the snapshot was taken that the replica holds, where no disk is disturbed.",
    ),
    (
        DISTURBED,
        "Disks that were written to since, by a run that has not succeeded: the replica is of no moment.",
    ),
    (DONE, "When the last run that succeeded ended."),
    (TOOK, "How long that took."),
    (RECEIVED, "Bytes that it received."),
    (WRITTEN, "Bytes of the disks that it wrote."),
    (ZEROED, "Bytes of the disks that became zeros by it."),
];
const RUN: &str = "ovm_exporter_replica_last_run_timestamp_seconds";
const SUCCESS: &str = "ovm_exporter_replica_last_run_success";
const BASE: &str = "ovm_exporter_replica_base_timestamp_seconds";
const DISTURBED: &str = "ovm_exporter_replica_disturbed_disks";
const DONE: &str = "ovm_exporter_replica_last_success_timestamp_seconds";
const TOOK: &str = "ovm_exporter_replica_last_success_duration_seconds";
const RECEIVED: &str = "ovm_exporter_replica_last_success_received_bytes";
const WRITTEN: &str = "ovm_exporter_replica_last_success_written_bytes";
const ZEROED: &str = "ovm_exporter_replica_last_success_zeroed_bytes";

/// What a file of ours begins with.
const BEGIN: &str = "# HELP ovm_exporter_replica_";

/// The file of one replica.
pub struct MetricsFile {
    directory: PathBuf,
    name: String,
    labels: String,
}

impl MetricsFile {
    /// The file need not be there; what is there under its name has to be empty, or ours. `vm` is what
    /// the machine is called on the command line: it may not be known by another name yet when a run fails.
    /// `replica` is where this one is kept: a machine may have several, and two series of the same labels
    /// make the collector refuse all files.
    pub fn at(path: &Path, vm: &str, replica: &Path) -> anyhow::Result<MetricsFile> {
        let what = || format!("--metrics-file {}", path.display());
        let whole = std::path::absolute(path).with_context(what)?;
        let (Some(directory), Some(name)) = (whole.parent(), whole.file_name()) else {
            anyhow::bail!("{}: it names no file", what());
        };
        let name = name.to_str().context("its name is no UTF-8");
        let file = MetricsFile {
            directory: directory.to_owned(),
            name: name.with_context(what)?.to_owned(),
            labels: format!(
                r#"{{vm="{}",replica="{}"}}"#,
                escaped(vm),
                escaped(&replica.to_string_lossy())
            ),
        };
        if path.as_os_str().as_encoded_bytes().ends_with(b"/") {
            anyhow::bail!("{}: it names no file", what());
        }
        match file.before() {
            Err(error) if is_anothers(&error) => Err(error).with_context(what),
            // That may be mended by the time a run ends, as where a file system is not mounted yet.
            _ => Ok(file),
        }
    }

    /// Why it cannot be written as things are, where that is known.
    pub fn obstacle(&self) -> Option<io::Error> {
        let read = std::fs::read_dir(&self.directory);
        let path = self.directory.display();
        read.err()
            .map(|error| io::Error::new(error.kind(), format!("{path}: {error}")))
    }

    /// Replaces it by what is known after a run: what that has done, None where it has failed, and what
    /// the replica holds by its state. What nobody knows now stays as it is.
    pub fn tell(
        &self,
        outcome: Option<&Outcome>,
        held: Option<Held>,
        now: Timestamp,
    ) -> io::Result<()> {
        let before = match self.before() {
            Err(error) if is_anothers(&error) => Err(error),
            // That it cannot be read is no reason to lose the figures of now.
            before => Ok(before.unwrap_or_default()),
        };
        before
            .map(|before| text(&self.labels, outcome, held, now, &before))
            .and_then(|text| {
                write_beside_as(&self.directory, &self.name, text.as_bytes(), MODE)
                    .and_then(Beside::rename)
            })
            .map_err(|error| {
                let path = self.directory.join(&self.name);
                let text = format!("{}: cannot write it: {error}", path.display());
                io::Error::new(error.kind(), text)
            })
    }

    fn before(&self) -> io::Result<String> {
        match regular_file::read(&self.directory.join(&self.name), LARGEST) {
            Ok(bytes) if !bytes.is_empty() && !bytes.starts_with(BEGIN.as_bytes()) => {
                let text = "it holds something else; another name, or remove it";
                Err(io::Error::new(io::ErrorKind::InvalidInput, text))
            }
            Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
            Err(error) => Err(error),
        }
    }
}

/// Whether what is there is not ours to replace.
fn is_anothers(error: &io::Error) -> bool {
    use io::ErrorKind::{FileTooLarge, InvalidInput, NotADirectory};
    matches!(error.kind(), FileTooLarge | InvalidInput | NotADirectory)
}

fn escaped(label: &str) -> String {
    let label = label.replace('\\', r"\\").replace('"', "\\\"");
    label.replace('\n', r"\n")
}

fn text(
    labels: &str,
    outcome: Option<&Outcome>,
    held: Option<Held>,
    now: Timestamp,
    before: &str,
) -> String {
    let mut text = String::new();
    let base_taken_at = held.and_then(|held| held.base_taken_at);
    let base_taken_at = outcome.map_or(base_taken_at, |outcome| outcome.taken_at);
    for (name, help) in FIGURES {
        let series = format!("{name}{labels} ");
        let value = match (name, outcome) {
            (RUN, _) => Some(seconds(now)),
            (SUCCESS, _) => Some(u8::from(outcome.is_some()).to_string()),
            (BASE, _) => base_taken_at.map(seconds),
            (DISTURBED, Some(_)) => Some("0".to_owned()),
            (DISTURBED, None) => held.map(|held| held.disturbed.to_string()),
            (_, Some(outcome)) => Some(figure(name, outcome, now)),
            (_, None) => None,
        };
        let is_gone = name == BASE && outcome.is_some();
        let value = value.or_else(|| kept(before, &series).filter(|_| !is_gone));
        if let Some(value) = value {
            let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} gauge");
            let _ = writeln!(text, "{series}{value}");
        }
    }
    text
}

/// A figure of a run that has succeeded.
fn figure(name: &str, outcome: &Outcome, now: Timestamp) -> String {
    let disks = || outcome.disks.iter().chain(&outcome.finished_disks);
    let bytes: u64 = match name {
        RECEIVED => disks().map(|disk| disk.received).sum(),
        WRITTEN => disks().map(|disk| disk.data).sum(),
        ZEROED => disks().map(|disk| disk.zeros).sum(),
        TOOK => return format!("{:.3}", outcome.time.as_secs_f64()),
        _ => return seconds(now),
    };
    bytes.to_string()
}

/// Its value in the file as it was, if it is a number.
fn kept(before: &str, series: &str) -> Option<String> {
    let value = before.lines().find_map(|line| line.strip_prefix(series))?;
    let number: f64 = value.parse().ok()?;
    number.is_finite().then(|| value.to_owned())
}

fn seconds(time: Timestamp) -> String {
    format!("{:.3}", time.as_duration().as_secs_f64())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;
    use std::time::Duration;

    use uuid::Uuid;

    use super::*;
    use crate::client::replicate::{DiskOutcome, How};
    use crate::protocol::Consistency;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn disk(received: u64) -> DiskOutcome {
        DiskOutcome {
            name: "a.img".to_owned(),
            target: "a".to_owned(),
            size: 1 << 30,
            how: How::Full,
            why: String::new(),
            method: "extents".to_owned(),
            data: 2 * received,
            zeros: 3 * received,
            zeros_skipped: 0,
            received,
            ranges: 1,
            resumed: 0,
            endpoints: Vec::new(),
            checked: None,
            time: Duration::ZERO,
        }
    }

    fn outcome(taken_at: Option<Timestamp>) -> Outcome {
        Outcome {
            vm: "id".to_owned(),
            snapshot: Uuid::nil(),
            taken_at,
            previous: None,
            consistency: Consistency::None,
            finished: None,
            finished_disks: vec![disk(5)],
            disks: vec![disk(100), disk(1000)],
            forgotten: Vec::new(),
            dropped: Vec::new(),
            warnings: Vec::new(),
            time: Duration::from_millis(1500),
        }
    }

    fn values(text: &str) -> Vec<&str> {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        lines
            .map(|line| line.strip_prefix("ovm_exporter_replica_").unwrap())
            .collect()
    }

    const WEB: &str = r#"{vm="web",replica="/r/web"}"#;

    fn held(base_taken_at: i64, disturbed: usize) -> Option<Held> {
        let base_taken_at = Some(at(base_taken_at));
        Some(Held {
            base_taken_at,
            disturbed,
        })
    }

    const AFTER_SUCCESS: [&str; 9] = [
        r#"last_run_timestamp_seconds{vm="web",replica="/r/web"} 1000.000"#,
        r#"last_run_success{vm="web",replica="/r/web"} 1"#,
        r#"base_timestamp_seconds{vm="web",replica="/r/web"} 900.000"#,
        r#"disturbed_disks{vm="web",replica="/r/web"} 0"#,
        r#"last_success_timestamp_seconds{vm="web",replica="/r/web"} 1000.000"#,
        r#"last_success_duration_seconds{vm="web",replica="/r/web"} 1.500"#,
        r#"last_success_received_bytes{vm="web",replica="/r/web"} 1105"#,
        r#"last_success_written_bytes{vm="web",replica="/r/web"} 2210"#,
        r#"last_success_zeroed_bytes{vm="web",replica="/r/web"} 3315"#,
    ];

    #[test]
    fn a_failure_leaves_what_is_known_of_the_last_success() {
        let first = text(WEB, Some(&outcome(Some(at(900)))), None, at(1000), "");
        assert_eq!(values(&first), AFTER_SUCCESS);
        assert_eq!(first.matches("# TYPE ").count(), AFTER_SUCCESS.len());
        // By the state, and by the file where nobody could read that.
        for base in [held(900, 0), None] {
            let failed = text(WEB, None, base, at(2000), &first);
            let found = values(&failed);
            assert_eq!(
                found[0],
                r#"last_run_timestamp_seconds{vm="web",replica="/r/web"} 2000.000"#
            );
            assert_eq!(found[1], r#"last_run_success{vm="web",replica="/r/web"} 0"#);
            assert_eq!(found[2..], AFTER_SUCCESS[2..]);
        }
    }

    #[test]
    fn a_replica_of_two_moments_says_so() {
        let first = text(WEB, Some(&outcome(Some(at(900)))), None, at(1000), "");
        let failed = text(WEB, None, held(900, 2), at(2000), &first);
        let line = r#"disturbed_disks{vm="web",replica="/r/web"} 2"#;
        assert_eq!(values(&failed)[3], line);
        // Nobody knows better.
        let again = text(WEB, None, None, at(3000), &failed);
        assert_eq!(values(&again)[3], line);
        let done = text(WEB, Some(&outcome(Some(at(3900)))), None, at(4000), &again);
        assert_eq!(values(&done)[3], AFTER_SUCCESS[3]);
    }

    #[test]
    fn nothing_is_said_that_nobody_knows() {
        let never = text(WEB, None, None, at(1000), "");
        assert_eq!(values(&never).len(), 2, "{never}");
        let first = text(WEB, Some(&outcome(Some(at(900)))), None, at(1000), "");
        // The time of the base before is not the new one's.
        let next = text(WEB, Some(&outcome(None)), held(900, 0), at(2000), &first);
        assert!(!next.contains(BASE), "{next}");
        let other = text(&WEB.replace("web", "db"), None, None, at(2000), &first);
        assert_eq!(values(&other).len(), 2, "{other}");
        let damaged = first.replace("1105", "NaN").replace("2210", "many");
        let kept = text(WEB, None, None, at(2000), &damaged);
        assert_eq!(values(&kept).len(), 7, "{kept}");
    }

    #[test]
    fn a_name_cannot_break_its_line() {
        let labels = format!(r#"{{vm="{}"}}"#, escaped("a\"b\\c\nd"));
        let text = text(&labels, None, None, at(1), "");
        assert!(text.contains(r#"{vm="a\"b\\c\nd"} 0"#), "{text}");
        assert_eq!(values(&text).len(), 2, "{text}");
    }

    #[test]
    fn it_is_replaced_whole_and_anybody_may_read_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("web.prom");
        let file = MetricsFile::at(&path, "web", Path::new("/r/web")).unwrap();
        assert!(!path.exists());
        let done = outcome(Some(at(900)));
        file.tell(Some(&done), None, at(1000)).unwrap();
        file.tell(None, None, at(2000)).unwrap();
        let found = fs::read_to_string(&path).unwrap();
        assert_eq!(values(&found).len(), 9, "{found}");
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o644);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        fs::write(folder.path().join("precious"), "somebody's").unwrap();
        let at = |path: &Path| MetricsFile::at(path, "web", Path::new("/r/web"));
        for wrong in [".", "absent/", "precious", "precious/web.prom"] {
            let error = at(&folder.path().join(wrong)).err().unwrap().to_string();
            assert!(error.contains("--metrics-file"), "{error}");
        }
        // What was put there later.
        fs::write(&path, "somebody's").unwrap();
        let error = file.tell(None, None, self::at(3000)).unwrap_err();
        assert!(error.to_string().contains("something else"), "{error}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "somebody's");
        fs::write(&path, "").unwrap();
        file.tell(None, None, self::at(3000)).unwrap();
    }

    #[test]
    fn a_folder_may_come_later() {
        let folder = tempfile::tempdir().unwrap();
        let later = folder.path().join("later");
        let path = later.join("web.prom");
        let file = MetricsFile::at(&path, "web", Path::new("/r/web")).unwrap();
        assert!(file.obstacle().unwrap().to_string().contains("later"));
        let error = file.tell(None, None, at(1000)).unwrap_err().to_string();
        assert!(error.contains("web.prom"), "{error}");
        fs::create_dir(&later).unwrap();
        assert!(file.obstacle().is_none());
        file.tell(None, None, at(1000)).unwrap();
        assert!(path.is_file());
    }
}
