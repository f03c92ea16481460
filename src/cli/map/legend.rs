//! What the colours and signs of a picture mean, and how many bytes are of each sort.

use super::Picture;
use super::buckets::Sort;
use crate::cli::output::harmless;
use crate::cli::size;

/// A line of the legend.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub sort: Sort,
    pub text: String,
}

/// The legend of a picture. A part in which several sorts are is drawn as the first of them here.
pub fn of(picture: &Picture) -> Vec<Entry> {
    let sum = picture.buckets.sum();
    let entry = |sort: Sort, name: &str, bytes: u64| Entry {
        sort,
        text: format!("{name} {}", size::text(bytes)),
    };
    let mut entries = Vec::new();
    if picture.compared {
        entries.push(entry(Sort::Changed, "changed", sum.changed));
        entries.push(entry(Sort::Cleared, "became zero", sum.cleared));
    }
    let name = if picture.compared {
        "allocated (changed or not)"
    } else {
        "allocated"
    };
    entries.push(entry(Sort::Data, name, sum.data));
    entries.push(entry(Sort::Zero, "zero", sum.size.saturating_sub(sum.data)));
    entries
}

/// Name, size, and what a cell of the picture stands for.
pub fn heading(picture: &Picture) -> String {
    let sum = picture.buckets.sum();
    let cell = sum.size.div_ceil(picture.buckets.parts().len() as u64);
    format!(
        "{}, {}, {} a cell",
        harmless(&picture.name),
        size::text(sum.size),
        size::text(cell)
    )
}
