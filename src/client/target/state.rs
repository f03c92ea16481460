use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use super::failure::outside;

/// What a target on storage remembers while it is open.
#[derive(Debug)]
pub(super) struct State {
    /// Nothing at or behind this offset is touched.
    limit: AtomicU64,
    /// All of it is zero: nothing has been written.
    blank: AtomicBool,
    /// Whether a flush has failed. Held during one: the kernel tells an error to one caller only.
    flush_failed: Mutex<bool>,
}

impl State {
    pub(super) fn new(limit: u64, blank: bool) -> State {
        State {
            limit: AtomicU64::new(limit),
            blank: AtomicBool::new(blank),
            flush_failed: Mutex::new(false),
        }
    }

    pub(super) fn set_limit(&self, limit: u64) {
        self.limit.store(limit, Ordering::SeqCst);
    }

    pub(super) fn limit(&self) -> u64 {
        self.limit.load(Ordering::SeqCst)
    }

    /// # Errors
    /// [`io::ErrorKind::InvalidInput`] where the range does not lie before the limit.
    pub(super) fn check(&self, name: &str, offset: u64, length: u64) -> io::Result<()> {
        let limit = self.limit();
        match offset.checked_add(length) {
            Some(end) if end <= limit => Ok(()),
            _ => Err(outside(name, limit, offset, length)),
        }
    }

    pub(super) fn is_blank(&self) -> bool {
        self.blank.load(Ordering::SeqCst)
    }

    /// To be said before bytes are written.
    pub(super) fn is_written_to(&self) {
        self.blank.store(false, Ordering::SeqCst);
    }

    /// Runs one flush after the other, and none after one that has failed.
    pub(super) fn flush(
        &self,
        name: &str,
        flush: impl FnOnce() -> io::Result<()>,
    ) -> io::Result<()> {
        let mut failed = self
            .flush_failed
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if *failed {
            return Err(io::Error::other(format!(
                "{name}: an earlier flush has failed, so bytes may be lost that the kernel no \
                 longer knows of; open it again, and write again what came after the last flush \
                 that worked"
            )));
        }
        // Should it panic, it has not worked.
        *failed = true;
        flush()?;
        *failed = false;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_lies_before_the_limit_or_is_refused() {
        let state = State::new(0, false);
        state.set_limit(100);
        for (offset, length) in [(0, 100), (99, 1), (100, 0), (0, 0)] {
            state.check("disk", offset, length).unwrap();
        }
        for (offset, length) in [(0, 101), (100, 1), (u64::MAX, 1), (1, u64::MAX)] {
            let error = state.check("disk", offset, length).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
            assert!(error.to_string().contains(&offset.to_string()), "{error}");
        }
    }

    #[test]
    fn no_flush_succeeds_after_one_that_failed() {
        let state = State::new(0, false);
        state.flush("disk", || Ok(())).unwrap();
        let failing = || Err(io::Error::from_raw_os_error(libc::EIO));
        assert!(state.flush("disk", failing).is_err());
        let error = state.flush("disk", || Ok(())).unwrap_err();
        assert!(error.to_string().starts_with("disk: an earlier"), "{error}");
    }
}
