//! A listing as text, in each form.

use comfy_table::{
    ColumnConstraint, ContentArrangement, ContentLineStyle, LineStyle, Table, TableStyle,
};
use serde::{Serialize, Serializer};

use super::options::Quote;
use super::{Cell, Listing};

/// The grid that tables of Python programs have, so that nothing that reads them has to change.
const GRID: TableStyle = TableStyle::new()
    .top_border(LineStyle::new('+', '-', '+', '+'))
    .header_lines(ContentLineStyle::new('|', '|', '|'))
    .header_separator(LineStyle::new('+', '-', '+', '+'))
    .content_lines(ContentLineStyle::new('|', '|', '|'))
    .bottom_border(LineStyle::new('+', '-', '+', '+'));

/// A grid of `+`, `-` and `|`.
pub fn table(listing: &Listing, width: Option<u16>) -> String {
    let mut table = Table::new();
    table.load_style(GRID);
    if let Some(width) = width {
        table.set_content_arrangement(ContentArrangement::Dynamic);
        table.set_width(width);
    }
    table.set_header(listing.titles());
    for row in listing.rows() {
        table.add_row(row.iter().map(|cell| harmless(&cell.text)));
    }
    // What is copied from a screen stays in one piece, even where the table gets too wide for it:
    // only sentences are wrapped.
    for (at, width) in widths(listing).into_iter().enumerate() {
        if let Some(column) = table.column_mut(at) {
            column.set_constraint(match width {
                Some(width) if width > SENTENCE => {
                    ColumnConstraint::LowerBoundary(comfy_table::Width::Fixed(SENTENCE))
                }
                _ => ColumnConstraint::ContentWidth,
            });
        }
    }
    format!("{table}\n")
}

/// Columns of a terminal that sentences get at least.
const SENTENCE: u16 = 30;

/// How wide each column's sentences are; None where it has single words only.
fn widths(listing: &Listing) -> Vec<Option<u16>> {
    let sentences = |at: usize| {
        let lines = listing
            .rows()
            .iter()
            .flat_map(move |row| row[at].text.lines());
        let lengths = lines
            .filter(|line| line.contains(' '))
            .map(|line| line.chars().count());
        lengths
            .max()
            .map(|length| u16::try_from(length).unwrap_or(u16::MAX))
    };
    (0..listing.titles().len()).map(sentences).collect()
}

/// Names come from a node: whatever would move the terminal's cursor or colours is taken out.
pub fn harmless(text: &str) -> String {
    text.chars()
        .map(|letter| match letter {
            '\n' => letter,
            letter if letter.is_control() => '\u{fffd}',
            letter => letter,
        })
        .collect()
}

/// Titles and values of one row below each other. What it does not have is left out.
pub fn turned(listing: &Listing) -> Listing {
    let mut turned = Listing::new(&["Field", "Value"], &[]);
    for (title, cell) in titled(listing).flatten() {
        if !cell.is_empty() {
            turned.push([title.into(), cell.clone()]);
        }
    }
    turned
}

pub fn json_list(listing: &Listing, one_line: bool) -> String {
    let rows: Vec<Object<'_>> = titled(listing).map(Object).collect();
    json(&rows, one_line)
}

pub fn json_one(listing: &Listing, one_line: bool) -> String {
    json(&titled(listing).next().map(Object), one_line)
}

pub fn json<T: Serialize>(value: &T, one_line: bool) -> String {
    let text = if one_line {
        serde_json::to_string(value)
    } else {
        serde_json::to_string_pretty(value)
    };
    // Its keys are texts and its values are JSON already: that cannot fail.
    format!("{}\n", text.unwrap_or_default())
}

/// A row, its fields in the order of the columns.
struct Object<'a>(Row<'a>);

impl Serialize for Object<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.clone().map(|(title, cell)| (title, &cell.value)))
    }
}

/// Scalars and what is nested as JSON, which is YAML too.
pub fn yaml_list(listing: &Listing) -> String {
    let items: Vec<String> = titled(listing)
        .map(|row| {
            let fields: Vec<String> = row.map(yaml_field).collect();
            format!("- {}\n", fields.join("\n  "))
        })
        .collect();
    if items.is_empty() {
        "[]\n".to_owned()
    } else {
        items.concat()
    }
}

pub fn yaml_one(listing: &Listing) -> String {
    let fields = titled(listing).flatten().map(yaml_field);
    fields.map(|field| format!("{field}\n")).collect()
}

fn yaml_field((title, cell): (&str, &Cell)) -> String {
    format!("{title}: {}", cell.value)
}

pub fn csv(listing: &Listing, quote: Quote) -> String {
    let quoted = |text: &str, number: bool| {
        let needs = text.contains([',', '"', '\n', '\r']);
        let quoted = match quote {
            Quote::All => true,
            Quote::Minimal => needs,
            Quote::Nonnumeric => !number,
            Quote::None => false,
        };
        if quoted {
            format!("\"{}\"", text.replace('"', "\"\""))
        } else {
            text.to_owned()
        }
    };
    let titles: Vec<String> = listing
        .titles()
        .iter()
        .map(|title| quoted(title, false))
        .collect();
    let mut text = format!("{}\n", titles.join(","));
    for row in listing.rows() {
        let cells: Vec<String> = row
            .iter()
            .map(|cell| quoted(&cell.plain(), cell.value.is_number()))
            .collect();
        text += &format!("{}\n", cells.join(","));
    }
    text
}

pub fn values(listing: &Listing, between: &str) -> String {
    let rows = listing.rows().iter().map(|row| {
        let cells: Vec<String> = row.iter().map(Cell::plain).collect();
        format!("{}\n", cells.join(between))
    });
    rows.collect()
}

/// `name='value'` a line. In single quotes a shell expands nothing, whatever a machine is called.
pub fn shell(listing: &Listing, prefix: &str) -> String {
    let mut text = String::new();
    for (title, cell) in titled(listing).flatten() {
        let name: String = title
            .chars()
            .map(|letter| {
                if letter.is_ascii_alphanumeric() {
                    letter.to_ascii_lowercase()
                } else {
                    '_'
                }
            })
            .collect();
        let value = cell.plain().replace('\'', "'\\''");
        text += &format!("{prefix}{name}='{value}'\n");
    }
    text
}

type Row<'a> = std::iter::Zip<
    std::iter::Copied<std::slice::Iter<'a, &'static str>>,
    std::slice::Iter<'a, Cell>,
>;

fn titled(listing: &Listing) -> impl Iterator<Item = Row<'_>> {
    let titles = listing.titles();
    listing
        .rows()
        .iter()
        .map(move |row| titles.iter().copied().zip(row))
}
