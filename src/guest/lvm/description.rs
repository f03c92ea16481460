//! The description of a volume group: sections in braces, `key = value` lines, comments.

/// Sections inside of sections; LVM writes four.
const DEEPEST: usize = 16;

/// A group, as far as we need it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Group {
    pub(super) name: String,
    pub(super) uuid: String,
    /// Bytes of an extent.
    pub(super) extent: u64,
    pub(super) physical: Vec<Physical>,
    pub(super) volumes: Vec<Volume>,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Physical {
    /// What segments call it: `pv0`.
    pub(super) name: String,
    pub(super) uuid: String,
    /// Where its first extent begins, bytes.
    pub(super) begins: u64,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Volume {
    pub(super) name: String,
    pub(super) uuid: String,
    pub(super) extents: u64,
    /// Its first segment, if that is a plain piece of a physical volume.
    pub(super) first: Option<Segment>,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Segment {
    pub(super) on: String,
    /// Extent of the physical volume.
    pub(super) begins: u64,
    pub(super) extents: u64,
}

const SECTOR: u64 = 512;
/// Letters of a name (`NAME_LEN` of LVM2, with its end).
const LONGEST: usize = 127;

/// Reads a description; none where it is not one.
pub(super) fn read(text: &str) -> Option<Group> {
    let mut words = Words { rest: text };
    let top = section(&mut words, 0)?;
    let (name, group) = top.sections().next()?;
    let uuid = |section: &Section| section.text("id").and_then(word);
    let physical = group
        .section("physical_volumes")
        .map_or(Some(Vec::new()), |all| {
            all.sections()
                .map(|(name, one)| {
                    Some(Physical {
                        name: word(name)?,
                        uuid: uuid(one)?,
                        begins: one.number("pe_start")?.checked_mul(SECTOR)?,
                    })
                })
                .collect()
        })?;
    let volumes = group
        .section("logical_volumes")
        .map_or(Some(Vec::new()), |all| {
            all.sections()
                .map(|(name, one)| {
                    let segments = one.sections().map(|(_, segment)| segment);
                    Some(Volume {
                        name: word(name)?,
                        uuid: uuid(one)?,
                        extents: segments
                            .filter_map(|segment| segment.number("extent_count"))
                            .fold(0, u64::saturating_add),
                        first: one.section("segment1").and_then(plain),
                    })
                })
                .collect()
        })?;
    Some(Group {
        name: word(name)?,
        uuid: uuid(group)?,
        extent: group.number("extent_size")?.checked_mul(SECTOR)?,
        physical,
        volumes,
    })
}

/// A name or an id as LVM itself allows it (lvm(8), "Valid names"): no more than that goes into a
/// report, whatever the guest wrote.
fn word(text: &str) -> Option<String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"+_.-".contains(&byte);
    let is_word = (1..=LONGEST).contains(&text.len()) && text.bytes().all(plain);
    is_word.then(|| text.to_owned())
}

/// A first segment that is one piece of one physical volume.
fn plain(segment: &Section<'_>) -> Option<Segment> {
    let plain = segment.number("start_extent") == Some(0)
        && segment.text("type") == Some("striped")
        && segment.number("stripe_count") == Some(1);
    let Some(Value::List(stripes)) = segment.value("stripes").filter(|_| plain) else {
        return None;
    };
    match stripes.as_slice() {
        [Value::Text(on), Value::Number(begins)] => Some(Segment {
            on: (*on).to_owned(),
            begins: *begins,
            extents: segment.number("extent_count")?,
        }),
        _ => None,
    }
}

#[derive(Debug)]
struct Section<'t>(Vec<(&'t str, Value<'t>)>);

#[derive(Debug)]
enum Value<'t> {
    Number(u64),
    Text(&'t str),
    List(Vec<Value<'t>>),
    Section(Section<'t>),
}

impl<'t> Section<'t> {
    fn value(&self, key: &str) -> Option<&Value<'t>> {
        let mut found = self.0.iter().filter(|(name, _)| *name == key);
        found.next().map(|(_, value)| value)
    }

    fn number(&self, key: &str) -> Option<u64> {
        match self.value(key)? {
            Value::Number(number) => Some(*number),
            _ => None,
        }
    }

    fn text(&self, key: &str) -> Option<&'t str> {
        match self.value(key)? {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    fn section(&self, key: &str) -> Option<&Section<'t>> {
        match self.value(key)? {
            Value::Section(section) => Some(section),
            _ => None,
        }
    }

    fn sections(&self) -> impl Iterator<Item = (&'t str, &Section<'t>)> {
        self.0.iter().filter_map(|(name, value)| match value {
            Value::Section(section) => Some((*name, section)),
            _ => None,
        })
    }
}

/// Reads up to the brace that closes a section, or to the end of the outermost one.
fn section<'t>(words: &mut Words<'t>, depth: usize) -> Option<Section<'t>> {
    let mut section = Section(Vec::new());
    loop {
        let key = match words.next() {
            None if depth == 0 => return Some(section),
            Some(Word::Mark('}')) if depth > 0 => return Some(section),
            Some(Word::Plain(key)) => key,
            _ => return None,
        };
        let value = match words.next()? {
            Word::Mark('{') if depth < DEEPEST => Value::Section(self::section(words, depth + 1)?),
            Word::Mark('=') => value(words)?,
            _ => return None,
        };
        section.0.push((key, value));
    }
}

