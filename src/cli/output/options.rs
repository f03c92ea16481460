use std::io::IsTerminal as _;

use anyhow::bail;
use clap::{Args, ValueEnum};
use serde::Serialize;

use super::{Listing, forms, write};

/// How a result is printed. Options of every subcommand; they may stand before and after it.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Output")]
pub struct OutputOptions {
    /// In which form.
    #[arg(short, long, global = true, value_enum, default_value_t)]
    format: Format,
    /// Only this column; may be repeated.
    #[arg(short, long = "column", global = true, value_name = "COLUMN")]
    columns: Vec<String>,
    /// Every column: also empty ones in a table, and in the forms for scripts (value, csv, shell)
    /// those that they did not have in the first release.
    #[arg(long, global = true, hide_short_help = true)]
    long: bool,
    /// Sort a list by this column; may be repeated.
    #[arg(long, global = true, value_name = "COLUMN", hide_short_help = true)]
    sort_column: Vec<String>,
    /// Smallest first (the default).
    #[arg(
        long,
        global = true,
        conflicts_with = "sort_descending",
        hide_short_help = true
    )]
    sort_ascending: bool,
    /// Largest first.
    #[arg(long, global = true, hide_short_help = true)]
    sort_descending: bool,
    /// JSON on one line.
    #[arg(long, global = true, hide_short_help = true)]
    noindent: bool,
    /// What CSV puts quotes around.
    #[arg(
        long,
        global = true,
        value_enum,
        default_value_t,
        hide_short_help = true
    )]
    quote: Quote,
    /// What names of shell variables begin with.
    #[arg(
        long,
        global = true,
        value_name = "PREFIX",
        default_value = "",
        hide_short_help = true
    )]
    prefix: String,
    /// Columns of a terminal that a table may take; 0 for any number.
    #[arg(long, global = true, value_name = "COLUMNS", hide_short_help = true)]
    max_width: Option<u16>,
    /// Fit a table into the terminal. On a terminal that is always done.
    #[arg(long, global = true, hide_short_help = true)]
    fit_width: bool,
    /// Titles also above an empty list.
    #[arg(long, global = true, hide_short_help = true)]
    print_empty: bool,
}

/// A form of results.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Table,
    /// An array of objects, or an object.
    Json,
    /// The same.
    Yaml,
    /// Comma-separated values, with titles.
    Csv,
    /// Values alone.
    Value,
    /// Assignments.
    Shell,
}

/// What CSV puts quotes around.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Quote {
    /// Everything.
    All,
    /// What needs them.
    Minimal,
    /// What is no number.
    #[default]
    Nonnumeric,
    /// Nothing.
    None,
}

impl OutputOptions {
    /// Whether JSON is wanted.
    pub fn is_json(&self) -> bool {
        self.format == Format::Json
    }

    /// Prints something that has a form of its own as JSON.
    pub fn json<T: Serialize>(&self, value: &T, one_line: bool) -> anyhow::Result<()> {
        write(&forms::json(value, one_line || self.noindent))
    }

    /// Prints a list.
    pub fn list(&self, mut listing: Listing) -> anyhow::Result<()> {
        self.prepare(&mut listing)?;
        listing.sort(&self.sort_column, self.sort_descending);
        write(&match self.format {
            Format::Table if listing.rows().is_empty() && !self.print_empty => "\n".to_owned(),
            Format::Table => forms::table(&listing, self.width()),
            Format::Json => forms::json_list(&listing, self.noindent),
            Format::Yaml => forms::yaml_list(&listing),
            Format::Csv => forms::csv(&listing, self.quote),
            Format::Value => forms::values(&listing, " "),
            Format::Shell => forms::shell(&listing, &self.prefix),
        })
    }

    /// Prints one thing, which is the only row.
    pub fn one(&self, mut listing: Listing) -> anyhow::Result<()> {
        self.prepare(&mut listing)?;
        write(&match self.format {
            Format::Table => forms::table(&forms::turned(&listing), self.width()),
            Format::Json => forms::json_one(&listing, self.noindent),
            Format::Yaml => forms::yaml_one(&listing),
            Format::Csv => forms::csv(&listing, self.quote),
            Format::Value => forms::values(&listing, "\n"),
            Format::Shell => forms::shell(&listing, &self.prefix),
        })
    }

    fn prepare(&self, listing: &mut Listing) -> anyhow::Result<()> {
        let known = listing.titles().join(", ");
        let words = matches!(self.format, Format::Value | Format::Csv | Format::Shell);
        if !self.columns.is_empty() {
            if !listing.only(&self.columns) {
                bail!("no column has such a name; there are: {known}");
            }
        } else if words && !self.long {
            listing.only_first();
        } else if self.format == Format::Table && !self.long {
            listing.only_filled();
        }
        Ok(())
    }

    /// What a table may take. What another program reads is not wrapped.
    fn width(&self) -> Option<u16> {
        match self.max_width {
            Some(0) => None,
            Some(width) => Some(width),
            None if self.fit_width || std::io::stdout().is_terminal() => {
                terminal_size::terminal_size().map(|(width, _)| width.0)
            }
            None => None,
        }
    }
}
