//! Random numbers on kernels before 3.17.
//!
//! The TLS library (AWS-LC) reads `/dev/urandom` where there is no `getrandom`, and before its
//! first read it waits until the kernel counts 256 bits of entropy. A node that starts programs all
//! the time may hover below that for a while. So the wait is done here, where it can be told.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context as _;

use crate::sys::entropy;

/// What the library waits for, in bits.
const ENOUGH: u32 = 256;
const GLANCE: Duration = Duration::from_millis(250);
/// How often it is said again.
const REMIND: Duration = Duration::from_secs(60);

/// Returns when there are random numbers and the TLS library will not have to wait for them. Blocks; a
/// signal ends the daemon meanwhile.
///
/// # Errors
/// Where there are none at all, as in a root folder without devices.
pub fn wait() -> anyhow::Result<()> {
    if !entropy::has_getrandom() {
        wait_for_entropy()?;
    }
    // The static program has no symbol to find getrandom(2) by at run time, so the libraries below
    // read the devices, whatever the kernel; some of them end the program where they cannot.
    getrandom::fill(&mut [0]).context(
        "no random numbers: /dev/random and /dev/urandom have to be there (in a root folder of its \
         own: mknod -m 666 DIR/dev/random c 1 8; mknod -m 666 DIR/dev/urandom c 1 9)",
    )?;
    Ok(())
}

fn wait_for_entropy() -> anyhow::Result<()> {
    let mut said: Option<Instant> = None;
    loop {
        let bits = entropy::bits().context("no random numbers from /dev/urandom")?;
        if bits >= ENOUGH {
            return Ok(());
        }
        if said.is_none_or(|said| said.elapsed() >= REMIND) {
            tracing::warn!(
                bits,
                "waiting until the kernel counts {ENOUGH} bits of entropy \
                 (/proc/sys/kernel/random/entropy_avail); if that takes long, run rngd"
            );
            said = Some(Instant::now());
        }
        thread::sleep(GLANCE);
    }
}
