use std::time::Duration;

use super::{Cancellation, ReplicateError};

/// What ends a piece of work: the caller, or a failure beside it.
#[derive(Debug, Clone)]
pub(super) struct Stop {
    /// Any of them.
    switches: Vec<Cancellation>,
    /// The last of them: ours.
    own: Cancellation,
}

impl Stop {
    pub(super) fn new(by_caller: &Cancellation) -> Stop {
        Stop::of(vec![by_caller.clone()])
    }

    /// Ends with the other, and by itself.
    pub(super) fn beside(other: &Stop) -> Stop {
        Stop::of(other.switches.clone())
    }

    fn of(mut switches: Vec<Cancellation>) -> Stop {
        let own = Cancellation::new();
        switches.push(own.clone());
        Stop { switches, own }
    }

    /// Something failed: everything beside it may end.
    pub(super) fn fail(&self) {
        self.own.cancel();
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.switches.iter().any(Cancellation::is_cancelled)
    }

    pub(super) async fn stopped(&self) {
        let waiting = self.switches.iter().map(|one| Box::pin(one.cancelled()));
        futures_util::future::select_all(waiting).await;
    }

    /// # Errors
    /// [`ReplicateError::Cancelled`] where it was stopped.
    pub(super) fn check(&self) -> Result<(), ReplicateError> {
        if self.is_stopped() {
            return Err(ReplicateError::Cancelled);
        }
        Ok(())
    }

    /// # Errors
    /// [`ReplicateError::Cancelled`] where it is stopped meanwhile.
    pub(super) async fn sleep(&self, time: Duration) -> Result<(), ReplicateError> {
        tokio::select! {
            () = self.stopped() => Err(ReplicateError::Cancelled),
            () = tokio::time::sleep(time) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_ends_with_any_of_its_switches() {
        let caller = Cancellation::new();
        let run = Stop::new(&caller);
        let piece = Stop::beside(&run);
        piece.fail();
        piece.stopped().await;
        assert!(piece.is_stopped() && !run.is_stopped());
        let other = Stop::beside(&run);
        run.fail();
        assert!(other.is_stopped());
        let another = Stop::new(&caller);
        assert!(another.sleep(Duration::ZERO).await.is_ok());
        caller.cancel();
        assert!(another.sleep(Duration::from_secs(3600)).await.is_err());
    }
}
