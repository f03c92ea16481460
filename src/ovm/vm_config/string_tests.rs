use super::super::parse;
use super::*;

fn read(source: &str) -> Option<Literal> {
    parse(format!("a = {source}\n").as_bytes())
        .unwrap()
        .get("a")
        .cloned()
}

#[test]
fn texts() {
    for (source, expected) in [
        ("''", ""),
        ("\"\"", ""),
        ("''''''", ""),
        ("'it\\'s'", "it's"),
        ("\"it's\"", "it's"),
        ("'say \"x\"'", "say \"x\""),
        ("'''it's\n''x'''", "it's\n''x"),
        ("\"\"\"a\"b\"\"c\\\"\"\"\"", "a\"b\"\"c\""),
        ("u'x'", "x"),
        ("U'x'", "x"),
        ("r'x\\n'", "x\\n"),
        ("R'it\\'s'", "it\\'s"),
        ("ur'x\\n'", "x\\n"),
        ("uR'\\u00e9\\\\u00e9'", "é\\\\u00e9"),
        ("'a\\\nb'", "ab"),
        ("r'a\\\nb'", "a\\\nb"),
        (
            "'\\a\\b\\f\\n\\r\\t\\v\\\\\\\"'",
            "\x07\x08\x0c\n\r\t\x0b\\\"",
        ),
        ("'\\0\\60\\0601\\x41'", "\u{0}001A"),
        ("'\\q\\8'", "\\q\\8"),
        ("'é\\xc3\\xa9'", "éé"),
        ("'\\u00e9'", "\\u00e9"),
        ("'\\N{DASH}'", "\\N{DASH}"),
        ("u'\\u00e9\\xe9\\351'", "ééé"),
        ("u'\\U0001f600\\ud83d\\ude00'", "😀😀"),
        ("u'\\777'", "ǿ"),
        ("'a' \"b\" u'c' r'\\d'", "abc\\d"),
        ("'a'b'b'", "ab"),
        ("'a''b'", "ab"),
        ("'\\xc3' '\\xa9'", "é"),
        ("'nul \\x00'", "nul \0"),
    ] {
        assert_eq!(
            read(source),
            Some(Literal::Text(expected.to_owned())),
            "{source}"
        );
    }
}

#[test]
fn bytes() {
    for (source, expected) in [
        ("b'x\\xff\\0'", b"x\xff\0".as_slice()),
        ("b'\\u00e9'", b"\\u00e9"),
        ("br'\\x'", b"\\x"),
        ("Rb'\\x'", b"\\x"),
        ("b'a' b'b'", b"ab"),
        // A plain string is bytes as well: they are kept when they are no text.
        ("'\\xe9'", b"\xe9"),
        ("'a' '\\xff'", b"a\xff"),
        // Python takes the low eight bits of 0o701.
        ("'\\701'", b"\xc1"),
    ] {
        assert_eq!(
            read(source),
            Some(Literal::Bytes(expected.to_vec())),
            "{source}"
        );
    }
}

#[test]
fn what_is_no_string() {
    for source in [
        "'",
        "'x",
        "'x\n'",
        "'''x''",
        "'x\\'",
        "r'\\'",
        "'\\x'",
        "'\\xg0'",
        "u'\\u12'",
        "u'\\U00110000'",
        "u'\\ud83d'",
        "u'\\ud83dx'",
        "u'\\ud83d\\x41'",
        "u'\\ud83d\\ud83d'",
        "u'\\ude00'",
        "u'\\N{DASH}'",
        "uu'x'",
        "f'x'",
        "u 'x'",
        "u'é' '\\xff'",
        "'x' 1",
        "'x' y",
    ] {
        assert_eq!(read(source), None, "{source}");
    }
}
