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

/// With which power of x the curve grows: 0 is flat, 1 linear, 2 quadratic. The slope of the
/// straight line that lies nearest to the points on paper with two logarithmic scales; NaN of less
/// than two points. Points that are not above 0 have no place there.
pub fn power(points: &[[f64; 2]]) -> f64 {
    let logarithms: Vec<[f64; 2]> = points
        .iter()
        .filter(|point| point.iter().all(|value| *value > 0.0))
        .map(|[x, y]| [x.ln(), y.ln()])
        .collect();
    let mean = |axis: usize| {
        let sum: f64 = logarithms.iter().map(|point| point[axis]).sum();
        sum / logarithms.len() as f64
    };
    let (across, up) = (mean(0), mean(1));
    let (mut common, mut spread) = (0.0, 0.0);
    for [x, y] in &logarithms {
        common += (x - across) * (y - up);
        spread += (x - across).powi(2);
    }
    common / spread
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
        let curve = |power: i32| -> Vec<[f64; 2]> {
            let xs = [1.0, 10.0, 100.0, 1000.0];
            xs.map(|x: f64| [x, 3.0 * x.powi(power)]).to_vec()
        };
        for expected in 0..3 {
            let found = power(&curve(expected));
            assert!((found - f64::from(expected)).abs() < 1e-9, "{found}");
        }
        assert!(power(&[[1.0, 1.0]]).is_nan());
        assert!(power(&[]).is_nan());
        assert!((power(&[[0.0, 5.0], [1.0, 2.0], [2.0, 4.0]]) - 1.0).abs() < 1e-9);
    }
}
