//! What a guard does with a domain, step by step; the table in the [room's documentation](super)
//! names the states. Nothing here touches the system: [`Surroundings`] does.

use std::time::Duration;

use super::line::{Cause, Refusal, Said};
use crate::ovm::domains::DomainState;

/// How long the toolstack has for a list.
pub(super) const LIST_LIMIT: Duration = Duration::from_secs(5);
/// How long the first unpause call has. Each further one has twice as long: a slow toolstack gets
/// the time that it needs, a hanging one costs the guest little.
const FIRST_UNPAUSE: Duration = Duration::from_secs(1);
/// The longest that one has.
const LAST_UNPAUSE: Duration = Duration::from_secs(10);
/// Between two tries, at first and at most.
const FIRST_REST: Duration = Duration::from_millis(50);
const LAST_REST: Duration = Duration::from_secs(5);
/// A pause call that was killed may still be carried out: the toolstack's server does not know
/// that nobody waits for it. So long its effect is looked for.
pub(super) const WATCH: Duration = Duration::from_secs(10);
/// A toolstack whose server has just been started may not list every domain at once. So often in a
/// row must one be missing that could not be unpaused.
const GONE_AFTER: u32 = 3;
/// How often to watch.
const WATCH_EVERY: Duration = Duration::from_millis(500);

/// How a pause call failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum CallError {
    /// It said so itself.
    Failed(String),
    /// It was killed: what it did, or still does, is not known.
    Unknown(String),
}

/// What the guard acts on. Faked in tests.
pub(super) trait Surroundings {
    /// The monotonic clock.
    fn now(&mut self) -> Duration;
    /// What the domain does.
    fn state(&mut self, limit: Duration) -> Result<DomainState, String>;
    /// Calls for the pause.
    fn pause(&mut self, limit: Duration) -> Result<(), CallError>;
    /// Calls for its end.
    fn unpause(&mut self, limit: Duration) -> Result<(), String>;
    /// Writes the record to the device.
    fn write_record(&mut self) -> Result<(), String>;
    /// Waits for a reason to let go, until this moment of the clock.
    fn listen(&mut self, until: Duration) -> Option<Cause>;
    /// Waits, whatever is heard.
    fn rest(&mut self, time: Duration);
    /// Tells the daemon. Never blocks.
    fn say(&mut self, said: Said);
}

/// Pauses a domain and holds it until there is a reason to let go. When this returns, the domain is
/// not paused by us, and the record may go.
pub(super) fn hold(node: &mut impl Surroundings, max_pause: Duration) {
    if let Err((refusal, reason)) = runs_here(node) {
        node.say(Said::Refused(refusal, reason));
        return;
    }
    let now = node.now();
    if let Some(cause) = node.listen(now) {
        let reason = format!("told to let go before it was paused: {cause}");
        node.say(Said::Refused(Refusal::Failed, reason));
        return;
    }
    if let Err(reason) = node.write_record() {
        node.say(Said::Refused(Refusal::Failed, reason));
        return;
    }
    let begun = node.now();
    let deadline = begun + max_pause;
    // From here on the daemon watches that it is not for longer.
    node.say(Said::Pausing);
    let attempt = pause(node, deadline);
    let failure = match &attempt {
        Attempt::Paused | Attempt::PausedAfterAll => {
            let since = node.now();
            // Meanwhile there may have been a reason already: then nothing is to be begun.
            let heard = node.listen(since);
            if heard.is_none() && since < deadline {
                node.say(Said::Held(since));
            }
            let cause = heard
                .or_else(|| node.listen(deadline))
                .unwrap_or(Cause::Expired);
            let cause = match cause {
                Cause::Released => until_now(node, deadline),
                other => other,
            };
            node.say(Said::LettingGo(cause));
            None
        }
        Attempt::InDoubt(reason) => {
            node.say(Said::LettingGo(Cause::Failed));
            Some(reason.clone())
        }
    };
    let ended = let_go(node);
    node.say(match failure {
        None => Said::LetGo(ended.saturating_sub(begun)),
        Some(reason) => Said::Refused(Refusal::Failed, reason),
    });
    if attempt != Attempt::Paused {
        watch(node);
    }
}

