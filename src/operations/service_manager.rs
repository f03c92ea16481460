//! What the daemon tells whoever started it, sd_notify(3), and the watchdog that waits for it. Where
//! nobody asked to be told, as with upstart, all of this is nothing.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use sd_notify::NotifyState;
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::server::lifecycle::Lifecycle;
use crate::server::pulse::Pulse;

/// It can be asked from now on.
pub(super) fn ready(address: SocketAddr) {
    let status = format!("serving on {address}");
    tell(&[NotifyState::Status(&status), NotifyState::Ready]);
}

/// It has begun to take up what is on disk. [`reloaded`] follows.
pub(super) fn reloading() {
    // From version 253 on, systemd compares this time with that of its own request.
    if let Ok(now) = NotifyState::monotonic_usec_now() {
        tell(&[NotifyState::Reloading, now]);
    }
}

/// It has taken up what is good of it.
pub(super) fn reloaded() {
    tell(&[NotifyState::Ready]);
}

/// It finishes what is being answered.
pub(super) fn stopping() {
    tell(&[NotifyState::Stopping]);
}

/// Keeps a watchdog quiet, if there is one: says twice in each of its intervals that the daemon
/// serves, which is asked of the accept loop each time. A daemon that stops accepts nothing; it is
/// alive as long as this task is.
///
/// Storage is not asked. A daemon that waits for a dead node's locks serves; to end it would help
/// nobody.
pub(super) async fn keep_watchdog_quiet(pulse: Pulse, lifecycle: Arc<Lifecycle>) {
    let Some(limit) = sd_notify::watchdog_enabled() else {
        return;
    };
    let mut round = interval((limit / 2).max(Duration::from_millis(1)));
    round.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        round.tick().await;
        let serves = async {
            tokio::select! {
                () = pulse.felt() => {}
                () = lifecycle.stopping() => {}
            }
        };
        tokio::pin!(serves);
        if timeout(limit / 4, &mut serves).await.is_err() {
            tracing::error!(
                "no connection is accepted any more; the watchdog ends the daemon in {:?}",
                limit / 4
            );
            serves.await;
        }
        // A service manager that hangs lets this wait.
        tokio::task::block_in_place(|| tell(&[NotifyState::Watchdog]));
    }
}

fn tell(states: &[NotifyState<'_>]) {
    // Who does not listen, does not want to know.
    let _ = sd_notify::notify(states);
}
