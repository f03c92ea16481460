//! What fails now and may work later is tried again.

use std::time::Duration;

use super::say;
use crate::causes;
use crate::client::ClientError;

/// So many tries in a row without anything gained: some two minutes.
const TRIES: u32 = 8;
const LONGEST: Duration = Duration::from_secs(30);

/// Counts tries that gained nothing.
#[derive(Debug, Default)]
pub struct Patience {
    tries: u32,
}

impl Patience {
    /// Something was gained: all tries are left again.
    pub fn renew(&mut self) {
        self.tries = 0;
    }

    /// Waits before the next try.
    ///
    /// # Errors
    /// The error itself, where another try is of no use or too many were.
    pub async fn wait(&mut self, error: ClientError) -> Result<(), ClientError> {
        if !error.is_transient() || self.tries >= TRIES {
            return Err(error);
        }
        let pause = pause(self.tries);
        self.tries += 1;
        let seconds = pause.as_secs();
        let text = causes::of(&error);
        say(&format!("ovm-exporter: {text}; again in {seconds} s"));
        tokio::time::sleep(pause).await;
        Ok(())
    }
}

/// Twice as long each time.
fn pause(tries: u32) -> Duration {
    Duration::from_secs(1 << tries.min(16)).min(LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_limit() {
        let seconds: Vec<u64> = (0..TRIES).map(|tries| pause(tries).as_secs()).collect();
        assert_eq!(seconds, [1, 2, 4, 8, 16, 30, 30, 30]);
    }
}
