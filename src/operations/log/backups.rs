//! What a log that was rotated is called, and which of them are too many.
//!
//! Names are those of the first generation, `exporter-2026-11-21T20-44-07.123.log` (UTC) beside
//! `exporter.log`, so that what it left is counted and removed with ours.

use std::ffi::{OsStr, OsString};
use std::time::Duration;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

const MOMENT: &str = "%Y-%m-%dT%H-%M-%S%.3f";
/// The first generation could pack them.
const PACKED: &str = ".gz";

/// How many rotated logs are kept, and for how long; 0 sets no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Keep {
    pub(super) files: u32,
    pub(super) age: Duration,
}

/// What the log of this name is renamed to at a moment; `None` where the name is not text.
pub(super) fn name(log: &OsStr, at: Timestamp) -> Option<OsString> {
    let (stem, ending) = parts(log.to_str()?);
    Some(format!("{stem}-{}{ending}", at.strftime(MOMENT)).into())
}

/// Those of a folder's names that are rotated logs of this one and are not to be kept.
pub(super) fn surplus(
    log: &OsStr,
    names: impl IntoIterator<Item = OsString>,
    keep: Keep,
    now: Timestamp,
) -> Vec<OsString> {
    let Some(log) = log.to_str() else {
        return Vec::new();
    };
    let mut found: Vec<(Timestamp, OsString)> = names
        .into_iter()
        .filter_map(|name| Some((moment(log, name.to_str()?)?, name)))
        .collect();
    found.sort_unstable();
    found.reverse();
    let mut moments = 0;
    let mut last = None;
    found.retain(|(at, _)| {
        // Packed and not yet removed as it was: both are the same log.
        if last.replace(*at) != Some(*at) {
            moments += 1;
        }
        let many = keep.files != 0 && moments > keep.files;
        let age = Duration::try_from(now.duration_since(*at)).unwrap_or_default();
        many || (!keep.age.is_zero() && age > keep.age)
    });
    found.into_iter().map(|(_, name)| name).collect()
}

/// When a log was rotated, if this is a name of one.
fn moment(log: &str, name: &str) -> Option<Timestamp> {
    let (stem, ending) = parts(log);
    let rest = name.strip_prefix(stem)?.strip_prefix('-')?;
    let rest = rest.strip_suffix(PACKED).unwrap_or(rest);
    let text = rest.strip_suffix(ending)?;
    let at = DateTime::strptime(MOMENT, text).ok()?;
    let at = at.to_zoned(TimeZone::UTC).ok()?.timestamp();
    // Exactly as it is written: nothing else is ours to remove.
    (at.strftime(MOMENT).to_string() == text).then_some(at)
}

/// What stands before the last point, and the rest.
fn parts(log: &str) -> (&str, &str) {
    log.split_at(log.rfind('.').unwrap_or(log.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: u64 = 24 * 3600;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn removed(names: &[&str], files: u32, days: u64) -> Vec<OsString> {
        let keep = Keep {
            files,
            age: Duration::from_secs(days * DAY),
        };
        let names = names.iter().map(OsString::from);
        surplus(OsStr::new("a.log"), names, keep, at("2026-11-21T00:00:00Z"))
    }

    #[test]
    fn names_are_those_of_the_first_generation() {
        let at = at("2026-11-21T20:44:07.123456Z");
        for (log, expected) in [
            ("exporter.log", "exporter-2026-11-21T20-44-07.123.log"),
            ("log", "log-2026-11-21T20-44-07.123"),
            ("a.b.c", "a.b-2026-11-21T20-44-07.123.c"),
        ] {
            assert_eq!(name(OsStr::new(log), at), Some(expected.into()));
            assert_eq!(
                moment(log, expected),
                Some(self::at("2026-11-21T20:44:07.123Z"))
            );
        }
    }

    const FOUR: [&str; 4] = [
        "a-2026-11-20T00-00-00.000.log",
        "a-2026-11-18T00-00-00.000.log",
        "a-2026-11-19T00-00-00.000.log.gz",
        "a-2026-10-01T00-00-00.000.log",
    ];

    #[test]
    fn the_newest_are_kept() {
        assert_eq!(removed(&FOUR, 0, 0), [""; 0]);
        assert_eq!(removed(&FOUR, 3, 0), [FOUR[3]]);
        assert_eq!(removed(&FOUR, 1, 0), [FOUR[2], FOUR[1], FOUR[3]]);
        assert_eq!(removed(&FOUR, 0, 28), [FOUR[3]]);
        assert_eq!(removed(&FOUR, 2, 28), [FOUR[1], FOUR[3]]);
        assert_eq!(removed(&FOUR, 0, 1), [FOUR[2], FOUR[1], FOUR[3]]);
    }

    #[test]
    fn what_is_not_ours_is_neither_counted_nor_removed() {
        let others = [
            "a.log",
            "a.log.1",
            "b-2026-11-20T00-00-00.000.log",
            "a-b-2026-01-20T00-00-00.000.log",
            "a-2026-01-20.log",
            "a-2026-01-20T00-00-00.log",
            "a-2026-01-20T00-00-00.000000.log",
            "a-2026-13-20T00-00-00.000.log",
            "a-2026-01-20T00-00-00.000.log.old",
            "a-2026-01-20T00-00-00.000",
            "a-.log",
        ];
        assert_eq!(removed(&others, 1, 1), [""; 0]);
    }

    #[test]
    fn one_that_was_packed_counts_once() {
        let names = [
            "a-2026-11-20T00-00-00.000.log",
            "a-2026-11-20T00-00-00.000.log.gz",
            "a-2026-11-19T00-00-00.000.log",
        ];
        assert_eq!(removed(&names, 2, 0), [""; 0]);
        assert_eq!(removed(&names, 1, 0), [names[2]]);
    }
}
