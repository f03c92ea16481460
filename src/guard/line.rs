//! What the daemon and the guard say to each other: plain lines, described in the
//! [room's documentation](super).

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The daemon's first line, as JSON: what to hold, and for how long at most.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// The folder of the pause records.
    pub records: PathBuf,
    /// The longest time that anything is held.
    pub max_pause: Duration,
    /// What is held.
    pub task: Task,
}

/// What a guard holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Task {
    /// A domain is paused.
    Pause {
        /// What the toolstack calls it.
        domain: String,
        /// `xm`, `xl` or both: the first that answers with a list is used.
        programs: Vec<PathBuf>,
    },
    /// Commands of the admin's run before and after.
    Command {
        /// The machine's id.
        vm_id: String,
        /// The machine's name.
        vm_name: String,
        /// Program and arguments.
        before: Vec<String>,
        /// Program and arguments.
        after: Vec<String>,
        /// How long each of them may run.
        timeout: Duration,
    },
}

impl Order {
    /// One line.
    ///
    /// # Errors
    /// For a path that is not UTF-8.
    pub fn to_line(&self) -> Result<String, serde_json::Error> {
        Ok(serde_json::to_string(self)? + "\n")
    }
}

/// Why nothing is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// The toolstack has no such domain here.
    NotHere,
    /// It is here and does not run: it has shut down, crashed, or is going.
    NotRunning,
    /// Somebody else has paused it.
    PausedBefore,
    /// It cannot be told what it does, or nothing could be done about it.
    Failed,
    /// `before_snapshot` failed.
    CommandFailed,
}

/// Why a guard lets go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// The daemon said so.
    Released,
    /// The daemon is gone, or has closed the pipe.
    HungUp,
    /// This signal.
    Signal(u32),
    /// It has held for as long as it may.
    Expired,
    /// When it was released, the domain was not paused any more, or that could not be told.
    Undone,
    /// It could not take hold, or not for certain.
    Failed,
}

/// One line from the guard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    /// It has a session of its own and catches signals.
    Ready,
    /// It is about to pause.
    Pausing,
    /// It holds, since this moment of the monotonic clock.
    Held(Duration),
    /// It begins to let go.
    LettingGo(Cause),
    /// It has let go; so long was held, at most.
    LetGo(Duration),
    /// It holds nothing, and will not.
    Refused(Refusal, String),
    /// For people: it belongs into the answer.
    Warning(String),
    /// For the log alone, as a warning: something is wrong with the node, for every guard.
    Caution(String),
    /// For the log alone.
    Note(String),
}

const REFUSALS: [(Refusal, &str); 5] = [
    (Refusal::NotHere, "not-here"),
    (Refusal::NotRunning, "not-running"),
    (Refusal::PausedBefore, "paused-before"),
    (Refusal::Failed, "failed"),
    (Refusal::CommandFailed, "command-failed"),
];

impl fmt::Display for Cause {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Cause::Released => formatter.write_str("released"),
            Cause::HungUp => formatter.write_str("hung-up"),
            Cause::Signal(number) => write!(formatter, "signal {number}"),
            Cause::Expired => formatter.write_str("expired"),
            Cause::Undone => formatter.write_str("undone"),
            Cause::Failed => formatter.write_str("failed"),
        }
    }
}

impl Cause {
    fn parse(text: &str) -> Option<Cause> {
        match text {
            "released" => Some(Cause::Released),
            "hung-up" => Some(Cause::HungUp),
            "expired" => Some(Cause::Expired),
            "failed" => Some(Cause::Failed),
            "undone" => Some(Cause::Undone),
            _ => Some(Cause::Signal(text.strip_prefix("signal ")?.parse().ok()?)),
        }
    }
}

