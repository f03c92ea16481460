//! Memory for reading disks: one pool for all streams, bounded by making buffers smaller, so that
//! nobody waits for a buffer that somebody else's slow client holds.

use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use crate::sys::aligned::AlignedBuffer;

/// What all streams hold together, bytes. Where slow clients hold all of it, each of the others still
/// has a quarter of its part, at least one buffer of [`SMALLEST`].
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
/// So many streams keep storage and link busy without any of them reading ahead.
const MANY: usize = 32;
/// Threads that read small stretches at once, for one stream.
const MOST_LANES: usize = 16;
/// The same for all streams together, as long as each has one.
const ALL_LANES: usize = 128;

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
        let before = self.step();
        self.streams = self.streams.saturating_add_signed(more);
        // A node has better uses for its memory than ours when nobody reads.
        if self.streams == 0 || self.step() != before {
            self.free.clear();
        }
    }

    /// What all have a buffer of, as long as nobody holds more than its part.
    fn step(&self) -> usize {
        Allowance::among(self.streams, BUDGET).step
    }

    /// For a stream that holds so many bytes: what others hold is not there to be given.
    fn allowance(&self, held: usize) -> Allowance {
        let others = self.lent.saturating_sub(held);
        Allowance::among(self.streams, BUDGET.saturating_sub(others))
    }

    fn bytes(&self) -> usize {
        let free: usize = self.free.iter().map(|free| free.len()).sum();
        self.lent + free
    }
}

impl BufferPool {
    /// For one more stream.
    #[must_use]
    pub fn join(&self) -> Share {
        lock(&self.state).become_streams(1);
        Share {
            pool: self.clone(),
            held: Arc::default(),
        }
    }

    /// What it is used for now.
    #[must_use]
    pub fn figures(&self) -> PoolFigures {
        let state = lock(&self.state);
        PoolFigures {
            streams: state.streams,
            bytes: state.bytes(),
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
    /// Bytes of the pool that it has; changed by whoever holds the lock.
    held: Arc<AtomicUsize>,
}

/// What a stream may have at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allowance {
    /// Bytes of one buffer: a power of two.
    pub step: usize,
    /// Reads that may be under way while what came before is sent; 0 where the next one is to be
    /// begun when that is gone.
    pub ahead: usize,
    /// Threads that may read for it at once, at least 1.
    pub lanes: usize,
}

impl Allowance {
    /// With so many streams, where the others leave this one so many bytes.
    fn among(streams: usize, left: usize) -> Allowance {
        let part = BUDGET / streams.max(1);
        // A few clients that take nothing hold much: a stream that goes on has a quarter of its part all
        // the same.
        let each = part.min(left.max(part / 4));
        let half = (each / 2).max(1);
        let step = (1 << half.ilog2()).clamp(SMALLEST, LARGEST);
        // What is being sent takes one.
        let ahead = (each / step).saturating_sub(1).min(MOST_AHEAD);
        Allowance {
            step,
            ahead: if streams > MANY { 0 } else { ahead },
            lanes: (ALL_LANES / streams.max(1)).clamp(1, MOST_LANES),
        }
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
        let state = lock(&self.pool.state);
        state.allowance(self.held.load(Ordering::Relaxed))
    }

    /// A buffer of at least `length` bytes, with whatever an earlier reader of a disk left in it.
    #[must_use]
    pub fn take(&self, length: usize) -> Buffer {
        let mut state = lock(&self.pool.state);
        let held = self.held.load(Ordering::Relaxed);
        let most = state.allowance(held).step.max(length);
        let memory = state
            .free
            .pop_if(|free| (length..=most).contains(&free.len()));
        let size = memory.as_ref().map_or(most, |memory| memory.len());
        if memory.is_none() && state.bytes() + size > BUDGET {
            state.free.clear();
        }
        state.lent += size;
        self.held.store(held + size, Ordering::Relaxed);
        drop(state);
        Buffer {
            memory: Some(memory.unwrap_or_else(|| AlignedBuffer::new(size))),
            counted: size,
            pool: self.pool.clone(),
            holder: Arc::clone(&self.held),
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
    /// Bytes that it counts as.
    counted: usize,
    pool: BufferPool,
    /// What the stream holds that took it.
    holder: Arc<AtomicUsize>,
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
        state.lent = state.lent.saturating_sub(self.counted);
        let held = self.holder.load(Ordering::Relaxed);
        let held = held.saturating_sub(self.counted);
        self.holder.store(held, Ordering::Relaxed);
        // One of another size is of no use to those who stream now.
        let room = state.streams > 0 && state.bytes() + memory.len() <= BUDGET;
        if room && memory.len() == state.step() {
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
    fn many_streams_hold_no_more_than_few_and_none_of_them_reads_ahead() {
        for streams in 1..=512 {
            let Allowance { step, ahead, lanes } = Allowance::among(streams, BUDGET);
            assert!(step.is_power_of_two() && step >= SMALLEST);
            assert_eq!(ahead >= 1, streams <= MANY, "{streams} streams: {ahead}");
            let all = streams * step * (1 + ahead);
            assert!(all <= BUDGET, "{streams} streams hold {all} bytes");
            assert!(lanes >= 1 && (lanes == 1 || streams * lanes <= ALL_LANES));
        }
        let one = Allowance::among(1, BUDGET);
        assert_eq!((one.step, one.ahead, one.lanes), (LARGEST, MOST_AHEAD, 16));
        let some = Allowance::among(64, BUDGET);
        assert_eq!((some.step, some.ahead, some.lanes), (256 << 10, 0, 2));
        let most = Allowance::among(100_000, BUDGET);
        assert_eq!((most.step, most.ahead, most.lanes), (SMALLEST, 0, 1));
        // Whatever the others have left.
        let few = Allowance::among(2, 0);
        assert_eq!((few.step, few.ahead), (LARGEST, 3));
        let none = Allowance::among(200, 0);
        assert_eq!((none.step, none.ahead), (SMALLEST, 0));
    }

    /// As much as a stream may have.
    fn fill(share: &Share) -> Vec<Buffer> {
        let Allowance { step, ahead, .. } = share.allowance();
        (0..=ahead).map(|_| share.take(step)).collect()
    }

    #[test]
    fn who_came_early_and_takes_nothing_leaves_the_others_less() {
        let pool = BufferPool::default();
        let mut stuck = Vec::new();
        for streams in 1..=256 {
            let share = pool.join();
            let held = fill(&share);
            stuck.push((share, held));
            let PoolFigures { bytes, .. } = pool.figures();
            // A quarter of each one's part: a 32nd and a 33rd of a quarter, and so on.
            let most = BUDGET * 2 + streams * SMALLEST;
            assert!(bytes <= most, "{streams} streams hold {bytes} bytes");
        }
        // Those that go on come to what all may have.
        for (share, held) in &mut stuck {
            held.clear();
            *held = fill(share);
        }
        let PoolFigures { bytes, .. } = pool.figures();
        assert!(bytes <= BUDGET, "{bytes}");
        for (share, held) in &mut stuck {
            assert_eq!(share.allowance(), Allowance::among(256, BUDGET));
            held.clear();
        }
        assert_eq!(lock(&pool.state).lent, 0);
        drop(stuck);
        assert_eq!(pool.figures(), BufferPool::default().figures());
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
