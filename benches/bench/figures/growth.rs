//! Curves.

use crate::report::{Bar, Figure, steepest};

/// What still is linear: trees are one level deeper for many times as much in them.
const LINEAR: f64 = 1.2;

/// A curve that may grow as x does, and no faster. What it does is said.
pub fn figure(name: &'static str, points: &[[f64; 2]], what: &str) -> Figure {
    let mut figure = Figure::curve(name, Bar::AtMost(LINEAR), points, "");
    let kind = match figure.value {
        None => "too few points",
        Some(power) if power <= 0.2 => "flat",
        Some(power) if power < 0.8 => "slower than linear",
        Some(power) if power <= LINEAR => "linear",
        Some(_) => "FASTER than linear",
    };
    let told: Vec<String> = points
        .iter()
        .map(|[x, y]| format!("{x}: {}", short(*y)))
        .collect();
    let places = match steepest(points) {
        Some(stretch) => format!(", most from {} to {}", stretch.x[0], stretch.x[1]),
        None => String::new(),
    };
    figure.note = format!("{what}: {kind}{places} ({})", told.join(", "));
    figure
}

fn short(value: f64) -> String {
    let places = match value {
        value if value >= 100.0 => 0,
        value if value >= 1.0 => 2,
        _ => 4,
    };
    format!("{value:.places$}")
}
