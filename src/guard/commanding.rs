//! What a guard does with the commands of the configuration: `after` runs whenever `before` was
//! started. Nothing here touches the system: [`Surroundings`] does.

use std::time::Duration;

use super::line::{Cause, Refusal, Said};

/// How a command ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Run {
    /// With success.
    Well,
    /// It could not be started.
    NotStarted(String),
    /// It failed, or was killed.
    Badly(String),
}

/// What the guard acts on. Faked in tests.
pub(super) trait Surroundings {
    /// The monotonic clock.
    fn now(&mut self) -> Duration;
    /// Runs `before_snapshot`; a reason to let go ends it.
    fn before(&mut self) -> Run;
    /// Runs `after_snapshot`, whatever is heard.
    fn after(&mut self) -> Run;
    /// Writes the record to the device.
    fn write_record(&mut self) -> Result<(), String>;
    /// Waits for a reason to let go, until this moment of the clock.
    fn listen(&mut self, until: Duration) -> Option<Cause>;
    /// Tells the daemon. Never blocks.
    fn say(&mut self, said: Said);
}

/// Runs `before`, holds until there is a reason to let go, runs `after`. The time to hold counts
/// from the end of `before`.
pub(super) fn hold(node: &mut impl Surroundings, max_pause: Duration) {
    let now = node.now();
    if let Some(cause) = node.listen(now) {
        let reason = format!("told to let go before anything was run: {cause}");
        node.say(Said::Refused(Refusal::Failed, reason));
        return;
    }
    if let Err(reason) = node.write_record() {
        node.say(Said::Refused(Refusal::Failed, reason));
        return;
    }
    let failure = match node.before() {
        Run::Well => None,
        Run::NotStarted(reason) => {
            node.say(Said::Refused(Refusal::CommandFailed, reason));
            return;
        }
        Run::Badly(reason) => Some(reason),
    };
    let begun = node.now();
    if failure.is_none() {
        node.say(Said::Held(begun));
        let cause = node.listen(begun + max_pause).unwrap_or(Cause::Expired);
        node.say(Said::LettingGo(cause));
    } else {
        node.say(Said::LettingGo(Cause::Failed));
    }
    let ended = node.now();
    if let Run::NotStarted(reason) | Run::Badly(reason) = node.after() {
        node.say(Said::Warning(format!("after_snapshot: {reason}")));
    }
    node.say(match failure {
        None => Said::LetGo(ended.saturating_sub(begun)),
        Some(reason) => Said::Refused(Refusal::CommandFailed, reason),
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Time passes only while it listens.
    struct Fake {
        now: Duration,
        before: Run,
        after: Run,
        record: Result<(), String>,
        heard: Vec<(Duration, Cause)>,
        done: Vec<String>,
    }

    impl Surroundings for Fake {
        fn now(&mut self) -> Duration {
            self.now
        }
        fn before(&mut self) -> Run {
            self.done.push("before".to_owned());
            self.before.clone()
        }
        fn after(&mut self) -> Run {
            self.done.push("after".to_owned());
            self.after.clone()
        }
        fn write_record(&mut self) -> Result<(), String> {
            self.done.push("record".to_owned());
            self.record.clone()
        }
        fn listen(&mut self, until: Duration) -> Option<Cause> {
            let heard = self.heard.first().copied();
            match heard {
                Some((at, cause)) if at <= until => {
                    self.now = self.now.max(at);
                    Some(cause)
                }
                _ => {
                    self.now = until;
                    None
                }
            }
        }
        fn say(&mut self, said: Said) {
            self.done.push(said.to_string());
        }
    }

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn run(change: impl FnOnce(&mut Fake)) -> Vec<String> {
        let mut fake = Fake {
            now: seconds(100),
            before: Run::Well,
            after: Run::Well,
            record: Ok(()),
            heard: vec![(seconds(101), Cause::Released)],
            done: Vec::new(),
        };
        change(&mut fake);
        hold(&mut fake, seconds(5));
        fake.done
    }

    #[test]
    fn after_runs_whenever_before_was_started() {
        let expected = [
            "record",
            "before",
            "held 100000000",
            "letting-go released",
            "after",
            "let-go 1000000",
        ];
        assert_eq!(run(|_| {}), expected);
        let failed = run(|fake| fake.before = Run::Badly("no".to_owned()));
        let expected = [
            "record",
            "before",
            "letting-go failed",
            "after",
            "refused command-failed no",
        ];
        assert_eq!(failed, expected);
        let not_started = run(|fake| fake.before = Run::NotStarted("no".to_owned()));
        assert_eq!(
            not_started,
            ["record", "before", "refused command-failed no"]
        );
    }

    #[test]
    fn every_reason_to_let_go_is_one() {
        for (cause, at) in [
            (Cause::HungUp, 102),
            (Cause::Signal(15), 103),
            (Cause::Expired, 200),
        ] {
            let done = run(|fake| fake.heard = vec![(seconds(at), cause)]);
            assert!(done.contains(&format!("letting-go {cause}")), "{done:?}");
            let held = (at - 100).min(5) * 1_000_000;
            assert_eq!(done[4..], ["after".to_owned(), format!("let-go {held}")]);
        }
    }

    #[test]
    fn nothing_is_run_without_a_record_or_after_the_end() {
        let done = run(|fake| fake.record = Err("full".to_owned()));
        assert_eq!(done, ["record", "refused failed full"]);
        let done = run(|fake| fake.heard = vec![(seconds(1), Cause::HungUp)]);
        assert_eq!(done.len(), 1, "{done:?}");
        assert!(done[0].starts_with("refused failed"), "{done:?}");
    }

    #[test]
    fn an_after_that_fails_is_told() {
        let done = run(|fake| fake.after = Run::Badly("no".to_owned()));
        assert_eq!(
            done[4..],
            ["after", "warning after_snapshot: no", "let-go 1000000"]
        );
    }
}
