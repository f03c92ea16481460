//! How much of a long test is run.

/// `reduced` as a rule, `long` where the environment variable `TEST_LONG` is set.
pub fn count(reduced: u32, long: u32) -> u32 {
    if std::env::var_os("TEST_LONG").is_some() {
        long
    } else {
        reduced
    }
}
