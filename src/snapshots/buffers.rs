//! Memory for reading disks: one pool for all streams, bounded by making buffers smaller, so that
//! nobody waits for a buffer that somebody else's slow client holds.

use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use crate::sys::aligned::AlignedBuffer;

/// What all streams hold together, bytes, as long as each can have [`SMALLEST`] twice.
const BUDGET: usize = 32 << 20;
/// O_DIRECT has reached its speed with reads of this size, bytes.
const LARGEST: usize = 1 << 20;
/// Bytes read at once where they are cached, at most: what TLS takes at once, and about what the
/// processor's own cache still holds when it is encrypted.
const LARGEST_CACHED: usize = 512 << 10;
/// Below this, reads cost more than what they read.
const SMALLEST: usize = 64 << 10;
/// Reads under way at most, for one stream that few others run beside.
const MOST_AHEAD: usize = 3;

/// The pool. Clones are the same pool.
#[derive(Debug, Clone, Default)]
pub struct BufferPool {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    streams: usize,
    /// Bytes of the buffers that are out.
    lent: usize,
    /// Handed back, all of the size that streams have now.
    free: Vec<AlignedBuffer>,
}

impl State {
    /// So many streams more, or fewer.
    fn become_streams(&mut self, more: isize) {
        let before = Allowance::among(self.streams).step;
        self.streams = self.streams.saturating_add_signed(more);
        // A node has better uses for its memory than ours when nobody reads.
        if self.streams == 0 || Allowance::among(self.streams).step != before {
            self.free.clear();
        }
    }
}

impl BufferPool {
    /// For one more stream.
    #[must_use]
    pub fn join(&self) -> Share {
        lock(&self.state).become_streams(1);
        Share { pool: self.clone() }
    }

    /// What it is used for now.
    #[must_use]
    pub fn figures(&self) -> PoolFigures {
        let state = lock(&self.state);
        let free: usize = state.free.iter().map(|free| free.len()).sum();
        PoolFigures {
            streams: state.streams,
            bytes: state.lent + free,
        }
    }
}

/// What a pool is used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolFigures {
    /// Streams that are open.
    pub streams: usize,
    /// Memory that is held, in use or to be used again.
    pub bytes: usize,
}

/// A stream's part in the pool, until it is dropped.
#[derive(Debug)]
pub struct Share {
    pool: BufferPool,
}

/// What a stream may have at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allowance {
    /// Bytes of one buffer: a power of two.
    pub step: usize,
    /// Reads that may be under way while what came before is sent.
    pub ahead: usize,
}

impl Allowance {
    /// With so many streams.
    fn among(streams: usize) -> Allowance {
        let each = BUDGET / streams.max(1);
        let half = (each / 2).max(1);
        let step = (1 << half.ilog2()).clamp(SMALLEST, LARGEST);
        // What is being sent takes one.
        let ahead = (each / step).saturating_sub(1).clamp(1, MOST_AHEAD);
        Allowance { step, ahead }
    }

    /// Bytes of one read of what is cached.
    #[must_use]
    pub fn cached_step(self) -> usize {
        self.step.min(LARGEST_CACHED)
    }
}

impl Share {
    /// What this stream may have now.
    #[must_use]
    pub fn allowance(&self) -> Allowance {
        Allowance::among(lock(&self.pool.state).streams)
    }

    /// A buffer of at least `length` bytes, with whatever an earlier reader of a disk left in it.
    #[must_use]
    pub fn take(&self, length: usize) -> Buffer {
        let mut state = lock(&self.pool.state);
        let step = Allowance::among(state.streams).step;
        let memory = state.free.pop_if(|free| free.len() >= length);
        let size = memory
            .as_ref()
            .map_or(step.max(length), |memory| memory.len());
        state.lent += size;
        drop(state);
        let memory = memory.unwrap_or_else(|| AlignedBuffer::new(size));
        Buffer {
            memory: Some(memory),
            pool: self.pool.clone(),
        }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        lock(&self.pool.state).become_streams(-1);
    }
}

/// Memory out of the pool; goes back when dropped.
#[derive(Debug)]
pub struct Buffer {
    /// None only while it is dropped.
    memory: Option<AlignedBuffer>,
    pool: BufferPool,
}

impl Buffer {
    /// These bytes of it, to be sent from where they are.
    #[must_use]
    pub fn freeze(self) -> Bytes {
        Bytes::from_owner(self)
    }
}

impl Deref for Buffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.memory.as_deref().unwrap_or_default()
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        self.memory.as_deref_mut().unwrap_or_default()
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let Some(memory) = self.memory.take() else {
            return;
        };
        let mut state = lock(&self.pool.state);
        state.lent = state.lent.saturating_sub(memory.len());
        let step = Allowance::among(state.streams).step;
        // One of another size is of no use to those who stream now.
        let room = state.streams > 0 && (state.free.len() + 1) * step <= BUDGET;
        if room && memory.len() == step {
            state.free.push(memory);
        }
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_streams_hold_no_more_than_few() {
        for streams in 1..=256 {
            let Allowance { step, ahead } = Allowance::among(streams);
            assert!(step.is_power_of_two() && step >= SMALLEST);
            assert!(ahead >= 1);
            let all = streams * step * (1 + ahead);
            assert!(all <= BUDGET, "{streams} streams hold {all} bytes");
        }
        assert_eq!(
            Allowance::among(1),
            Allowance {
                step: LARGEST,
                ahead: MOST_AHEAD
            }
        );
        assert_eq!(Allowance::among(64).step, 256 << 10);
        assert_eq!(Allowance::among(100_000).step, SMALLEST);
    }

    #[test]
    fn a_buffer_is_used_again_while_somebody_streams() {
        let pool = BufferPool::default();
        let share = pool.join();
        let step = share.allowance().step;
        let first = share.take(step);
        let place = first.as_ptr();
        drop(first);
        let again = share.take(10);
        assert_eq!((again.as_ptr(), again.len()), (place, step));
        // More than a step is possible, and not kept.
        drop(share.take(step + 1));
        assert!(lock(&pool.state).free.is_empty());
        let bytes = again.freeze().slice(3..5);
        drop(bytes);
        assert_eq!(lock(&pool.state).free.len(), 1);
        drop(share);
        assert!(lock(&pool.state).free.is_empty());
    }

    #[test]
    fn what_comes_back_when_others_have_come_is_not_kept() {
        let pool = BufferPool::default();
        let share = pool.join();
        let large = share.take(LARGEST);
        let kept = share.take(LARGEST);
        drop(kept);
        let others: Vec<Share> = (0..63).map(|_| pool.join()).collect();
        assert!(share.take(10).len() >= 10);
        drop(large);
        let free = lock(&pool.state).free.iter().map(|one| one.len()).max();
        assert!(free.is_none_or(|length| length <= 256 << 10), "{free:?}");
        drop(others);
        drop(share);
        assert!(lock(&pool.state).free.is_empty());
    }
}
