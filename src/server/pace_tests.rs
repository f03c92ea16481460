#![allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // A model in seconds and bytes.

use super::*;

/// A daemon, a socket's buffer and a link, in bytes and seconds.
struct Way {
    link: f64,
    buffer: f64,
    /// Bytes of the disk a second that are packed, and that are only read.
    packs: f64,
    reads: f64,
    /// What packing leaves of a byte.
    leaves: f64,
}

const STEP: f64 = 1048576.0;
const GIGABIT: f64 = 125e6;
const LOOPBACK: f64 = 1.5e9;

impl Way {
    fn of(link: f64, leaves: f64) -> Way {
        Way {
            link,
            buffer: 4e6,
            packs: 0.42e9,
            reads: 3e9,
            leaves,
        }
    }

    /// Seconds until all is sent. One step is made while another is handed over.
    fn send(&self, total: f64, mut packs: impl FnMut(Option<Step>) -> bool) -> f64 {
        let (mut now, mut queued, mut sent) = (0.0_f64, 0.0_f64, 0.0_f64);
        let mut seen = None;
        let mut packing = packs(seen);
        // When the step that is being made was begun.
        let mut begun = 0.0_f64;
        let mut taken = 0.0_f64;
        while sent < total {
            let speed = if packing { self.packs } else { self.reads };
            let ready = begun + STEP / speed;
            let wire = STEP * if packing { self.leaves } else { 1.0 };
            // Whoever sends asks for it as soon as all before it is in the buffer.
            let asked = now;
            let took = asked.max(ready);
            queued = (queued - (took - now) * self.link).max(0.0);
            now = took;
            seen = Some(Step {
                plain: STEP as u64,
                wire: wire as u64,
                took: Duration::from_secs_f64(took - taken),
                held: Duration::from_secs_f64((asked - ready).max(0.0)),
                missed: Duration::from_secs_f64((ready - asked).max(0.0)),
            });
            taken = took;
            // The next is begun now, judged by this one.
            packing = packs(seen);
            begun = now;
            queued += wire;
            if queued > self.buffer {
                now += (queued - self.buffer) / self.link;
                queued = self.buffer;
            }
            sent += STEP;
        }
        now + queued / self.link
    }

    /// How often longer it takes than the better one of the two fixed ways.
    fn cost(&self, total: f64) -> f64 {
        let best = self.send(total, |_| true).min(self.send(total, |_| false));
        let mut pace = Pace::new();
        let chosen = self.send(total, |seen| {
            if let Some(seen) = seen {
                pace.saw(seen);
            }
            pace.packs()
        });
        chosen / best
    }
}

#[test]
fn it_is_never_much_worse_than_the_better_way() {
    for link in [50e6 / 8.0, GIGABIT, 3e8, 6e8, LOOPBACK, 4e9] {
        for leaves in [0.1, 0.4, 0.7, 1.0] {
            let way = Way::of(link, leaves);
            // What it takes to find out is a tenth of a second at most.
            let cost = way.cost(8e9);
            assert!(cost < 1.05, "{link} B/s, {leaves} left: {cost} times");
        }
    }
}

#[test]
fn little_is_lost_on_a_fast_link() {
    for leaves in [0.1, 0.4, 1.0] {
        // Packing as it is seen in practice: a sixth of what the link takes.
        let way = Way {
            packs: 0.23e9,
            ..Way::of(LOOPBACK, leaves)
        };
        let lost = way.cost(4e9) - 1.0;
        let first = 5.0 * 1048576.0 / leaves / way.packs / (4e9 / LOOPBACK);
        assert!(
            lost < first + 0.01,
            "{leaves}: {lost}, of that {first} to begin with"
        );
    }
}

#[test]
fn a_slow_link_is_packed_for_from_the_first_byte() {
    let way = Way::of(50e6 / 8.0, 0.4);
    assert!(way.cost(64e6) < 1.001);
    let mut pace = Pace::new();
    way.send(1e9, |seen| {
        if let Some(seen) = seen {
            pace.saw(seen);
        }
        assert!(pace.packs());
        true
    });
}

#[test]
fn a_slow_processor_does_not_pack_for_long() {
    // Slower than the link although it leaves little.
    let way = Way {
        packs: 0.06e9,
        ..Way::of(GIGABIT, 0.4)
    };
    assert!(way.cost(4e9) < 1.05, "{}", way.cost(4e9));
    // As slow, and yet better than nothing.
    let way = Way {
        packs: 0.06e9,
        ..Way::of(0.04e9, 0.4)
    };
    assert!(way.cost(4e9) < 1.05, "{}", way.cost(4e9));
}

#[test]
fn a_large_buffer_only_delays_it() {
    let way = Way {
        buffer: 64e6,
        ..Way::of(50e6 / 8.0, 0.4)
    };
    assert!(way.cost(8e9) < 1.05, "{}", way.cost(8e9));
}

#[test]
fn a_link_that_becomes_slow_is_noticed() {
    let mut pace = Pace::new();
    let mut feed = |way: &Way, total| {
        way.send(total, |seen| {
            if let Some(seen) = seen {
                pace.saw(seen);
            }
            pace.packs()
        })
    };
    feed(&Way::of(LOOPBACK, 0.4), 1e9);
    let slow = Way::of(50e6 / 8.0, 0.4);
    let time = feed(&slow, 1e9);
    assert!(time < 1.1 * slow.send(1e9, |_| true), "{time}");
}
