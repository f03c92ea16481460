use serde::Serialize;

use super::bar::Bar;
use super::statistics::{median, steepest};

/// One thing that was measured.
#[derive(Debug, Clone, Serialize)]
pub struct Figure {
    /// What people and programs call it.
    pub name: &'static str,
    /// The median; null where nothing was measured.
    pub value: Option<f64>,
    /// What the value counts.
    pub unit: &'static str,
    /// What it has to reach; null where it is only told.
    pub bar: Option<Bar>,
    /// Whether it does. What has no bar misses none.
    pub ok: bool,
    /// What the value is made of.
    pub runs: Vec<Run>,
    /// For people: what it was measured on, and the absolute numbers.
    pub note: String,
}

/// One measurement.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(untagged)]
pub enum Run {
    /// A value.
    Value(f64),
    /// A point of a curve.
    Point([f64; 2]),
}

impl Figure {
    /// The median of values.
    pub fn of(
        name: &'static str,
        unit: &'static str,
        bar: impl Into<Option<Bar>>,
        values: &[f64],
        note: impl Into<String>,
    ) -> Figure {
        let runs = values.iter().copied().map(Run::Value).collect();
        Figure::new(name, unit, bar.into(), median(values), runs, note.into())
    }

    /// How a curve grows where it grows most: see [`steepest`].
    pub fn curve(
        name: &'static str,
        bar: impl Into<Option<Bar>>,
        points: &[[f64; 2]],
        note: impl Into<String>,
    ) -> Figure {
        let runs = points.iter().copied().map(Run::Point).collect();
        let power = steepest(points).map_or(f64::NAN, |stretch| stretch.power);
        Figure::new(name, "power", bar.into(), power, runs, note.into())
    }

    /// Something that was not measured, and why.
    pub fn missing(name: &'static str, note: impl Into<String>) -> Figure {
        Figure::new(name, "×", None, f64::NAN, Vec::new(), note.into())
    }

    fn new(
        name: &'static str,
        unit: &'static str,
        bar: Option<Bar>,
        value: f64,
        runs: Vec<Run>,
        note: String,
    ) -> Figure {
        Figure {
            name,
            value: value.is_finite().then_some(value),
            unit,
            bar,
            ok: value.is_finite() && bar.is_none_or(|bar| bar.is_met(value)),
            runs,
            note,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_decides() {
        let figure = Figure::of("a", "×", Bar::AtLeast(2.0), &[1.0, 2.0, 9.0], "");
        assert!(figure.ok);
        let figure = Figure::of("a", "×", Bar::AtLeast(2.0), &[1.0, 1.9, 9.0], "");
        assert!(!figure.ok);
        assert!(Figure::of("a", "×", None, &[1.0], "").ok);
    }

    #[test]
    fn what_was_not_measured_is_not_met() {
        for figure in [
            Figure::of("a", "×", Bar::AtMost(2.0), &[], ""),
            Figure::missing("a", "why"),
        ] {
            assert!(!figure.ok && figure.value.is_none());
        }
    }

    #[test]
    fn a_curve_is_judged_by_its_power() {
        let points = [[1.0, 2.0], [10.0, 20.0], [100.0, 200.0]];
        assert!(Figure::curve("a", Bar::AtMost(1.1), &points, "").ok);
        let points = [[1.0, 2.0], [10.0, 200.0]];
        assert!(!Figure::curve("a", Bar::AtMost(1.1), &points, "").ok);
    }
}
