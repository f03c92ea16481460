//! Which known key an unknown one was probably meant to be.

use super::section::Notes;

/// The key or section that `unknown` was probably meant to be: a neighbour in the same section
/// that differs by a slip of the keyboard, or the same name in another section.
pub(super) fn suggest(unknown: &str, notes: &Notes) -> Option<String> {
    let (section, name) = split(unknown);
    let name = name.to_lowercase();
    let allowed = (name.chars().count() / 3).max(1);
    let candidates = || notes.known.iter().chain(&notes.sections);

    let neighbour = candidates()
        .filter(|candidate| split(candidate).0 == section)
        .map(|candidate| (distance(&name, split(candidate).1), candidate))
        .filter(|(distance, _)| *distance <= allowed)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate);
    neighbour
        .or_else(|| candidates().find(|candidate| split(candidate).1 == name))
        .cloned()
}

/// Splits `api.tls.key` into `api.tls` and `key`.
fn split(dotted: &str) -> (&str, &str) {
    dotted.rsplit_once('.').unwrap_or(("", dotted))
}

/// Slips of the keyboard between two words: a character too many, missing, wrong, or two
/// neighbours swapped (the optimal string alignment distance).
fn distance(left: &str, right: &str) -> usize {
    /// No key is nearly as long; anything longer resembles none.
    const LONGEST: usize = 64;
    let left: Vec<char> = left.chars().take(LONGEST).collect();
    let right: Vec<char> = right.chars().take(LONGEST).collect();
    // Rows of the usual table: for the prefix of `left` two, one and zero characters shorter.
    let mut two_above: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=right.len()).collect();
    for (i, l) in left.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, r) in right.iter().enumerate() {
            let changed = above[j] + usize::from(l != r);
            let mut best = changed.min(above[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *l == right[j - 1] && left[i - 1] == *r {
                best = best.min(two_above[j - 1] + 1);
            }
            row.push(best);
        }
        two_above = std::mem::replace(&mut above, row);
    }
    above.last().copied().unwrap_or(left.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances() {
        let table = [
            ("", "", 0),
            ("", "abc", 3),
            ("abc", "", 3),
            ("port", "port", 0),
            ("prot", "port", 1),
            ("por", "port", 1),
            ("ports", "port", 1),
            ("pert", "port", 1),
            ("kitten", "sitting", 3),
            ("ca", "abc", 3),
        ];
        for (left, right, expected) in table {
            assert_eq!(distance(left, right), expected, "{left} {right}");
        }
    }

    #[test]
    fn suggestions() {
        let notes = Notes {
            known: ["db_file", "log_file", "api.port", "api.tls.certificate"]
                .map(str::to_owned)
                .to_vec(),
            sections: ["api", "api.tls", "jwt"].map(str::to_owned).to_vec(),
            ..Notes::default()
        };
        let table = [
            ("db_flie", Some("db_file")),
            ("DB_File", Some("db_file")),
            ("logfile", Some("log_file")),
            ("api.prot", Some("api.port")),
            ("apis", Some("api")),
            ("api.ttls", Some("api.tls")),
            ("port", Some("api.port")),
            ("certificate", Some("api.tls.certificate")),
            ("api.prt.x", None),
            ("colour", None),
            ("", None),
        ];
        for (unknown, expected) in table {
            assert_eq!(suggest(unknown, &notes).as_deref(), expected, "{unknown}");
        }
    }
}
