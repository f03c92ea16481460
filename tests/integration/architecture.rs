//! `ARCHITECTURE.md` is true: which room uses which, and the places that it names.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

const DOCUMENT: &str = include_str!("../../ARCHITECTURE.md");

type Names = BTreeSet<String>;

/// A row of the code map.
struct Row {
    floor: u8,
    rooms: Vec<String>,
    /// None where it may use everything below.
    may_use: Option<Names>,
}

/// What stands in backquotes.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// The name of a room as the code has it: `cli/` is `cli`, `bin/ovm-exporter.rs` is itself.
fn room(quoted: &str) -> String {
    quoted.trim_end_matches('/').to_owned()
}

fn rows() -> Vec<Row> {
    let table = DOCUMENT
        .lines()
        .skip_while(|line| !line.starts_with("| floor | room |"))
        .skip(2)
        .take_while(|line| line.starts_with('|'));
    let rows: Vec<Row> = table
        .map(|line| {
            // A bar in a cell would be another column.
            let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
            let [floor, rooms, _, uses] = cells[..] else {
                panic!("{} cells: {line}", cells.len())
            };
            Row {
                floor: floor.parse().unwrap(),
                rooms: quoted(rooms).map(room).collect(),
                may_use: match uses {
                    "everything below" => None,
                    "–" => Some(Names::new()),
                    uses => Some(uses.split(", ").map(str::to_owned).collect()),
                },
            }
        })
        .collect();
    assert!(rows.len() > 10, "the table was not found");
    rows
}

fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

fn files_below(path: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(path).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files_below(&path, found);
        } else if path.extension().is_some_and(|end| end == "rs") {
            found.push(path);
        }
    }
}

/// Where a file belongs: `snapshots` for `snapshots/walk.rs`, `shell_word` for `shell_word.rs`.
fn room_of(file: &str, rows: &[Row]) -> String {
    let known = |name: &str| {
        rows.iter()
            .any(|row| row.rooms.iter().any(|room| room == name))
    };
    let first = file.split('/').next().unwrap_or_default();
    let candidates = [file, first, first.trim_end_matches(".rs")];
    let found = candidates.into_iter().find(|name| known(name));
    found
        .unwrap_or_else(|| panic!("{file} is in no room of the table"))
        .to_owned()
}

/// The code of a file: neither comments nor its inline tests, which may use what they like.
fn code(text: &str) -> String {
    let code = text.lines().map(|line| match line.find("//") {
        Some(at) => &line[..at],
        None => line,
    });
    let code: Vec<&str> = code.collect();
    let code = code.join("\n");
    match code.find("\n#[cfg(test)]\nmod tests {") {
        Some(at) => code[..at].to_owned(),
        None => code,
    }
}

/// The rooms that a piece of code names, by whatever way a path may be written.
fn uses(code: &str) -> Names {
    let mut found = Names::new();
    for root in ["crate::", "coriolis_ovm_exporter::"] {
        for (at, _) in code.match_indices(root) {
            let rest = &code[at + root.len()..];
            if code[..at].ends_with(is_of_a_name) {
                continue;
            }
            match rest.strip_prefix('{') {
                Some(list) => found.extend(firsts(list)),
                None => found.extend(
                    rest.split(|letter| !is_of_a_name(letter))
                        .next()
                        .map(str::to_owned),
                ),
            }
        }
    }
    found
}

fn is_of_a_name(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || letter == '_'
}

/// The first name of each path in `a, b::{c, d}, e}`.
fn firsts(list: &str) -> Names {
    let (mut depth, mut names, mut name) = (0, Names::new(), String::new());
    for letter in list.chars() {
        match letter {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                names.insert(std::mem::take(&mut name));
            }
            letter if depth == 0 && !letter.is_whitespace() => name.push(letter),
            _ => {}
        }
    }
    names.insert(name);
    names
        .iter()
        .filter_map(|path| path.split("::").next())
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect()
}

