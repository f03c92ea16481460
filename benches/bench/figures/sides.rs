//! The two sides of pairs.

use crate::report::median;

/// One side against the other, pair by pair.
pub fn ratios<T>(pairs: &[(T, T)], what: impl Fn(&T) -> f64) -> Vec<f64> {
    let ratio = |(one, other): &(T, T)| what(one) / what(other);
    pairs.iter().map(ratio).collect()
}

/// The medians of both sides, for people.
pub fn told<T>(unit: &str, pairs: &[(T, T)], what: impl Fn(&T) -> f64) -> String {
    let one: Vec<f64> = pairs.iter().map(|pair| what(&pair.0)).collect();
    let other: Vec<f64> = pairs.iter().map(|pair| what(&pair.1)).collect();
    format!(
        "{} {unit} against {}",
        digits(median(&one)),
        digits(median(&other))
    )
}

/// Seconds of both sides, as milliseconds.
pub fn milliseconds(pairs: &[(f64, f64)]) -> String {
    told("ms", pairs, |seconds| seconds * 1e3)
}

fn digits(value: f64) -> String {
    let places = match value {
        value if value >= 100.0 => 0,
        value if value >= 10.0 => 1,
        _ => 3,
    };
    format!("{value:.places$}")
}
