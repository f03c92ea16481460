use std::time::{Duration, Instant};

/// The first pause.
const FIRST: Duration = Duration::from_millis(200);
/// And the longest.
const LONGEST: Duration = Duration::from_secs(20);

/// How long to wait before the next attempt: twice as long each time, spread so that many clients
/// do not come back at once, and no longer than patience lasts. Progress starts it anew.
#[derive(Debug)]
pub(super) struct Backoff {
    patience: Duration,
    attempt: u32,
    since: Instant,
}

impl Backoff {
    pub(super) fn new(patience: Duration) -> Backoff {
        Backoff {
            patience,
            attempt: 0,
            since: Instant::now(),
        }
    }

    /// It works again.
    pub(super) fn reset(&mut self) {
        *self = Backoff::new(self.patience);
    }

    /// So long it was others that were waited for: that takes nothing from its patience.
    pub(super) fn waited(&mut self, time: Duration) {
        self.since = self.since.checked_add(time).unwrap_or(self.since);
    }

    /// The next pause; None where it was tried for long enough.
    pub(super) fn pause(&mut self) -> Option<Duration> {
        let left = self.patience.checked_sub(self.since.elapsed())?;
        let full = FIRST.saturating_mul(1 << self.attempt.min(16)).min(LONGEST);
        self.attempt += 1;
        // Half of it, and any part of the other half.
        let spread = getrandom::u32().unwrap_or(u32::MAX / 2);
        let pause = full / 2 + full.mul_f64(f64::from(spread) / f64::from(u32::MAX) / 2.0);
        Some(pause.min(left))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_up_to_a_limit() {
        let mut backoff = Backoff::new(Duration::from_secs(3600));
        for attempt in 0..40 {
            let full = FIRST.saturating_mul(1 << attempt.min(16)).min(LONGEST);
            let pause = backoff.pause().unwrap();
            assert!(pause >= full / 2 && pause <= full, "{attempt}: {pause:?}");
        }
        backoff.reset();
        assert!(backoff.pause().unwrap() <= FIRST);
    }

    #[test]
    fn patience_ends() {
        let mut backoff = Backoff::new(Duration::from_secs(5));
        assert!(backoff.pause().is_some());
        backoff.since -= Duration::from_secs(6);
        assert_eq!(backoff.pause(), None);
        backoff.waited(Duration::from_secs(4));
        assert!(backoff.pause().is_some());
    }
}
