//! The table that `xm list` and `xl list` print:
//!
//! ```text
//! Name                                        ID   Mem VCPUs      State   Time(s)
//! Domain-0                                     0   834     4     r-----   9301.7
//! 0004fb0000060000ccaf98a0baa2c186             3  2048     2     -b----    120.4
//! ```
//!
//! A name may be long and may have spaces, so a row is read from the right. A domain that xend
//! manages but does not run has no ID and no state.

use std::collections::HashMap;

use super::{DomainState, Domains};

/// Reads the table; `None` if the text has no header of one.
pub fn parse_table(text: &str) -> Option<Domains> {
    let mut lines = text.lines().skip_while(|line| !is_header(line));
    lines.next()?;
    let mut states = HashMap::new();
    let mut unreadable = 0_usize;
    for line in lines.filter(|line| !line.trim().is_empty()) {
        match Row::read(line) {
            // Xen shows this in place of a name while a domain comes or goes.
            Some(Row {
                name: "(null)",
                state: DomainState::Dying,
            }) => {}
            Some(Row {
                name: "Domain-0", ..
            }) => {}
            Some(Row { name, state }) if name != "(null)" => add(&mut states, name, state),
            _ => unreadable += 1,
        }
    }
    let doubt = (unreadable > 0)
        .then(|| format!("{unreadable} line(s) of the list of domains cannot be read"));
    Some(Domains { states, doubt })
}

fn is_header(line: &str) -> bool {
    let mut words = line.split_whitespace();
    words.next() == Some("Name") && words.any(|word| word == "State")
}

fn add(states: &mut HashMap<String, DomainState>, name: &str, state: DomainState) {
    let mut set = |name: &str, state| {
        let known = states.get(name).copied();
        states.insert(
            name.to_owned(),
            known.map_or(state, |known| both(known, state)),
        );
    };
    if let Some(name) = migrating(name) {
        set(name, DomainState::Unknown);
    }
    // Some machine may really be called `migrating-…`.
    set(name, state);
}

/// The name of a domain that is under way: xend renames it to `migrating-NAME`, xl to
/// `NAME--migratedaway` on the old node and `NAME--incoming` on the new one.
fn migrating(name: &str) -> Option<&str> {
    name.strip_prefix("migrating-")
        .or_else(|| name.strip_suffix("--migratedaway"))
        .or_else(|| name.strip_suffix("--incoming"))
        .filter(|name| !name.is_empty())
}

/// The state of a name that is listed twice. After a reboot the old domain may still be dying.
fn both(one: DomainState, other: DomainState) -> DomainState {
    match (one, other) {
        (DomainState::Dying | DomainState::Off, state)
        | (state, DomainState::Dying | DomainState::Off) => state,
        (one, other) if one == other => one,
        _ => DomainState::Unknown,
    }
}

struct Row<'a> {
    name: &'a str,
    state: DomainState,
}

impl<'a> Row<'a> {
    fn read(line: &'a str) -> Option<Self> {
        let (rest, seconds) = last_word(line)?;
        seconds.parse::<f64>().ok()?;
        let (before, word) = last_word(rest)?;
        let state = state_of(word);
        let rest = if state.is_some() { before } else { rest };
        let (rest, processors) = last_word(rest)?;
        processors.parse::<u32>().ok()?;
        let (mut rest, memory) = last_word(rest)?;
        memory.parse::<u64>().ok()?;
        if state.is_some() {
            let (before, id) = last_word(rest)?;
            id.parse::<u32>().ok()?;
            rest = before;
        }
        let name = rest.trim();
        (!name.is_empty()).then_some(Self {
            name,
            state: state.unwrap_or(DomainState::Off),
        })
    }
}

/// Splits off the last word of a line.
fn last_word(line: &str) -> Option<(&str, &str)> {
    let line = line.trim_end();
    let at = line.rfind(char::is_whitespace)?;
    let (rest, word) = line.split_at_checked(at)?;
    Some((rest, word.trim_start()))
}

/// The state in six letters `rbpscd`, `-` where one is not set. None set means that the domain
/// waits for a processor.
fn state_of(letters: &str) -> Option<DomainState> {
    let fits = letters.len() == 6
        && letters
            .chars()
            .zip("rbpscd".chars())
            .all(|(is, may)| is == may || is == '-');
    if !fits {
        return None;
    }
    let order = [
        ('d', DomainState::Dying),
        ('c', DomainState::Crashed),
        ('s', DomainState::Shutdown),
        ('p', DomainState::Paused),
    ];
    let found = order
        .into_iter()
        .find(|(letter, _)| letters.contains(*letter));
    Some(found.map_or(DomainState::Running, |(_, state)| state))
}

#[cfg(test)]
mod tests {
    use super::*;
    use DomainState::*;
    use proptest::prelude::*;

    const XM: &str = "\
Name                                        ID   Mem VCPUs      State   Time(s)
0004fb0000060000ccaf98a0baa2c186             3  2048     2     -b----    120.4
0004fb000006000011112222333344445555        12 16384    16     r-----  99999.9
Domain-0                                     0   834     4     r-----   9301.7
a name with 3 spaces and 12 numbers          5   512     1     --p---      0.0
a-very-long-name-that-leaves-no-room-at-all-in-its-column 31 4096     4     ------    10.1
crashed                                      6   512     1     ----c-      1.0
crashed-too                                 16   512     1     ---sc-      1.0
halted                                       7   512     1     ---s--      1.0
going                                        8   512     1     -----d      1.0
going-too                                    9     0     1     --ps-d      1.0
managed but off                                 1024     1                  0.0
";

