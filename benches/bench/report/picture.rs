//! The gated figures as bars, each against what it has to reach.
//!
//! Some have to be large and some small. A bar's length is how many times better a figure is than
//! asked for, so that all can be read alike: right of the line is met, left of it is missed. The
//! scale is logarithmic, since some are twenty times better and some a tenth.

use std::fmt::Write as _;

use super::table::number;
use super::{Figure, Report};

const WIDTH: f64 = 760.0;
const ROW: f64 = 26.0;
const TOP: f64 = 92.0;
/// Where the bars begin, and how wide the place for them is.
const LEFT: f64 = 300.0;
const SPAN: f64 = 250.0;
/// The scale goes from one part in this to this many times.
const DECADE: f64 = 10.0;

/// Middle tones, which can be read on white and on black; where the reader's preference is known,
/// the text follows it.
const STYLE: &str = "\
text { font: 12px system-ui, sans-serif; fill: #768390 }\n\
.head { font-size: 15px; font-weight: 600 }\n\
.met { fill: #2f9e5b } .missed { fill: #d9822b }\n\
.limit { stroke: #8250df; stroke-width: 2 } .grid { stroke: #8c959f; stroke-width: .5 }\n\
@media (prefers-color-scheme: light) { text { fill: #424a53 } }\n\
@media (prefers-color-scheme: dark) { text { fill: #c9d1d9 } .limit { stroke: #b392f0 } }\n";

pub fn picture(report: &Report) -> String {
    let bars: Vec<(&Figure, f64, f64)> = report
        .figures
        .iter()
        .filter_map(|figure| {
            let (bar, value) = (figure.bar?, figure.value?);
            Some((figure, value, bar.room(value)))
        })
        .collect();
    let bottom = bars.iter().fold(TOP, |top, _| top + ROW);
    let mut svg = String::new();
    // Writing to a String cannot fail.
    let _ = writeln!(
        svg,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" \
         width=\"{WIDTH}\" height=\"{height}\" role=\"img\">\n<title>Performance: {met} of {all} \
         bars met</title>\n<style>\n{STYLE}</style>",
        height = bottom + 30.0,
        met = bars.iter().filter(|(figure, ..)| figure.ok).count(),
        all = bars.len(),
    );
    text(
        &mut svg,
        "head",
        20.0,
        26.0,
        "Measured against what it has to reach",
    );
    text(&mut svg, "", 20.0, 46.0, &report.machine);
    let when = format!("{}, load {}", report.date, report.load);
    text(&mut svg, "", 20.0, 64.0, &when);
    for (room, label) in [(0.1, "a tenth"), (1.0, "the bar"), (10.0, "10 × better")] {
        let x = place(room);
        let class = if room == 1.0 { "limit" } else { "grid" };
        let _ = writeln!(
            svg,
            "<line class=\"{class}\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{TOP}\" y2=\"{bottom}\"/>"
        );
        let _ = writeln!(
            svg,
            "<text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{label}</text>",
            TOP - 6.0
        );
    }
    let mut top = TOP;
    for (figure, value, room) in bars {
        let class = if figure.ok { "met" } else { "missed" };
        let _ = writeln!(
            svg,
            "<rect class=\"{class}\" x=\"{LEFT}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{:.1}\" \
             rx=\"2\" opacity=\".85\"/>",
            top + 5.0,
            (place(room) - LEFT).max(2.0),
            ROW - 10.0,
        );
        text(&mut svg, "", 20.0, top + 18.0, figure.name);
        let bar = figure.bar.map(|bar| bar.to_string()).unwrap_or_default();
        let bar = bar.replace(">=", "≥").replace("<=", "≤");
        let told = format!("{} {} (bar {bar})", number(value), figure.unit);
        text(&mut svg, "", LEFT + SPAN + 16.0, top + 18.0, &told);
        top += ROW;
    }
    svg.push_str("</svg>\n");
    svg
}

/// Where on the scale so many times better lies.
fn place(room: f64) -> f64 {
    let room = room.clamp(1.0 / DECADE, DECADE);
    LEFT + SPAN * (room.log10() + 1.0) / 2.0
}

fn text(svg: &mut String, class: &str, x: f64, y: f64, text: &str) {
    let text = text
        .replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;");
    let _ = writeln!(
        svg,
        "<text class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\">{text}</text>"
    );
}

#[cfg(test)]
mod tests {
    use super::super::example;
    use super::*;

    #[test]
    fn the_scale_has_the_bar_in_its_middle_and_ends() {
        assert!((place(1.0) - (LEFT + SPAN / 2.0)).abs() < 1e-9);
        assert!((place(0.0) - LEFT).abs() < 1e-9);
        assert!((place(f64::INFINITY) - (LEFT + SPAN)).abs() < 1e-9);
        assert!(place(2.0) > place(1.0) && place(0.5) < place(1.0));
    }

    #[test]
    fn gated_figures_have_a_bar_and_the_rest_none() {
        let svg = example().picture();
        assert_eq!(svg.matches("<rect").count(), 4);
        assert_eq!(svg.matches("class=\"limit\"").count(), 1);
        assert_eq!(svg.matches("rect class=\"missed\"").count(), 1);
        assert!(svg.contains("3 of 4 bars met"));
        assert!(svg.contains("0.800 × (bar ≤ 0.4)"));
        assert!(!svg.contains("told") && !svg.contains("absent"));
    }

    #[test]
    fn machine_and_date_are_in_it_as_text() {
        let svg = example().picture();
        assert!(svg.contains("A &lt;fast&gt; one &amp; another, 2 cores"));
        assert!(svg.contains("2026-01-02T03:04:05Z"));
        assert!(svg.contains("prefers-color-scheme: dark"));
    }
}
