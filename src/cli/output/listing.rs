use super::Cell;

/// Rows under titles. What is shown of one thing is a listing of one row.
#[derive(Debug, Clone, PartialEq)]
pub struct Listing {
    titles: Vec<&'static str>,
    /// So many of the titles are those of the first generation.
    first: usize,
    rows: Vec<Vec<Cell>>,
}

impl Listing {
    /// Without rows. Scripts that split lines into words know the columns of the first generation
    /// and no others: in such forms, `added` ones are left out unless they are asked for. A
    /// command that the first generation did not have has no `first` ones.
    pub fn new(first: &[&'static str], added: &[&'static str]) -> Listing {
        Listing {
            titles: [first, added].concat(),
            first: first.len(),
            rows: Vec::new(),
        }
    }

    /// Adds a row: a cell for each title.
    pub fn push<const N: usize>(&mut self, row: [Cell; N]) {
        debug_assert_eq!(N, self.titles.len());
        self.rows.push(row.into());
    }

    pub fn titles(&self) -> &[&'static str] {
        &self.titles
    }

    pub fn rows(&self) -> &[Vec<Cell>] {
        &self.rows
    }

    /// Leaves only the columns of the first generation, if there are any.
    pub fn only_first(&mut self) {
        if self.first > 0 {
            let kept: Vec<usize> = (0..self.first).collect();
            self.keep(&kept);
        }
    }

    /// Leaves only columns that are named, in the order that they have. Unknown names are ignored,
    /// as they always were; false where no name is known.
    pub fn only(&mut self, names: &[String]) -> bool {
        let kept: Vec<usize> = (0..self.titles.len())
            .filter(|at| names.iter().any(|name| is_named(self.titles[*at], name)))
            .collect();
        self.keep(&kept);
        !kept.is_empty()
    }

    /// Leaves out added columns in which there is nothing at all.
    pub fn only_filled(&mut self) {
        let kept: Vec<usize> = (0..self.titles.len())
            .filter(|at| *at < self.first || !self.rows.iter().all(|row| row[*at].is_empty()))
            .collect();
        if !self.rows.is_empty() {
            self.keep(&kept);
        }
    }

    /// Sorts by columns, the first named one before all others.
    pub fn sort(&mut self, names: &[String], descending: bool) {
        for name in names.iter().rev() {
            let title = self.titles.iter().position(|title| is_named(title, name));
            let Some(at) = title else { continue };
            self.rows.sort_by(|one, other| {
                let (one, other) = (&one[at], &other[at]);
                let order = match (one.value.as_u64(), other.value.as_u64()) {
                    (Some(one), Some(other)) => one.cmp(&other),
                    _ => one.text.cmp(&other.text),
                };
                if descending { order.reverse() } else { order }
            });
        }
    }

    fn keep(&mut self, columns: &[usize]) {
        let first = self.first;
        self.first = columns.iter().filter(|at| **at < first).count();
        self.titles = columns.iter().map(|at| self.titles[*at]).collect();
        for row in &mut self.rows {
            *row = columns.iter().map(|at| row[*at].clone()).collect();
        }
    }
}

/// Whatever the case, and with underscores for blanks.
fn is_named(title: &str, name: &str) -> bool {
    let plain = |text: &str| text.to_lowercase().replace('_', " ");
    plain(title) == plain(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listing() -> Listing {
        let mut listing = Listing::new(&["Snapshot ID"], &["Size"]);
        listing.push(["b".into(), Cell::bytes(9)]);
        listing.push(["a".into(), Cell::bytes(10)]);
        listing
    }

    #[test]
    fn columns_are_found_by_any_spelling() {
        let mut some = listing();
        assert!(some.only(&["snapshot_id".to_owned(), "nonsense".to_owned()]));
        assert_eq!(some.titles(), ["Snapshot ID"]);
        assert_eq!(some.rows()[0], ["b".into()]);
        assert!(!listing().only(&["nonsense".to_owned()]));
    }

    #[test]
    fn numbers_are_sorted_as_numbers() {
        let mut sorted = listing();
        sorted.sort(&["size".to_owned()], false);
        assert_eq!(sorted.rows()[0][0], "b".into());
        sorted.sort(&["size".to_owned()], true);
        assert_eq!(sorted.rows()[0][0], "a".into());
        sorted.sort(&["Snapshot ID".to_owned()], true);
        assert_eq!(sorted.rows()[0][0], "b".into());
    }
}
