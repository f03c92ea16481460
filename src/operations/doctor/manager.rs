//! The manager that checks logins: whether it answers, whether its certificate is the right one,
//! and what its clock says. No credentials are sent, and nothing is pinned.

use std::time::Duration;

use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimeParser;

use super::certificate::{now, shown, until};
use super::finding::Finding;
use super::round::Notes;
use crate::config::Config;
use crate::operations::serve::manager_settings;
use crate::ovm::agent::AgentDatabases;
use crate::ovm::manager::{Sight, advice_for};

const CHECK: &str = "manager";
const CLOCK: &str = "clock";
/// More than the way to the manager takes, and the second to which its date is cut.
const SKEW: i64 = 10;
/// Terms of snapshots are told by whichever node's clock: this far apart, one deletes too early.
const MUCH: i64 = 300;

pub(super) fn check(notes: &Notes, config: &Config, agent: &AgentDatabases, limit: Duration) {
    let manager = manager_settings(config)
        .map_err(|error| format!("{error:#}"))
        .and_then(|settings| settings.manager(agent));
    let mut manager = match manager {
        Ok(manager) => manager,
        Err(reason) => {
            return notes.found(Finding::bad(CHECK, reason, "set ovm_endpoint"));
        }
    };
    // A little less, so that it says itself where it stopped.
    manager.timeout = limit.mul_f32(0.9);
    notes.doing(format!("asking {}", manager.endpoint));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let sight = match runtime {
        Err(error) => Err((format!("it cannot be asked: {error}"), "try again")),
        Ok(runtime) => runtime
            .block_on(manager.look())
            .map_err(|error| (error.to_string(), error.advice())),
    };
    match sight {
        Err((reason, advice)) => {
            let finding = Finding::bad(CHECK, reason, meanwhile(advice));
            notes.found(finding.of(&manager.endpoint));
        }
        Ok(sight) => {
            notes.found(judge(&sight, now()).of(&manager.endpoint));
            notes.found(clock(sight.date.as_deref(), Timestamp::now()));
        }
    }
}

/// What to do, and until then.
fn meanwhile(advice: &str) -> String {
    format!(
        "{advice}; nobody can log in meanwhile but root on this node: coriolis-ovm-exporter token"
    )
}

fn judge(sight: &Sight, now: i64) -> Finding {
    let trust = match sight.is_known {
        true => "it answers, and its certificate is the right one".to_owned(),
        false => format!(
            "it answers; the first login will pin its certificate, SHA-256 {}",
            sight.fingerprint
        ),
    };
    // Whether 200 says something is known when somebody logs in.
    if !matches!(sight.status, 200 | 401 | 403) {
        let message = format!(
            "it answers with status {}, where a manager answers who shows no credentials with 401",
            sight.status
        );
        return Finding::bad(CHECK, message, meanwhile(advice_for(sight.status)));
    }
    match until(&sight.certificate) {
        // Of an old certificate only the bytes count.
        Err(_) => Finding::good(CHECK, trust),
        Ok((_, until)) if until < now => Finding::warning(
            CHECK,
            format!("{trust}; it expired at {}", shown(until)),
            "logins go on; give the manager a new one when convenient",
        ),
        Ok((_, until)) => Finding::good(CHECK, format!("{trust} (good until {})", shown(until))),
    }
}

fn clock(date: Option<&str>, now: Timestamp) -> Finding {
    let manager = date.and_then(|date| DateTimeParser::new().parse_timestamp(date).ok());
    let Some(manager) = manager else {
        let message = "the manager does not tell the time";
        return Finding::warning(CLOCK, message, "compare this node's clock by hand");
    };
    let skew = now.as_second().saturating_sub(manager.as_second());
    let shown = match skew {
        0.. => format!("{skew} s before the manager's"),
        _ => format!("{} s behind the manager's", skew.saturating_neg()),
    };
    let advice = "set both by NTP: tokens, certificates and terms of snapshots go by the clock";
    match skew.saturating_abs() {
        0..=SKEW => Finding::good(CLOCK, "as the manager's"),
        ..=MUCH => Finding::warning(CLOCK, shown, advice),
        _ => Finding::bad(CLOCK, shown, advice),
    }
}

#[cfg(test)]
mod tests {
    use super::super::finding::Grade::{Bad, Good, Warning};
    use super::*;

    #[test]
    fn skew_of_the_clock() {
        let date = Some("Sat, 21 Nov 2026 14:00:00 GMT");
        for (now, grade, text) in [
            ("2026-11-21T14:00:09Z", Good, "as the manager's"),
            ("2026-11-21T13:59:51Z", Good, "as the manager's"),
            ("2026-11-21T14:00:11Z", Warning, "11 s before"),
            ("2026-11-21T13:50:00Z", Bad, "600 s behind"),
        ] {
            let found = clock(date, now.parse().unwrap());
            assert_eq!(found.grade, grade, "{found}");
            assert!(found.message.contains(text), "{found}");
        }
        for date in [None, Some("yesterday")] {
            assert_eq!(clock(date, Timestamp::now()).grade, Warning);
        }
    }
}