impl fmt::Display for Said {
    /// Without the end of the line; a text keeps to it.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Said::Ready => formatter.write_str("ready"),
            Said::Pausing => formatter.write_str("pausing"),
            Said::Held(since) => write!(formatter, "held {}", since.as_micros()),
            Said::LettingGo(cause) => write!(formatter, "letting-go {cause}"),
            Said::LetGo(held) => write!(formatter, "let-go {}", held.as_micros()),
            Said::Refused(refusal, text) => {
                let word = REFUSALS.iter().find(|(known, _)| known == refusal);
                let word = word.map_or("failed", |(_, word)| word);
                write!(formatter, "refused {word} {}", one_line(text))
            }
            Said::Warning(text) => write!(formatter, "warning {}", one_line(text)),
            Said::Caution(text) => write!(formatter, "caution {}", one_line(text)),
            Said::Note(text) => write!(formatter, "note {}", one_line(text)),
        }
    }
}

impl Said {
    /// Whether nothing is held from here on.
    #[must_use]
    pub fn is_last(&self) -> bool {
        matches!(self, Said::LetGo(_) | Said::Refused(..))
    }

    /// Reads a line without its end; None for one that no guard says.
    #[must_use]
    pub fn parse(line: &str) -> Option<Said> {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        let micros = || rest.parse().ok().map(Duration::from_micros);
        match word {
            "ready" => Some(Said::Ready),
            "pausing" => Some(Said::Pausing),
            "held" => micros().map(Said::Held),
            "letting-go" => Cause::parse(rest).map(Said::LettingGo),
            "let-go" => micros().map(Said::LetGo),
            "refused" => {
                let (word, text) = rest.split_once(' ')?;
                let (refusal, _) = REFUSALS.iter().find(|(_, known)| *known == word)?;
                Some(Said::Refused(*refusal, text.to_owned()))
            }
            "warning" => Some(Said::Warning(rest.to_owned())),
            "caution" => Some(Said::Caution(rest.to_owned())),
            "note" => Some(Said::Note(rest.to_owned())),
            _ => None,
        }
    }
}

fn one_line(text: &str) -> String {
    let printable = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    printable.take(1000).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_is_read_as_it_was_said() {
        let mut lines = vec![
            Said::Ready,
            Said::Pausing,
            Said::Held(Duration::from_micros(123_456_789)),
            Said::LetGo(Duration::from_micros(7)),
            Said::Warning("xm list: no answer".to_owned()),
            Said::Caution("the kernel may kill it".to_owned()),
            Said::Note("no session".to_owned()),
        ];
        for cause in [
            Cause::Released,
            Cause::HungUp,
            Cause::Signal(15),
            Cause::Expired,
            Cause::Failed,
            Cause::Undone,
        ] {
            lines.push(Said::LettingGo(cause));
        }
        for (refusal, _) in REFUSALS {
            lines.push(Said::Refused(refusal, "because of it".to_owned()));
        }
        for said in lines {
            assert_eq!(Said::parse(&said.to_string()), Some(said));
        }
    }

    #[test]
    fn a_text_cannot_make_a_line_of_its_own() {
        let said = Said::Warning("one\nlet-go 1\r\n".to_owned()).to_string();
        assert_eq!(said, "warning one let-go 1  ");
    }

    #[test]
    fn what_no_guard_says_is_nothing() {
        for line in [
            "",
            "held",
            "held x",
            "let-go -1",
            "letting-go x",
            "refused",
            "refused x y",
            "ok",
        ] {
            assert_eq!(Said::parse(line), None, "{line:?}");
        }
    }

    #[test]
    fn an_order_is_one_line() {
        let order = Order {
            records: "/etc/x/pauses".into(),
            max_pause: Duration::from_secs(5),
            task: Task::Pause {
                domain: "a\nb\"c".into(),
                programs: vec!["/usr/sbin/xm".into()],
            },
        };
        let line = order.to_line().unwrap();
        assert_eq!(line.matches('\n').count(), 1);
        assert_eq!(serde_json::from_str::<Order>(&line).unwrap(), order);
    }
}