/// What each room uses, with a file that does.
fn used(rows: &[Row]) -> BTreeMap<String, BTreeMap<String, String>> {
    let mut files = Vec::new();
    files_below(&source(), &mut files);
    assert!(files.len() > 200, "{} files", files.len());
    let mut used: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
    for path in files {
        let file = path.strip_prefix(source()).unwrap().to_str().unwrap();
        // What is left are the tests of a file that stand in one of their own.
        if file == "lib.rs" || file.ends_with("tests.rs") {
            continue;
        }
        let room = room_of(file, rows);
        let others = used.entry(room.clone()).or_default();
        for other in uses(&code(&fs::read_to_string(&path).unwrap())) {
            if other != room {
                others.entry(other).or_insert_with(|| file.to_owned());
            }
        }
    }
    used
}

#[test]
fn every_room_uses_those_that_the_table_says_and_no_others() {
    let rows = rows();
    let used = used(&rows);
    let mut wrong = Vec::new();
    for (place, row) in rows.iter().enumerate() {
        let mut of_row = BTreeMap::new();
        for room in &row.rooms {
            let uses = used
                .get(room)
                .unwrap_or_else(|| panic!("there is no room {room}"));
            of_row.extend(uses.clone());
        }
        let below: Names = rows[place + 1..]
            .iter()
            .flat_map(|row| row.rooms.clone())
            .collect();
        let may_use = row.may_use.as_ref().unwrap_or(&below);
        for (other, file) in &of_row {
            if !may_use.contains(other) {
                wrong.push(format!(
                    "{file} uses {other}, which the table does not allow"
                ));
            }
        }
        for other in may_use {
            if row.may_use.is_some() && !of_row.contains_key(other) {
                wrong.push(format!("{:?} may use {other} and does not", row.rooms));
            }
            // So there is no circle.
            if !below.contains(other) {
                wrong.push(format!(
                    "{:?} may use {other}, which is not below",
                    row.rooms
                ));
            }
        }
    }
    let floors: Vec<u8> = rows.iter().map(|row| row.floor).collect();
    assert!(floors.is_sorted_by(|one, next| one >= next), "{floors:?}");
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn what_is_looked_for_is_found() {
    for (text, expected) in [
        ("use crate::sys::flock::Flock;", &["sys"][..]),
        ("let x = crate::extents::Page::new();", &["extents"]),
        ("use crate::{causes, manual};", &["causes", "manual"]),
        (
            "use crate::{\n    ovm::{a, b::{c}},\n    protocol::{self},\n};",
            &["ovm", "protocol"],
        ),
        ("pub use coriolis_ovm_exporter::cli;", &["cli"]),
        ("// use crate::sys;\n/// [`crate::ovm`]", &[]),
        (
            "a();\n#[cfg(test)]\nmod tests {\n    use crate::sys;\n}",
            &[],
        ),
    ] {
        let found: Vec<String> = uses(&code(text)).into_iter().collect();
        assert_eq!(found, expected, "{text}");
    }
}

/// Paths such as `snapshots::walk` lead to a file, and what follows is named in that.
#[test]
fn every_path_that_it_names_leads_somewhere() {
    let is_path = |text: &&str| {
        text.contains("::")
            && text.starts_with(|first: char| first.is_ascii_lowercase())
            && text
                .chars()
                .all(|letter| is_of_a_name(letter) || letter == ':')
    };
    let paths: Vec<&str> = quoted(DOCUMENT).filter(is_path).collect();
    assert!(paths.len() > 20, "{paths:?}");
    let lost: Vec<&str> = paths
        .into_iter()
        .filter(|path| !leads_somewhere(path))
        .collect();
    assert!(lost.is_empty(), "{lost:#?}");
}

fn leads_somewhere(path: &str) -> bool {
    let names: Vec<&str> = path.split("::").collect();
    (1..=names.len()).rev().any(|count| {
        let (modules, rest) = names.split_at(count);
        let place = modules
            .iter()
            .fold(source(), |place, name| place.join(name));
        let file = [place.with_extension("rs"), place.join("mod.rs")];
        let Some(text) = file.iter().find_map(|file| fs::read_to_string(file).ok()) else {
            return false;
        };
        match rest {
            [] => true,
            [name] => ["fn", "struct", "enum", "trait", "const", "type"]
                .iter()
                .any(|kind| text.contains(&format!("{kind} {name}"))),
            _ => false,
        }
    })
}