/// Whether the domain was paused until it was released. Somebody may have unpaused it, or it may
/// have left this node, and a toolstack may say that it has paused what it has not.
fn until_now(node: &mut impl Surroundings, deadline: Duration) -> Cause {
    let left = deadline.saturating_sub(node.now());
    if left.is_zero() {
        return Cause::Expired;
    }
    match node.state(left.min(LIST_LIMIT)) {
        Ok(DomainState::Paused) => Cause::Released,
        Ok(_) => Cause::Undone,
        Err(reason) => {
            node.say(Said::Warning(reason));
            Cause::Undone
        }
    }
}

/// Whether the domain runs on this node, or why it is not paused.
fn runs_here(node: &mut impl Surroundings) -> Result<(), (Refusal, String)> {
    let (refusal, reason) = match node.state(LIST_LIMIT) {
        Ok(DomainState::Running) => return Ok(()),
        Ok(DomainState::Paused) => (
            Refusal::PausedBefore,
            "somebody else has paused it, and it stays so".to_owned(),
        ),
        Ok(DomainState::Off) => (Refusal::NotHere, "it does not run on this node".to_owned()),
        Ok(state @ (DomainState::Shutdown | DomainState::Crashed | DomainState::Dying)) => (
            Refusal::NotRunning,
            format!("it does not run (it is listed as {state:?})"),
        ),
        Ok(DomainState::Unknown) => (
            Refusal::Failed,
            "the toolstack does not say for certain what it does; it may be on its way to another \
             node"
                .to_owned(),
        ),
        Err(reason) => (Refusal::Failed, reason),
    };
    Err((refusal, reason))
}

#[derive(Debug, PartialEq, Eq)]
enum Attempt {
    /// The toolstack said so at once.
    Paused,
    /// A call failed or was killed; then the list, or a second call, said so. The first one may
    /// still have an effect later.
    PausedAfterAll,
    /// It may be paused now or later.
    InDoubt(String),
}

/// Tries to pause, twice at most. Half of the time is the first call's.
fn pause(node: &mut impl Surroundings, deadline: Duration) -> Attempt {
    let mut reason = String::new();
    for last in [false, true] {
        let left = deadline.saturating_sub(node.now());
        if left.is_zero() {
            break;
        }
        let limit = if last { left } else { left / 2 };
        reason = match node.pause(limit) {
            Ok(()) if last => return Attempt::PausedAfterAll,
            Ok(()) => return Attempt::Paused,
            Err(CallError::Failed(reason) | CallError::Unknown(reason)) => reason,
        };
        let left = deadline.saturating_sub(node.now());
        if left.is_zero() {
            break;
        }
        match node.state(left.min(LIST_LIMIT)) {
            Ok(DomainState::Paused) => {
                node.say(Said::Warning(format!(
                    "{reason}; the domain is paused all the same"
                )));
                return Attempt::PausedAfterAll;
            }
            Ok(DomainState::Running) => {}
            Ok(_) | Err(_) => break,
        }
    }
    Attempt::InDoubt(reason)
}

/// Unpauses until the list shows that the domain is not paused. Returns the end of the last call
/// that was needed.
fn let_go(node: &mut impl Surroundings) -> Duration {
    let mut limit = FIRST_UNPAUSE;
    let mut rest = FIRST_REST;
    let mut missing = 0;
    loop {
        let called = node.unpause(limit);
        let ended = node.now();
        let seen = node.state(LIST_LIMIT);
        missing = if seen == Ok(DomainState::Off) {
            missing + 1
        } else {
            0
        };
        let trouble = match (seen, called) {
            (Ok(DomainState::Paused), Ok(())) => "it is still paused".to_owned(),
            (Ok(DomainState::Unknown), _) => "its state cannot be told".to_owned(),
            (Ok(DomainState::Off), Err(reason)) if missing < GONE_AFTER => reason,
            (Ok(DomainState::Paused), Err(reason)) | (Err(reason), _) => reason,
            // Not paused, or not here.
            (Ok(_), _) => return ended,
        };
        node.say(Said::Warning(format!(
            "not unpaused yet, trying again: {trouble}"
        )));
        node.rest(rest);
        rest = (rest * 2).min(LAST_REST);
        limit = (limit * 2).min(LAST_UNPAUSE);
    }
}

/// Undoes a pause that comes late.
fn watch(node: &mut impl Surroundings) {
    let end = node.now() + WATCH;
    while node.now() < end {
        node.rest(WATCH_EVERY);
        if matches!(node.state(LIST_LIMIT), Ok(DomainState::Paused)) {
            node.say(Said::Note("a late pause is undone".to_owned()));
            let_go(node);
        }
    }
}

#[cfg(test)]
#[path = "pausing_tests.rs"]
mod tests;
