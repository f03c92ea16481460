//! What was found, for people and for programs. `docs/doctor.md` describes the JSON document.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Version of the JSON document. New fields and new checks do not change it.
pub const FORMAT: u32 = 1;

/// How good something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Grade {
    /// As it should be.
    Good,
    /// The node serves, but somebody should look.
    Warning,
    /// Something that the node is for does not work.
    Bad,
}

impl Grade {
    /// What the program exits with.
    #[must_use]
    pub fn exit_status(self) -> u8 {
        match self {
            Grade::Good => 0,
            Grade::Warning => 1,
            Grade::Bad => 2,
        }
    }
}

impl fmt::Display for Grade {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Grade::Good => "good",
            Grade::Warning => "warning",
            Grade::Bad => "bad",
        })
    }
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// Which check this is; the same word in every release.
    pub check: String,
    /// Of what: a file, a repository's id, a snapshot's; absent where there is only one.
    pub subject: Option<String>,
    /// How good it is.
    pub grade: Grade,
    /// What was seen.
    pub message: String,
    /// What to do; absent where it is good.
    pub advice: Option<String>,
}

impl Finding {
    /// A finding that needs nothing to be done.
    pub(super) fn good(check: &str, message: impl Into<String>) -> Finding {
        Finding {
            check: check.to_owned(),
            subject: None,
            grade: Grade::Good,
            message: message.into(),
            advice: None,
        }
    }

    /// Something to look at.
    pub(super) fn warning(
        check: &str,
        message: impl Into<String>,
        advice: impl Into<String>,
    ) -> Finding {
        Finding {
            grade: Grade::Warning,
            advice: Some(advice.into()),
            ..Finding::good(check, message)
        }
    }

    /// Something that does not work.
    pub(super) fn bad(
        check: &str,
        message: impl Into<String>,
        advice: impl Into<String>,
    ) -> Finding {
        Finding {
            grade: Grade::Bad,
            ..Finding::warning(check, message, advice)
        }
    }

    /// The same, of this thing.
    pub(super) fn of(self, subject: impl fmt::Display) -> Finding {
        Finding {
            subject: Some(subject.to_string()),
            ..self
        }
    }
}

impl fmt::Display for Finding {
    /// One line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<8} {:<13} ", self.grade, self.check)?;
        if let Some(subject) = &self.subject {
            write!(f, "{}: ", one_line(subject))?;
        }
        f.write_str(&one_line(&self.message))?;
        match &self.advice {
            Some(advice) => write!(f, " -> {}", one_line(advice)),
            None => Ok(()),
        }
    }
}

/// What others wrote, such as an alias or an error's text, may hold anything.
fn one_line(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}

/// All of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// [`FORMAT`]
    pub format: u32,
    /// Version of the program that looked.
    pub version: String,
    /// When.
    pub checked_at: Timestamp,
    /// The worst grade.
    pub worst: Grade,
    /// In the order of the checks.
    pub findings: Vec<Finding>,
}

impl Report {
    pub(super) fn of(findings: Vec<Finding>) -> Report {
        Report {
            format: FORMAT,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            checked_at: Timestamp::now(),
            worst: worst(&findings),
            findings,
        }
    }
}

fn worst(findings: &[Finding]) -> Grade {
    let grades = findings.iter().map(|finding| finding.grade);
    grades.max().unwrap_or(Grade::Good)
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for finding in &self.findings {
            writeln!(f, "{finding}")?;
        }
        let count = |grade: Grade| {
            let of_it = self.findings.iter().filter(|found| found.grade == grade);
            of_it.count()
        };
        writeln!(
            f,
            "{}: {} good, {} warnings, {} bad",
            self.worst,
            count(Grade::Good),
            count(Grade::Warning),
            count(Grade::Bad)
        )
    }
}

/// Bytes for people, cut off after one digit: `3.4 GiB`.
pub(super) fn bytes(count: u64) -> String {
    const UNITS: [(&str, u32); 4] = [("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)];
    match UNITS.iter().find(|(_, shift)| count >> shift > 0) {
        None => format!("{count} bytes"),
        Some((unit, shift)) => {
            let tenths = (u128::from(count) * 10) >> shift;
            format!("{}.{} {unit}", tenths / 10, tenths % 10)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Programs read this: what is here stays.
    #[test]
    fn the_json_document_is_the_documented_one() {
        let report = Report {
            checked_at: "2026-11-21T12:00:00Z".parse().unwrap(),
            version: "0.2.0".to_owned(),
            ..Report::of(vec![
                Finding::good("kernel", "5.4"),
                Finding::bad("mount", "not there", "mount it").of("0004fb"),
            ])
        };
        let expected = serde_json::json!({
            "format": 1,
            "version": "0.2.0",
            "checked_at": "2026-11-21T12:00:00Z",
            "worst": "bad",
            "findings": [
                {"check": "kernel", "subject": null, "grade": "good", "message": "5.4", "advice": null},
                {"check": "mount", "subject": "0004fb", "grade": "bad", "message": "not there",
                 "advice": "mount it"},
            ],
        });
        assert_eq!(serde_json::to_value(&report).unwrap(), expected);
        assert_eq!(report.worst.exit_status(), 2);
    }

    #[test]
    fn a_finding_is_one_line_whatever_is_in_it() {
        let found = Finding::warning("agent", "a\nb\u{1b}[2J", "look").of("x\ny");
        assert_eq!(
            found.to_string(),
            "warning  agent         x y: a b [2J -> look"
        );
    }

    #[test]
    fn bytes_for_people() {
        for (count, text) in [
            (0, "0 bytes"),
            (1023, "1023 bytes"),
            (1536, "1.5 KiB"),
            (20 << 30, "20.0 GiB"),
            (u64::MAX, "16777215.9 TiB"),
        ] {
            assert_eq!(bytes(count), text);
        }
    }
}
