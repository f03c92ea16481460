//! How fast a run may take bytes from its nodes, all streams together.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use tokio::sync::{Mutex, Semaphore, SemaphorePermit};
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
/// Streams take turns, each for so many bytes: one with large frames and one with small ones have the
/// same of the rate. Of a high rate it is a thousandth of a second's, so that turns cost nothing.
const TURN: u64 = 16 << 10;
/// What was not taken in so short a time may be taken later.
const SLACK: Duration = Duration::from_millis(100);

/// A limit that is shared by all streams of a run, or none.
#[derive(Debug)]
pub(super) struct Rate(Option<Limit>);

#[derive(Debug)]
struct Limit {
    /// Whoever has its turn waits with this locked, and the others behind it in the order in which they came.
    due: Mutex<Due>,
    /// Bytes of a turn.
    turn: u64,
    /// What streams have taken that have ended since, and no turn was for: the next one's to wait for.
    unpaid: AtomicU64,
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
            turn: TURN.max(per_second >> 10),
            unpaid: AtomicU64::new(0),
            streams: Semaphore::new(streams.min(Semaphore::MAX_PERMITS)),
        })))
    }

    /// Waits until another stream may be under way, which it may for as long as the answer is kept.
    pub(super) async fn stream(&self) -> Option<SemaphorePermit<'_>> {
        // It is never closed.
        self.0.as_ref()?.streams.acquire().await.ok()
    }

    /// Whoever takes bytes, for as long as it takes them: a stream.
    pub(super) fn taker(&self) -> Taker<'_> {
        let limit = self.0.as_ref();
        let owed = limit.map_or(0, |limit| limit.unpaid.swap(0, Relaxed));
        Taker { limit, owed }
    }
}

/// One of those that share the rate.
#[derive(Debug)]
pub(super) struct Taker<'a> {
    limit: Option<&'a Limit>,
    /// Bytes that it has taken, and not yet waited for.
    owed: u64,
}

impl Taker<'_> {
    /// So many bytes have come: returns when more may. Whoever does not wait to the end of it leaves
    /// that to the next one.
    pub(super) async fn took(&mut self, bytes: u64) {
        let Some(limit) = self.limit else {
            return;
        };
        self.owed = self.owed.saturating_add(bytes);
        while self.owed >= limit.turn {
            let mut due = limit.due.lock().await;
            let until = due.after(limit.turn, Instant::now());
            self.owed -= limit.turn;
            tokio::time::sleep_until(until).await;
        }
    }
}

impl Drop for Taker<'_> {
    fn drop(&mut self) {
        if let Some(limit) = self.limit {
            limit.unpaid.fetch_add(self.owed, Relaxed);
        }
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
        rate.taker().took(u64::MAX).await;
        assert!(Rate::of(Some(u64::MAX)).unwrap().stream().await.is_some());
    }

    #[tokio::test]
    async fn a_stream_of_small_frames_has_as_much_as_one_of_large_ones() {
        const LARGE: u64 = 1 << 20;
        const SMALL: u64 = 4 << 10;
        let rate = Rate::of(Some(16 << 20)).unwrap();
        let begun = Instant::now();
        let small = AtomicU64::new(0);
        let many = async {
            let mut taker = rate.taker();
            loop {
                taker.took(SMALL).await;
                small.fetch_add(SMALL, Relaxed);
            }
        };
        let few = async {
            let mut taker = rate.taker();
            // Nothing came: it is nobody's turn.
            taker.took(0).await;
            taker.took(LARGE).await;
            taker.took(LARGE).await;
        };
        tokio::select! {
            () = many => {}
            () = few => {}
        }
        // In turns, whatever the clock does.
        let small = small.load(Relaxed);
        let apart = small.abs_diff(2 * LARGE);
        assert!(apart <= 4 * TURN, "{small} bytes beside {}", 2 * LARGE);
        let least = Duration::from_millis(250) - 2 * SLACK;
        assert!(begun.elapsed() >= least, "{:?}", begun.elapsed());
    }

    #[tokio::test]
    async fn what_ended_streams_have_taken_is_waited_for() {
        let rate = Rate::of(Some(LEAST_RATE)).unwrap();
        let unpaid = || rate.0.as_ref().unwrap().unpaid.load(Relaxed);
        for count in 1..4 {
            rate.taker().took(TURN / 4).await;
            assert_eq!(unpaid(), count * TURN / 4);
        }
        // The slack is gone: whoever gives up here has had its turn, and not waited for it.
        let mut taker = rate.taker();
        assert_eq!(unpaid(), 0);
        let waiting = taker.took(9 * TURN / 4);
        assert!(tokio::time::timeout(Duration::ZERO, waiting).await.is_err());
        drop(taker);
        assert_eq!(unpaid(), 2 * TURN);
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
