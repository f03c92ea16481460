//! The clock is handed in: these tests wait for nothing.

use super::*;
use std::net::Ipv4Addr;

const POLICY: ThrottlePolicy = ThrottlePolicy {
    max_failures: 3,
    window: Duration::from_secs(600),
    slow_down: Duration::from_secs(20),
    max_in_flight: 4,
};

fn address(n: u32) -> IpAddr {
    IpAddr::V4(Ipv4Addr::from(0x0a00_0000 + n))
}

fn fail(throttle: &Arc<LoginThrottle>, peer: IpAddr, now: Instant) {
    throttle.begin(peer, now).unwrap().failed(now);
}

fn wait_of(throttle: &Arc<LoginThrottle>, peer: IpAddr, now: Instant) -> Duration {
    throttle.begin(peer, now).unwrap_err().retry_after
}

/// What `config.toml.example` says: five failures are free, and no wait is longer than 30 s.
#[test]
fn without_a_word_in_the_configuration_the_longest_wait_is_half_a_minute() {
    let throttle = LoginThrottle::new(ThrottlePolicy::of(&Login::default()));
    let mut now = Instant::now();
    for _ in 0..5 {
        fail(&throttle, address(1), now);
    }
    for seconds in [1, 2, 4, 8, 16, 30, 30] {
        let wait = wait_of(&throttle, address(1), now);
        assert_eq!(wait, Duration::from_secs(seconds));
        now += wait;
        fail(&throttle, address(1), now);
    }
}

#[test]
fn the_delay_doubles_from_one_second_up_to_its_limit() {
    let throttle = LoginThrottle::new(POLICY);
    let mut now = Instant::now();
    for _ in 0..3 {
        fail(&throttle, address(1), now);
    }
    for seconds in [1, 2, 4, 8, 16, 20, 20, 20] {
        let wait = wait_of(&throttle, address(1), now);
        assert_eq!(wait, Duration::from_secs(seconds));
        now += wait;
        fail(&throttle, address(1), now);
    }
}

#[test]
fn other_addresses_are_not_slowed() {
    let throttle = LoginThrottle::new(POLICY);
    let now = Instant::now();
    for _ in 0..3 {
        fail(&throttle, address(1), now);
    }
    assert!(throttle.begin(address(1), now).is_err());
    assert!(throttle.begin(address(2), now).is_ok());
}

#[test]
fn a_success_clears_and_forgets() {
    let throttle = LoginThrottle::new(POLICY);
    let mut now = Instant::now();
    for _ in 0..3 {
        fail(&throttle, address(1), now);
    }
    now += Duration::from_secs(1);
    throttle.begin(address(1), now).unwrap().succeeded();
    assert_eq!(throttle.remembered(), 0);
    fail(&throttle, address(1), now);
    assert!(throttle.begin(address(1), now).is_ok());
}

#[test]
fn failures_are_forgotten_after_the_window() {
    let throttle = LoginThrottle::new(POLICY);
    let mut now = Instant::now();
    fail(&throttle, address(1), now);
    fail(&throttle, address(1), now);
    now += POLICY.window;
    fail(&throttle, address(1), now);
    assert!(throttle.begin(address(1), now).is_ok(), "one, not three");
}

#[test]
fn a_hundred_guesses_at_once_are_not_a_hundred_free_ones() {
    let throttle = LoginThrottle::new(POLICY);
    let now = Instant::now();
    let under_way: Vec<_> = (0..100)
        .filter_map(|_| throttle.begin(address(1), now).ok())
        .collect();
    assert_eq!(under_way.len(), 3, "the free failures");
    for attempt in under_way {
        attempt.failed(now);
    }
    let later = now + Duration::from_secs(1);
    let under_way: Vec<_> = (0..100)
        .filter_map(|_| throttle.begin(address(1), later).ok())
        .collect();
    assert_eq!(under_way.len(), 1, "one at a time from then on");
}

#[test]
fn checks_in_flight_are_bounded_where_many_failures_are_free() {
    let throttle = LoginThrottle::new(ThrottlePolicy {
        max_failures: 1000,
        ..POLICY
    });
    let now = Instant::now();
    let under_way: Vec<_> = (0..100)
        .filter_map(|_| throttle.begin(address(1), now).ok())
        .collect();
    assert_eq!(under_way.len(), 4);
    drop(under_way);
    assert!(
        throttle.begin(address(1), now).is_ok(),
        "places are given back"
    );
}

#[test]
fn an_attempt_without_outcome_counts_as_neither() {
    let throttle = LoginThrottle::new(POLICY);
    let now = Instant::now();
    for _ in 0..50 {
        drop(throttle.begin(address(1), now).unwrap());
    }
    assert_eq!(throttle.remembered(), 0);
}

#[test]
fn ipv6_counts_per_64_bits_and_mapped_ipv4_as_ipv4() {
    let throttle = LoginThrottle::new(POLICY);
    let now = Instant::now();
    for host in ["2001:db8:1:2::1", "2001:db8:1:2::2", "2001:db8:1:2:ffff::3"] {
        fail(&throttle, host.parse().unwrap(), now);
    }
    let same: IpAddr = "2001:db8:1:2:9::".parse().unwrap();
    let other: IpAddr = "2001:db8:1:3::1".parse().unwrap();
    assert!(throttle.begin(same, now).is_err());
    assert!(throttle.begin(other, now).is_ok());

    for _ in 0..3 {
        fail(&throttle, "::ffff:10.0.0.1".parse().unwrap(), now);
    }
    assert!(throttle.begin("10.0.0.1".parse().unwrap(), now).is_err());
    assert!(throttle.begin("10.0.0.2".parse().unwrap(), now).is_ok());
}

#[test]
fn memory_is_bounded_and_the_oldest_goes_first() {
    let throttle = LoginThrottle::new(POLICY);
    let now = Instant::now();
    for _ in 0..3 {
        fail(&throttle, address(0), now);
        fail(&throttle, address(1), now);
    }
    let busy = throttle.begin(address(2), now).unwrap();
    for n in 3..u32::try_from(MAX_ADDRESSES).unwrap() {
        fail(&throttle, address(n), now);
    }
    // Heard of again: no longer the oldest.
    assert!(throttle.begin(address(0), now).is_err());
    fail(&throttle, address(20_000), now);
    assert_eq!(throttle.remembered(), MAX_ADDRESSES);
    assert!(throttle.begin(address(0), now).is_err(), "still slowed");
    let begun = throttle.begin(address(1), now);
    assert!(begun.is_ok(), "the oldest was forgotten");
    for n in 30_000..60_000 {
        fail(&throttle, address(n), now);
    }
    assert_eq!(throttle.remembered(), MAX_ADDRESSES);
    let inner = throttle.lock();
    assert_eq!(inner.by_age.len(), inner.entries.len());
    assert!(inner.entries.contains_key(&address(2)), "under way: kept");
    drop(inner);
    drop(busy);
}

#[test]
fn retry_after_is_rounded_up_and_never_zero() {
    for (milliseconds, seconds) in [(0, 1), (1, 1), (1000, 1), (1001, 2), (59_500, 60)] {
        let throttled = Throttled {
            retry_after: Duration::from_millis(milliseconds),
        };
        assert_eq!(throttled.seconds(), seconds, "{milliseconds} ms");
    }
}
