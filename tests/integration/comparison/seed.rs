//! Where random numbers begin, so that a failure can be run again.

use rand::SeedableRng;
use rand::rngs::StdRng;

/// Says its number when a test fails.
#[derive(Debug)]
pub struct Seed(pub u64);

impl Seed {
    /// From the environment variable `TEST_SEED`, or a new one.
    pub fn choose() -> Seed {
        Seed(
            std::env::var("TEST_SEED")
                .map_or_else(|_| rand::random(), |text| text.parse().unwrap()),
        )
    }

    pub fn random(&self) -> StdRng {
        StdRng::seed_from_u64(self.0)
    }
}

impl Drop for Seed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("run it again with TEST_SEED={}", self.0);
        }
    }
}
