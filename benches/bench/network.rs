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

impl Network {
    /// Brings the loopback up, with reno: it is steadier than BBR, whose estimates of a loopback
    /// wander.
    pub fn bring_up() -> anyhow::Result<Network> {
        let mut ip = Command::new("ip");
        ip.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        run(ip.args(["link", "set", "lo", "up"]))?;
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

    /// Runs something while no more than so many megabits a second pass: a token bucket.
    pub fn slowed<T>(
        &self,
        megabits: u32,
        what: impl FnOnce() -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        let rate = format!("{megabits}mbit");
        let bucket = [
            "root", "tbf", "rate", &rate, "burst", "256kb", "latency", "50ms",
        ];
        tc("add", &bucket)?;
        let done = what();
        tc("del", &["root"])?;
        done
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

fn tc(action: &str, rest: &[&str]) -> anyhow::Result<()> {
    let mut tc = Command::new("tc");
    tc.args(["qdisc", action, "dev", "lo"]).args(rest);
    // A user's path may not lead there.
    run(tc.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"))
}
