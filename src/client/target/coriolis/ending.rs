//! How a writer's work ends early: it fails, or its run is given up.

use std::fmt;
use std::io;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

/// How long what is under way may still take once a writer has ended: what was sent is better known
/// to have arrived, or not, than cut off.
pub(super) const GRACE: Duration = Duration::from_secs(10);

/// The run that wrote was given up, by its caller or for a failure elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Abandoned(String);

impl fmt::Display for Abandoned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: the run was ended", self.0)
    }
}

impl std::error::Error for Abandoned {}

/// Whether a target has refused only because its run was given up.
pub(crate) fn is_of_abandoned(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|inner| inner.is::<Abandoned>())
}

#[derive(Debug, Clone)]
enum Reason {
    Failed(io::ErrorKind, String),
    Abandoned(Abandoned),
}

/// The first thing that went wrong: nothing works after it.
#[derive(Debug)]
pub(super) struct Ending {
    reason: Mutex<Option<Reason>>,
    ended: watch::Sender<bool>,
}

impl Ending {
    pub(super) fn new() -> Ending {
        Ending {
            reason: Mutex::new(None),
            ended: watch::Sender::new(false),
        }
    }

    pub(super) fn fail(&self, error: &io::Error) {
        self.end(Reason::Failed(error.kind(), error.to_string()));
    }

    pub(super) fn abandon(&self, name: &str) {
        self.end(Reason::Abandoned(Abandoned(name.to_owned())));
    }

    fn end(&self, reason: Reason) {
        let mut known = self.reason.lock().unwrap_or_else(PoisonError::into_inner);
        known.get_or_insert(reason);
        self.ended.send_replace(true);
    }

    /// # Errors
    /// Why it has ended.
    pub(super) fn check(&self) -> io::Result<()> {
        let known = self.reason.lock().unwrap_or_else(PoisonError::into_inner);
        match known.clone() {
            None => Ok(()),
            Some(Reason::Failed(kind, text)) => Err(io::Error::new(kind, text)),
            Some(Reason::Abandoned(abandoned)) => Err(io::Error::other(abandoned)),
        }
    }

    /// Returns when it has.
    pub(super) async fn comes(&self) {
        // The sender is held here: it cannot have gone.
        let _ = self.ended.subscribe().wait_for(|ended| *ended).await;
    }

    /// Returns when what is under way has to be given up too.
    pub(super) async fn is_over(&self) {
        self.comes().await;
        tokio::time::sleep(GRACE).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_first_reason_is_the_one_that_is_told() {
        let ending = Ending::new();
        ending.check().unwrap();
        ending.fail(&io::Error::new(io::ErrorKind::InvalidInput, "the cause"));
        ending.abandon("web");
        ending.comes().await;
        let error = ending.check().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        assert_eq!(error.to_string(), "the cause");
        assert!(!is_of_abandoned(&error));

        let ending = Ending::new();
        ending.abandon("web");
        let error = ending.check().unwrap_err();
        assert!(is_of_abandoned(&error), "{error}");
        assert_eq!(error.to_string(), "web: the run was ended");
    }
}
