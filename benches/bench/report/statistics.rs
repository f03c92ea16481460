//! Medians, and how a curve grows.

/// The middle value; between two, what lies in their middle. NaN of nothing.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => f64::NAN,
        count if count % 2 == 1 => sorted[middle],
        _ => f64::midpoint(sorted[middle - 1], sorted[middle]),
    }
}

/// How a curve grows between two of its points.
#[derive(Debug, Clone, Copy)]
pub struct Stretch {
    /// Where on the x axis it begins and ends.
    pub x: [f64; 2],
    /// The power of x: 0 is flat, 1 linear, 2 quadratic.
    pub power: f64,
}

/// Where a curve grows most, looked at ten times of x at a time: over all of it a part that does not
/// grow would hide one that grows too fast. Points that are not above 0 have no place there.
pub fn steepest(points: &[[f64; 2]]) -> Option<Stretch> {
    let points = points
        .iter()
        .filter(|point| point.iter().all(|value| *value > 0.0));
    let stretches = points.clone().filter_map(|from| {
        let to = points.clone().find(|to| to[0] >= from[0] * 9.99)?;
        Some(Stretch {
            x: [from[0], to[0]],
            power: (to[1] / from[1]).ln() / (to[0] / from[0]).ln(),
        })
    });
    stretches.max_by(|one, other| one.power.total_cmp(&other.power))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_in_any_order() {
        assert!((median(&[3.0, 1.0, 2.0]) - 2.0).abs() < 1e-9);
        assert!((median(&[4.0, 1.0, 2.0, 100.0]) - 3.0).abs() < 1e-9);
        assert!((median(&[7.0]) - 7.0).abs() < 1e-9);
        assert!(median(&[]).is_nan());
    }

    #[test]
    fn powers_of_known_curves() {
        for expected in 0..3 {
            let curve = [1.0, 10.0, 100.0, 1000.0].map(|x: f64| [x, 3.0 * x.powi(expected)]);
            let found = steepest(&curve).unwrap().power;
            assert!((found - f64::from(expected)).abs() < 1e-9, "{found}");
        }
        assert!(steepest(&[[1.0, 1.0]]).is_none());
        assert!(steepest(&[[1.0, 1.0], [2.0, 2.0]]).is_none());
        assert!(steepest(&[]).is_none());
    }

    #[test]
    fn a_flat_beginning_hides_nothing() {
        let bent = [
            [0.0, 5.0],
            [1.0, 2.0],
            [10.0, 2.0],
            [100.0, 200.0],
            [1000.0, 200.0],
        ];
        let found = steepest(&bent).unwrap();
        assert!((found.x[0] - 10.0).abs() < 1e-9 && (found.x[1] - 100.0).abs() < 1e-9);
        assert!((found.power - 2.0).abs() < 1e-9, "{found:?}");
    }
}
