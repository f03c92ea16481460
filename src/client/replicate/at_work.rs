use tokio::task::{JoinError, JoinSet};

use super::run::{Run, abandon};

/// What a run does at the same time, to the end of all of it.
#[derive(Debug)]
pub(super) struct AtWork<T> {
    tasks: JoinSet<T>,
    /// Targets have been told that nothing more is written to them.
    is_told: bool,
}

impl<T: Send + 'static> AtWork<T> {
    pub(super) fn new() -> AtWork<T> {
        AtWork {
            tasks: JoinSet::new(),
            is_told: false,
        }
    }

    pub(super) fn spawn(&mut self, work: impl Future<Output = T> + Send + 'static) {
        self.tasks.spawn(work);
    }

    /// What the next one has come to; None where all have ended. Where the run ends, what waits for a
    /// target, such as for one that does not answer, waits no longer. Cut short, nothing is lost.
    pub(super) async fn next(&mut self, run: &Run) -> Option<Result<T, JoinError>> {
        loop {
            tokio::select! {
                one = self.tasks.join_next() => return one,
                () = run.stop.stopped(), if !self.is_told => {
                    self.is_told = true;
                    tokio::spawn(abandon(run.targets()));
                }
            }
        }
    }
}
