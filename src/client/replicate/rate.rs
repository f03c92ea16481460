//! How fast a run may take bytes from its nodes, all streams together.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::Instant;

use super::ReplicateError;
use crate::protocol::size;

/// The lowest limit of [`Replication::limit_rate`](super::Replication::limit_rate), bytes a second, and
/// what each stream has.
///
/// The daemon gives up a client that takes nothing for `stall_timeout`, two minutes unless configured. The
/// kernel tells it that something was taken when a sixteenth of a receive buffer is free: 2 MiB of one of
/// 32 MiB, which at this rate is half a minute.
pub const LEAST_RATE: u64 = 64 << 10;
/// What was not taken in so short a time may be taken later.
const SLACK: Duration = Duration::from_millis(100);

/// A limit that is shared by all streams of a run, or none.
#[derive(Debug)]
pub(super) struct Rate(Option<Limit>);

#[derive(Debug)]
struct Limit {
    due: Mutex<Due>,
    /// With more streams, each would be slower than the daemon takes it.
    streams: Semaphore,
}

/// When everything that came may have come, at this rate.
#[derive(Debug)]
struct Due {
    per_second: u64,
    at: Instant,
}

impl Rate {
    /// # Errors
    /// [`ReplicateError::Setup`] for a limit that is too low for a single stream.
    pub(super) fn of(per_second: Option<u64>) -> Result<Rate, ReplicateError> {
        let Some(per_second) = per_second else {
            return Ok(Rate(None));
        };
        if per_second < LEAST_RATE {
            return Err(ReplicateError::Setup(format!(
                "a limit of {per_second} bytes a second is too low: the node gives up a stream that is so \
                 slow; the lowest is {}",
                size::format(LEAST_RATE)
            )));
        }
        let streams = usize::try_from(per_second / LEAST_RATE).unwrap_or(Semaphore::MAX_PERMITS);
        let at = Instant::now();
        Ok(Rate(Some(Limit {
            due: Mutex::new(Due { per_second, at }),
            streams: Semaphore::new(streams.min(Semaphore::MAX_PERMITS)),
        })))
    }

    /// Waits until another stream may be under way, which it may for as long as the answer is kept.
    pub(super) async fn stream(&self) -> Option<SemaphorePermit<'_>> {
        // It is never closed.
        self.0.as_ref()?.streams.acquire().await.ok()
    }

    /// So many bytes have come: returns when more may. Whoever does not wait to the end of it leaves
    /// that to the next one.
    pub(super) async fn came(&self, bytes: u64) {
        let Some(limit) = &self.0 else {
            return;
        };
        let until = {
            let mut due = limit.due.lock().unwrap_or_else(PoisonError::into_inner);
            due.after(bytes, Instant::now())
        };
        tokio::time::sleep_until(until).await;
    }
}

impl Due {
    fn after(&mut self, bytes: u64, now: Instant) -> Instant {
        let nanoseconds = u128::from(bytes) * 1_000_000_000 / u128::from(self.per_second);
        let time = Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX));
        let from = self.at.max(now.checked_sub(SLACK).unwrap_or(now));
        self.at = from.checked_add(time).unwrap_or(from);
        self.at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn bytes_are_due_at_the_rate_whoever_took_them() {
        let begin = Instant::now();
        let mut due = Due {
            per_second: 1 << 20,
            at: begin,
        };
        assert_eq!(due.after(1 << 20, begin), begin + SECOND);
        // Another stream, at the same time.
        assert_eq!(due.after(1 << 19, begin), begin + 3 * SECOND / 2);
        assert_eq!(due.after(0, begin), begin + 3 * SECOND / 2);
        // What was not taken for a long time is not made good at once.
        let later = begin + 60 * SECOND;
        assert_eq!(due.after(1 << 20, later), later + SECOND - SLACK);
        assert!(due.after(u64::MAX, later) > later);
    }

    #[tokio::test]
    async fn no_more_streams_than_the_rate_bears() {
        let rate = Rate::of(Some(2 * LEAST_RATE + 1)).unwrap();
        let first = rate.stream().await;
        let second = rate.stream().await;
        assert!(first.is_some() && second.is_some());
        let third = tokio::time::timeout(Duration::ZERO, rate.stream()).await;
        assert!(third.is_err());
        drop(first);
        assert!(rate.stream().await.is_some());
    }

    #[tokio::test]
    async fn without_a_limit_nothing_waits() {
        let rate = Rate::of(None).unwrap();
        assert!(rate.stream().await.is_none());
        rate.came(u64::MAX).await;
        assert!(Rate::of(Some(u64::MAX)).unwrap().stream().await.is_some());
    }

    #[test]
    fn what_the_daemon_would_give_up_is_refused() {
        let error = Rate::of(Some(LEAST_RATE - 1)).unwrap_err().to_string();
        assert!(
            error.contains("65535") && error.contains("64KiB"),
            "{error}"
        );
        assert!(Rate::of(Some(LEAST_RATE)).is_ok());
    }
}
