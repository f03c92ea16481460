//! The private network: a loopback that nobody else uses.

use std::fs;
use std::process::Command;

use anyhow::Context as _;
use coriolis_ovm_exporter::operations::demo::ground::run;

const CONTROL: &str = "/proc/sys/net/ipv4/tcp_congestion_control";

/// The network namespace that this process lives in.
pub struct Network {
    /// What the machine's own loopback uses.
    pub usual: String,
}

/// How fast the loopback is.
#[derive(Debug, Clone, Copy)]
pub enum Link {
    /// As fast as it can.
    Unbounded,
    /// A token bucket of so many megabits (10^6) a second, both directions together.
    Megabits(u64),
}

/// Until it is dropped.
pub struct SlowedDown(bool);

impl Drop for SlowedDown {
    fn drop(&mut self) {
        if self.0 {
            let _ = run(Command::new("tc").args(["qdisc", "del", "dev", "lo", "root"]));
        }
    }
}

impl Network {
    /// Makes the loopback such a link.
    pub fn slow_down(&self, link: Link) -> anyhow::Result<SlowedDown> {
        let Link::Megabits(rate) = link else {
            return Ok(SlowedDown(false));
        };
        // A bucket holds what passes in a few milliseconds, and at least two packets of the
        // loopback, which are large.
        let burst = (rate * 1_000_000 / 8 / 250).max(192 << 10);
        let rate = format!("{rate}mbit");
        run(Command::new("tc")
            .args(["qdisc", "add", "dev", "lo", "root", "tbf", "rate", &rate])
            .args(["burst", &burst.to_string(), "latency", "100ms"]))?;
        Ok(SlowedDown(true))
    }

    /// Brings the loopback up, with reno: it is steadier than BBR, whose estimates of a loopback
    /// wander.
    pub fn bring_up() -> anyhow::Result<Network> {
        run(Command::new("ip").args(["link", "set", "lo", "up"]))?;
        let usual = fs::read_to_string(CONTROL).context(CONTROL)?;
        let network = Network {
            usual: usual.trim().to_owned(),
        };
        network.control("reno")?;
        Ok(network)
    }

    /// Connections that begin from now on use this congestion control.
    pub fn control(&self, name: &str) -> anyhow::Result<()> {
        fs::write(CONTROL, name).with_context(|| format!("cannot choose {name} in {CONTROL}"))
    }

    /// Bytes that have gone over the loopback, both ways, with all headers.
    pub fn bytes(&self) -> anyhow::Result<u64> {
        let text = fs::read_to_string("/proc/net/dev")?;
        let line = text
            .lines()
            .find_map(|line| line.trim().strip_prefix("lo:"));
        let bytes = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
        bytes.context("/proc/net/dev has no loopback")
    }
}
