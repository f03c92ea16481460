//! The picture as SVG, for light and dark pages.

use std::fmt::Write as _;

use super::buckets::Sort;
use super::{Picture, legend};

const COLUMNS: usize = 96;
/// Cells of a disk, at most.
pub const CELLS: usize = COLUMNS * 24;

/// Pixels.
const CELL: usize = 10;
const MARGIN: usize = 20;
const LINE: usize = 22;
const WIDTH: usize = COLUMNS * CELL + 2 * MARGIN;

const STYLE: &str = "\
text{font:13px system-ui,sans-serif;fill:#24292f}\
.title{font-weight:600;font-size:15px}\
.page{fill:#fff}.zero{fill:#e7eaee}.data{fill:#5b8fd6}.changed{fill:#d6453d}.cleared{fill:#9a5bd6}\
@media(prefers-color-scheme:dark){\
text{fill:#e6edf3}\
.page{fill:#0d1117}.zero{fill:#21262d}.data{fill:#3d6db0}.changed{fill:#f0655c}\
.cleared{fill:#b585ec}}";

/// A whole document. Its title may be of several lines.
pub fn document(title: &str, pictures: &[Picture]) -> String {
    let mut body = String::new();
    let mut y = MARGIN + 14 - LINE;
    for (at, line) in title.lines().enumerate() {
        y += LINE;
        let class = if at == 0 { "title" } else { "heading" };
        text(&mut body, class, MARGIN, y, line);
    }
    for picture in pictures {
        y += LINE + 8;
        text(&mut body, "heading", MARGIN, y, &legend::heading(picture));
        y += 10;
        cells(&mut body, y, picture);
        y += picture.buckets.parts().len().div_ceil(COLUMNS) * CELL + LINE;
        let mut x = MARGIN;
        for entry in legend::of(picture) {
            square(&mut body, entry.sort, x, y - CELL, 1, 4);
            text(&mut body, "legend", x + CELL + 6, y, &entry.text);
            // Some seven pixels a letter.
            x += CELL + 24 + entry.text.chars().count() * 7;
        }
    }
    let height = y + MARGIN;
    let title = escaped(&title.replace('\n', ", "));
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" \
         width=\"{WIDTH}\" height=\"{height}\" role=\"img\">\n<title>{title}</title>\n\
         <style>{STYLE}</style>\n\
         <rect class=\"page\" width=\"{WIDTH}\" height=\"{height}\"/>\n{body}</svg>\n"
    )
}

/// Cells that look alike and lie beside each other are one rectangle.
fn cells(body: &mut String, top: usize, picture: &Picture) {
    for (row, parts) in picture.buckets.parts().chunks(COLUMNS).enumerate() {
        let mut column = 0;
        for run in parts
            .chunk_by(|one, other| (one.sort(), one.quarters()) == (other.sort(), other.quarters()))
        {
            let (x, y) = (MARGIN + column * CELL, top + row * CELL);
            square(body, run[0].sort(), x, y, run.len(), run[0].quarters());
            column += run.len();
        }
    }
}

fn square(body: &mut String, sort: Sort, x: usize, y: usize, cells: usize, quarters: u8) {
    let class = match sort {
        Sort::Zero => "zero",
        Sort::Data => "data",
        Sort::Changed => "changed",
        Sort::Cleared => "cleared",
    };
    let (width, height) = (cells * CELL - 1, CELL - 1);
    let opacity = match quarters {
        1 => " opacity=\".55\"",
        2 => " opacity=\".7\"",
        3 => " opacity=\".85\"",
        _ => "",
    };
    // Writing to a String cannot fail.
    let _ = writeln!(
        body,
        "<rect class=\"{class}\" x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\"{opacity}/>"
    );
}

fn text(body: &mut String, class: &str, x: usize, y: usize, text: &str) {
    let text = escaped(text);
    let _ = writeln!(
        body,
        "<text class=\"{class}\" x=\"{x}\" y=\"{y}\">{text}</text>"
    );
}

/// Names come from a node: they may have anything in them, also what XML cannot say.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '&' => escaped.push_str("&amp;"),
            '"' => escaped.push_str("&quot;"),
            letter if letter.is_control() || matches!(letter, '\u{fffe}' | '\u{ffff}') => {
                escaped.push('\u{fffd}');
            }
            letter => escaped.push(letter),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::super::buckets::{Buckets, Layer};
    use super::*;
    use crate::protocol::{ChangeKind, ChangedRange};

    #[test]
    fn hostile_names_stay_text_and_rows_are_few_rectangles() {
        let mut buckets = Buckets::new(1 << 30, CELLS);
        let data = ChangedRange {
            start: 0,
            length: 1 << 29,
            kind: ChangeKind::Data,
        };
        buckets.take(Layer::Whole, &data);
        let picture = Picture {
            name: "<script>&\u{1}\".img".to_owned(),
            buckets,
            compared: false,
        };
        let document = document("A & B\nand C", &[picture]);
        assert!(document.contains("&lt;script&gt;&amp;\u{fffd}&quot;.img"));
        assert!(!document.contains("<script"));
        assert!(document.contains("<title>A &amp; B, and C</title>"));
        assert!(document.contains(">and C</text>"));
        // The page, a run in each of 24 rows, and two signs of the legend.
        assert_eq!(document.matches("<rect").count(), 1 + 24 + 2);
    }
}
