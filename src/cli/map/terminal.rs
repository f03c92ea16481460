//! The picture on a terminal.

use std::io::IsTerminal as _;

use super::buckets::{Bucket, Sort};
use super::{Picture, legend};

/// Rows of a disk, at most.
const ROWS: usize = 16;
/// Where nobody says how wide the terminal is.
const WIDTH: usize = 80;
/// Wider, nobody finds a place again.
const WIDEST: usize = 128;

/// What a terminal can show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Screen {
    pub width: usize,
    pub colour: bool,
    pub unicode: bool,
}

impl Screen {
    /// As the environment says: colours on a terminal, unless `NO_COLOR` is set; blocks where the
    /// locale has them.
    pub fn of_environment() -> Screen {
        let variable = |name: &str| std::env::var(name).unwrap_or_default();
        let locale = ["LC_ALL", "LC_CTYPE", "LANG"]
            .map(variable)
            .into_iter()
            .find(|value| !value.is_empty())
            .unwrap_or_default()
            .to_lowercase();
        let terminal = std::io::stdout().is_terminal();
        let dumb = variable("TERM") == "dumb";
        let width = terminal_size::terminal_size().map(|(width, _)| usize::from(width.0));
        Screen {
            width: width
                .filter(|_| terminal)
                .unwrap_or(WIDTH)
                .clamp(10, WIDEST),
            colour: terminal && !dumb && variable("NO_COLOR").is_empty(),
            unicode: terminal && !dumb && (locale.contains("utf-8") || locale.contains("utf8")),
        }
    }

    /// Cells of a picture.
    pub fn cells(self) -> usize {
        (self.width - 2) * ROWS
    }

    /// All disks with their legends.
    pub fn draw(self, title: &str, pictures: &[Picture]) -> String {
        let mut text = format!("{title}\n");
        for picture in pictures {
            text += &format!("\n{}\n", legend::heading(picture));
            for row in picture.buckets.parts().chunks(self.width - 2) {
                text += &format!(" {}\n", self.row(row));
            }
            let entries = legend::of(picture).into_iter().map(|entry| {
                let sign = self.painted(entry.sort, &self.sign(entry.sort, 4).to_string());
                format!("{sign} {}", entry.text)
            });
            text += &format!(" {}\n", entries.collect::<Vec<_>>().join("   "));
        }
        text
    }

    /// Cells beside each other, those of one colour in one piece.
    fn row(self, cells: &[Bucket]) -> String {
        cells
            .chunk_by(|one, other| one.sort() == other.sort())
            .map(|run| {
                let sort = run[0].sort();
                let signs: String = run
                    .iter()
                    .map(|cell| self.sign(sort, cell.quarters()))
                    .collect();
                self.painted(sort, &signs)
            })
            .collect()
    }

    /// Letters are large where at least half of a part is of the sort. With colours blocks tell how
    /// much, without they have to tell the sort.
    fn sign(self, sort: Sort, quarters: u8) -> char {
        if self.unicode && self.colour {
            return match (sort, quarters) {
                (Sort::Zero, _) => '·',
                (_, 1) => '░',
                (_, 2) => '▒',
                (_, 3) => '▓',
                _ => '█',
            };
        }
        let (sparse, dense) = match sort {
            Sort::Zero => ('.', '.'),
            Sort::Data => ('a', 'A'),
            Sort::Changed => ('c', 'C'),
            Sort::Cleared => ('z', 'Z'),
        };
        if quarters > 2 { dense } else { sparse }
    }

    fn painted(self, sort: Sort, text: &str) -> String {
        if !self.colour {
            return text.to_owned();
        }
        let colour = match sort {
            Sort::Zero => "90",
            Sort::Data => "34",
            Sort::Changed => "31",
            Sort::Cleared => "35",
        };
        format!("\x1b[{colour}m{text}\x1b[0m")
    }
}

#[cfg(test)]
mod tests {
    use super::super::buckets::{Buckets, Layer};
    use super::*;
    use crate::protocol::{ChangeKind, ChangedRange};

    fn picture() -> Picture {
        let mut buckets = Buckets::new(8 << 12, 8);
        let mut take = |layer, start: u64, blocks: u64, kind| {
            let (start, length) = (start << 12, blocks << 12);
            let range = ChangedRange {
                start,
                length,
                kind,
            };
            buckets.take(layer, &range);
        };
        take(Layer::Whole, 0, 4, ChangeKind::Data);
        take(Layer::Changes, 1, 1, ChangeKind::Data);
        take(Layer::Changes, 4, 1, ChangeKind::Zero);
        Picture {
            name: "System.img".to_owned(),
            buckets,
            compared: true,
        }
    }

    #[test]
    fn without_colours_letters_tell() {
        let screen = Screen {
            width: 10,
            colour: false,
            unicode: false,
        };
        let drawn = screen.draw("Title", &[picture()]);
        assert_eq!(
            drawn,
            "Title\n\nSystem.img, 32.0 KiB, 4.0 KiB a cell\n ACAAZ...\n C changed 4.0 KiB   \
             Z became zero 4.0 KiB   A allocated (changed or not) 16.0 KiB   . zero 16.0 KiB\n"
        );
    }

    #[test]
    fn no_line_of_the_picture_is_wider_than_the_terminal() {
        let screen = Screen {
            width: 12,
            colour: false,
            unicode: true,
        };
        let mut large = picture();
        large.buckets = Buckets::new(1 << 40, screen.cells());
        let drawn = screen.draw("", &[large]);
        let rows: Vec<&str> = drawn.lines().filter(|line| line.ends_with("..")).collect();
        assert_eq!(rows.len(), ROWS);
        assert!(rows.iter().all(|row| row.len() <= 12), "{rows:?}");
    }

    #[test]
    fn a_run_of_one_colour_is_painted_once() {
        let screen = Screen {
            width: 80,
            colour: true,
            unicode: true,
        };
        let drawn = screen.draw("", &[picture()]);
        assert!(drawn.contains("\x1b[34m██\x1b[0m\x1b[35m█\x1b[0m\x1b[90m···\x1b[0m"));
    }
}
