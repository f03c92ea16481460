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

/// Returns when the TLS library will not have to wait. Blocks; a signal ends the daemon meanwhile.
///
/// # Errors
/// Where the kernel has no random numbers at all.
pub fn wait() -> anyhow::Result<()> {
    if entropy::has_getrandom() {
        return Ok(());
    }
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
