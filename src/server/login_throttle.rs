//! Failed logins slow their address down.
//!
//! A pure state machine: the clock is handed in, so that a day passes in a test at once. What is
//! remembered is bounded: at most [`MAX_ADDRESSES`] addresses, the one heard of longest ago goes.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::config::{Current, Login};

/// So many addresses are remembered, about 2 MB.
pub const MAX_ADDRESSES: usize = 10_000;

/// The first delay after too many failures; it doubles with each further one.
const FIRST_DELAY: Duration = Duration::from_secs(1);

/// See [`ThrottlePolicy::window`].
const WINDOW: Duration = Duration::from_secs(15 * 60);
/// See [`ThrottlePolicy::max_in_flight`].
const MAX_IN_FLIGHT: u32 = 4;

/// How failed logins are slowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ThrottlePolicy {
    /// So many failures are free.
    pub max_failures: u32,
    /// A failure is forgotten when the address makes none for this long.
    pub window: Duration,
    /// The longest delay; from one second on it doubles up to this.
    pub slow_down: Duration,
    /// So many checks of one address may run at once.
    pub max_in_flight: u32,
}

impl ThrottlePolicy {
    /// What the configuration says, and what is the same everywhere.
    #[must_use]
    pub fn of(login: &Login) -> Self {
        Self {
            max_failures: login.max_failures,
            window: WINDOW,
            slow_down: login.slow_down,
            max_in_flight: MAX_IN_FLIGHT,
        }
    }
}

/// The address has to wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many failed logins from this address: try again in {} s", self.seconds())]
pub struct Throttled {
    /// How long.
    pub retry_after: Duration,
}

impl Throttled {
    /// For the header `Retry-After`: whole seconds, rounded up, at least one.
    pub fn seconds(&self) -> u64 {
        let whole = self.retry_after.as_secs();
        let rounded = whole + u64::from(self.retry_after.subsec_nanos() > 0);
        rounded.max(1)
    }
}

/// Counts logins per address. IPv6 counts per /64: that is what one host owns.
#[derive(Debug)]
pub struct LoginThrottle {
    policy: Current<ThrottlePolicy>,
    addresses: Mutex<Addresses>,
}

#[derive(Debug, Default)]
struct Addresses {
    entries: HashMap<IpAddr, Entry>,
    /// The same addresses by when they were last heard of, oldest first.
    by_age: BTreeMap<u64, IpAddr>,
    last_turn: u64,
}

#[derive(Debug, Default)]
struct Entry {
    failures: u32,
    last_failure: Option<Instant>,
    blocked_until: Option<Instant>,
    in_flight: u32,
    turn: u64,
}

/// One login under way. Say how it ended with [`Attempt::succeeded`] or [`Attempt::failed`];
/// one that is only dropped (the manager did not answer, the client left) counts as neither.
#[derive(Debug)]
#[must_use = "an attempt that is dropped at once bounds nothing"]
pub struct Attempt {
    throttle: Arc<LoginThrottle>,
    address: IpAddr,
    ended: bool,
}

impl LoginThrottle {
    /// Nothing is remembered yet.
    pub fn new(policy: ThrottlePolicy) -> Arc<Self> {
        Arc::new(Self {
            policy: Current::new(policy),
            addresses: Mutex::default(),
        })
    }

    /// From now on another policy holds; what is remembered of addresses stays.
    pub fn take_up(&self, policy: ThrottlePolicy) {
        self.policy.set(policy);
    }

    /// Asks to check one login of `peer`.
    ///
    /// Guesses under way count as failures until they have ended, so that a hundred at once are
    /// not a hundred free ones.
    ///
    /// # Errors
    /// [`Throttled`]: answer 429 with `Retry-After`, and do not check anything.
    pub fn begin(self: &Arc<Self>, peer: IpAddr, now: Instant) -> Result<Attempt, Throttled> {
        let address = counted_as(peer);
        let mut addresses = self.lock();
        let entry = addresses.touch(address);
        entry.forget_old(now, self.policy.get().window);
        if let Some(until) = entry.blocked_until
            && until > now
        {
            return Err(Throttled {
                retry_after: until.duration_since(now),
            });
        }
        let free = self
            .policy
            .get()
            .max_failures
            .saturating_sub(entry.failures);
        // Over the free failures still one at a time, or the address could never log in again.
        if entry.in_flight >= free.max(1).min(self.policy.get().max_in_flight.max(1)) {
            return Err(Throttled {
                retry_after: FIRST_DELAY,
            });
        }
        entry.in_flight += 1;
        drop(addresses);
        Ok(Attempt {
            throttle: Arc::clone(self),
            address,
            ended: false,
        })
    }