fn value<'t>(words: &mut Words<'t>) -> Option<Value<'t>> {
    match words.next()? {
        Word::Mark('[') => {
            let mut list = Vec::new();
            loop {
                match words.next()? {
                    Word::Mark(']') => return Some(Value::List(list)),
                    Word::Mark(',') => {}
                    word => list.push(word.scalar()?),
                }
            }
        }
        word => word.scalar(),
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Word<'t> {
    Plain(&'t str),
    Quoted(&'t str),
    Mark(char),
}

impl<'t> Word<'t> {
    fn scalar(self) -> Option<Value<'t>> {
        match self {
            // Numbers that we have no use for may be negative or have a point.
            Word::Plain(text) => Some(text.parse().map_or(Value::Text(text), Value::Number)),
            Word::Quoted(text) => Some(Value::Text(text)),
            Word::Mark(_) => None,
        }
    }
}

struct Words<'t> {
    rest: &'t str,
}

impl<'t> Iterator for Words<'t> {
    type Item = Word<'t>;

    fn next(&mut self) -> Option<Word<'t>> {
        loop {
            self.rest = self.rest.trim_start();
            match self.rest.strip_prefix('#') {
                Some(comment) => self.rest = comment.find('\n').map_or("", |end| &comment[end..]),
                None => break,
            }
        }
        let first = self.rest.chars().next()?;
        if "{}[]=,".contains(first) {
            self.rest = &self.rest[1..];
            return Some(Word::Mark(first));
        }
        if let Some(quoted) = self.rest.strip_prefix('"') {
            let (text, rest) = end_of_quoted(quoted)?;
            self.rest = rest;
            return Some(Word::Quoted(text));
        }
        let is_end = |c: char| c.is_whitespace() || "{}[]=,#\"".contains(c);
        let end = self.rest.find(is_end).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        Some(Word::Plain(word))
    }
}

/// What is quoted, with its backslashes, and what follows.
fn end_of_quoted(text: &str) -> Option<(&str, &str)> {
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        match c {
            '"' if !escaped => return Some((&text[..at], &text[at + 1..])),
            _ => escaped = c == '\\' && !escaped,
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"vg0 { # the group
id = "aaaaaa-bbbb-cccc-dddd-eeee-ffff-gggggg"
flags = ["RESIZEABLE", "READ", "WRITE"]
extent_size = 8192
physical_volumes { pv0 { id = "1" device = "/dev/\"odd\" } name" pe_start = 2048 } }
logical_volumes {
root { id = "r" segment_count = 2
segment1 { start_extent = 0 extent_count = 10 type = "striped" stripe_count = 1 stripes = [ "pv0", 5 ] }
segment2 { start_extent = 10 extent_count = 7 type = "striped" stripe_count = 1 stripes = [ "pv0", 50 ] } }
wide { id = "w" segment1 { start_extent = 0 extent_count = 4 type = "striped" stripe_count = 2 stripes = ["pv0", 1, "pv1", 1] } }
} }
contents = "Text Format Volume Group"
version = 1
"#;

    #[test]
    fn a_group_with_its_volumes() {
        let group = read(TEXT).unwrap();
        assert_eq!((group.name.as_str(), group.extent), ("vg0", 4 << 20));
        assert_eq!(group.physical[0].begins, 1 << 20);
        let [root, wide] = group.volumes.as_slice() else {
            panic!("{group:?}");
        };
        assert_eq!((root.name.as_str(), root.extents), ("root", 17));
        let first = root.first.as_ref().unwrap();
        assert_eq!(
            (first.on.as_str(), first.begins, first.extents),
            ("pv0", 5, 10)
        );
        assert_eq!((wide.extents, &wide.first), (4, &None));
    }

    #[test]
    fn names_that_lvm_does_not_allow_are_not_repeated() {
        for name in ["vg0", "root", "pv0"] {
            for bad in ["x".repeat(1 << 20), "a\u{1b}b".to_owned(), "a/b".to_owned()] {
                assert_eq!(read(&TEXT.replace(name, &bad)), None, "{name}");
            }
        }
        assert!(read(&TEXT.replace("root", &"x".repeat(LONGEST))).is_some());
    }

    #[test]
    fn what_is_cut_off_is_nothing() {
        for end in 0..TEXT.find("\ncontents").unwrap() {
            assert_eq!(read(&TEXT[..end]), None, "{end}");
        }
        let deep = "a {".repeat(100_000);
        assert_eq!(read(&deep), None);
    }
}