    #[test]
    fn a_table_as_xm_prints_it() {
        let domains = parse_table(XM).unwrap();
        for (name, state) in [
            ("0004fb0000060000ccaf98a0baa2c186", Running),
            ("0004fb000006000011112222333344445555", Running),
            ("a name with 3 spaces and 12 numbers", Paused),
            (
                "a-very-long-name-that-leaves-no-room-at-all-in-its-column",
                Running,
            ),
            ("crashed", Crashed),
            ("crashed-too", Crashed),
            ("halted", Shutdown),
            ("going", Dying),
            ("going-too", Dying),
            ("managed but off", Off),
            ("elsewhere", Off),
            ("Domain-0", Off),
        ] {
            assert_eq!(domains.state(name), state, "{name}");
        }
        assert_eq!(domains.listed().len(), 10);
        assert_eq!(domains.doubt(), None);
    }

    #[test]
    fn a_table_as_xl_prints_it() {
        let text = "\
WARNING: something before the table
Name                                        ID   Mem VCPUs\tState\tTime(s)
Domain-0                                     0  1024     4     r-----      73.1
vm.example.org                               1   512     1     -b----       2.1
(null)                                       2     0     1     --ps-d      12.0
";
        let domains = parse_table(text).unwrap();
        assert_eq!(domains.state("vm.example.org"), Running);
        assert_eq!(domains.listed().len(), 1);
        assert_eq!(domains.doubt(), None);
    }

    #[test]
    fn a_migrating_domain_is_unknown_under_its_own_name() {
        let text = "\
Name                                        ID   Mem VCPUs      State   Time(s)
migrating-0004fb0000060000aa                 3  2048     2     -b----    120.4
web--migratedaway                            4  2048     2     ---s--    120.4
db--incoming                                 5  2048     2     --p---      0.0
both                                         6  2048     2     r-----      0.0
migrating-both                               7  2048     2     --p---      0.0
";
        let domains = parse_table(text).unwrap();
        for name in ["0004fb0000060000aa", "web", "db", "both"] {
            assert_eq!(domains.state(name), Unknown, "{name}");
        }
        assert_eq!(domains.state("elsewhere"), Off);
    }

    #[test]
    fn a_name_that_is_listed_twice() {
        let row = |state: &str| format!("vm 3 2048 2 {state} 1.0\n");
        for (rows, state) in [
            (["-----d", "r-----"], Running),
            (["--p---", "-----d"], Paused),
            (["-----d", "-----d"], Dying),
            (["r-----", "-b----"], Running),
            (["r-----", "--p---"], Unknown),
        ] {
            let text = format!(
                "Name ID Mem VCPUs State Time(s)\n{}{}",
                row(rows[0]),
                row(rows[1])
            );
            assert_eq!(parse_table(&text).unwrap().state("vm"), state, "{rows:?}");
        }
    }

    #[test]
    fn a_row_that_cannot_be_read_makes_the_absent_unknown() {
        for row in [
            "garbage",
            "vm 3 2048 2 r---x- 1.0",
            "vm 3 2048 2 r----- soon",
            "vm x 2048 2 r----- 1.0",
            "3 2048 2 r----- 1.0",
            "(null) 5 512 1 r----- 0.1",
        ] {
            let text = format!("Name ID Mem VCPUs State Time(s)\nother 1 1 1 r----- 1.0\n{row}\n");
            let domains = parse_table(&text).unwrap();
            assert_eq!(domains.state("other"), Running, "{row}");
            assert_eq!(domains.state("vm"), Unknown, "{row}");
            assert!(domains.doubt().unwrap().starts_with("1 line"), "{row}");
        }
    }

    #[test]
    fn what_has_no_header_is_no_table() {
        for text in [
            "",
            "Error: Unable to connect to xend\n",
            "\0\0\0",
            "Name only\n",
        ] {
            assert_eq!(parse_table(text), None, "{text:?}");
        }
        let empty = parse_table("Name ID Mem VCPUs State Time(s)\n").unwrap();
        assert_eq!(empty.state("any"), Off);
    }

    proptest! {
        #[test]
        fn no_text_panics(text in any::<String>()) {
            parse_table(&text);
            parse_table(&format!("Name ID Mem VCPUs State Time(s)\n{text}"));
        }

        #[test]
        fn any_name_is_found_again(name in "[!-~é][ -~é]{0,60}[!-~é]", letters in "(r|-)(b|-)------".prop_map(|s: String| s[..6].to_owned())) {
            prop_assume!(name != "Domain-0" && name != "(null)");
            let text = format!("Name ID Mem VCPUs State Time(s)\n{name:<40} {:5} {:5} {:5}     {letters} {:8.1}\n", 1, 2, 3, 4.0);
            prop_assert_eq!(parse_table(&text).unwrap().state(&name), Running);
        }
    }
}
