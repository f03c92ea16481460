//! How often a test repeats itself.

/// `long` where the environment has `TEST_LONG`, else `reduced`.
pub fn count(reduced: u32, long: u32) -> u32 {
    if std::env::var_os("TEST_LONG").is_some() {
        long
    } else {
        reduced
    }
}
