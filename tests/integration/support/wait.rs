//! Waiting for something to become true, with an end to it.

use std::fmt::Debug;
use std::time::{Duration, Instant};

/// How long a condition may take. Far more than it needs: only a failing test waits so long.
const PATIENCE: Duration = Duration::from_secs(30);
const GLANCE: Duration = Duration::from_millis(20);

/// Looks again and again until `wrong` is empty: it lists what still keeps the condition from
/// being true.
///
/// # Panics
/// When that takes too long, with what is still wrong.
pub async fn until_nothing<T: Debug>(what: &str, mut wrong: impl FnMut() -> Vec<T>) {
    let begun = Instant::now();
    loop {
        let left = wrong();
        if left.is_empty() {
            return;
        }
        assert!(begun.elapsed() < PATIENCE, "{what}: still {left:#?}");
        tokio::time::sleep(GLANCE).await;
    }
}

/// The same for what blocks, with a yes or no.
///
/// # Panics
/// When that takes too long.
pub fn until(what: &str, mut done: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !done() {
        assert!(
            begun.elapsed() < PATIENCE,
            "{what}: not so after {PATIENCE:?}"
        );
        std::thread::sleep(GLANCE);
    }
}

/// The same for a question that is asked of a daemon.
///
/// # Panics
/// When that takes too long.
pub async fn until_told(what: &str, mut done: impl AsyncFnMut() -> bool) {
    let begun = Instant::now();
    while !done().await {
        assert!(
            begun.elapsed() < PATIENCE,
            "{what}: not so after {PATIENCE:?}"
        );
        tokio::time::sleep(GLANCE).await;
    }
}