    /// How many addresses are remembered.
    pub fn remembered(&self) -> usize {
        self.lock().entries.len()
    }

    fn lock(&self) -> MutexGuard<'_, Addresses> {
        self.addresses
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn delay(&self, failures: u32) -> Duration {
        let doublings = failures
            .saturating_sub(self.policy.get().max_failures)
            .min(31);
        FIRST_DELAY
            .saturating_mul(1 << doublings)
            .min(self.policy.get().slow_down)
    }
}

impl Attempt {
    /// The credentials were right: the address starts anew.
    pub fn succeeded(mut self) {
        let mut addresses = self.throttle.lock();
        if let Some(entry) = addresses.entries.get_mut(&self.address) {
            entry.failures = 0;
            entry.last_failure = None;
            entry.blocked_until = None;
        }
        addresses.end(self.address);
        drop(addresses);
        self.ended = true;
    }

    /// The credentials were wrong.
    pub fn failed(mut self, now: Instant) {
        let mut addresses = self.throttle.lock();
        let entry = addresses.touch(self.address);
        entry.failures = entry.failures.saturating_add(1);
        entry.last_failure = Some(now);
        if entry.failures >= self.throttle.policy.get().max_failures {
            entry.blocked_until = Some(now + self.throttle.delay(entry.failures));
        }
        addresses.end(self.address);
        drop(addresses);
        self.ended = true;
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if !self.ended {
            self.throttle.lock().end(self.address);
        }
    }
}

impl Entry {
    fn forget_old(&mut self, now: Instant, window: Duration) {
        // A delay may be longer than the window: it is served in full.
        let blocked = self.blocked_until.is_some_and(|until| until > now);
        let old = self
            .last_failure
            .is_some_and(|last| now.saturating_duration_since(last) >= window);
        if old && !blocked {
            self.failures = 0;
            self.last_failure = None;
            self.blocked_until = None;
        }
    }
}

impl Addresses {
    /// The entry of `address`, made if need be, now the youngest.
    fn touch(&mut self, address: IpAddr) -> &mut Entry {
        if !self.entries.contains_key(&address) && self.entries.len() >= MAX_ADDRESSES {
            self.drop_oldest();
        }
        // From 1 on: 0 is the turn of an entry just made, under which nothing stands.
        self.last_turn += 1;
        let turn = self.last_turn;
        let entry = self.entries.entry(address).or_default();
        self.by_age.remove(&entry.turn);
        entry.turn = turn;
        self.by_age.insert(turn, address);
        entry
    }

    /// A login of `address` ended. Nothing to remember: forget the address.
    fn end(&mut self, address: IpAddr) {
        let Some(entry) = self.entries.get_mut(&address) else {
            return;
        };
        entry.in_flight = entry.in_flight.saturating_sub(1);
        if entry.in_flight == 0 && entry.failures == 0 {
            let turn = entry.turn;
            self.entries.remove(&address);
            self.by_age.remove(&turn);
        }
    }

    /// Those with a check under way stay if any other can go: they are bounded by the number of
    /// connections.
    fn drop_oldest(&mut self) {
        let resting = self
            .by_age
            .iter()
            .find(|(_, address)| {
                self.entries
                    .get(address)
                    .is_none_or(|entry| entry.in_flight == 0)
            })
            .or_else(|| self.by_age.first_key_value());
        if let Some((&turn, &address)) = resting {
            self.by_age.remove(&turn);
            self.entries.remove(&address);
        }
    }
}

/// The address under which a peer is counted: IPv4 (also written as IPv6) as it is, IPv6 by its
/// first 64 bits.
fn counted_as(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V4(v4) => IpAddr::V4(v4),
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
    }
}

#[cfg(test)]
#[path = "login_throttle_tests.rs"]
mod tests;
