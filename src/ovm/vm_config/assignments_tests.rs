use proptest::prelude::*;

use super::super::MAX_DEPTH;
use super::*;
fn text(value: &str) -> Literal {
    Literal::Text(value.to_owned())
}

fn list(values: &[&str]) -> Literal {
    Literal::List(values.iter().map(|value| text(value)).collect())
}

fn read(source: &str) -> Assignments {
    parse(source.as_bytes()).unwrap()
}

/// The value of the only statement in a source without mistakes.
fn value(source: &str) -> Literal {
    let assignments = read(source);
    assert_eq!(assignments.left_out(), [], "{source:?}");
    assert_eq!(assignments.len(), 1, "{source:?}");
    assignments.get("a").unwrap().clone()
}

fn error(source: &str) -> (usize, usize, &'static str) {
    let assignments = read(source);
    assert_eq!(assignments.left_out().len(), 1, "{source:?}");
    let error = assignments.left_out()[0];
    (error.line, error.column, error.reason)
}

#[test]
fn one_statement() {
    let tuple = |values: &[&str]| Literal::Tuple(values.iter().map(|value| text(value)).collect());
    for (source, expected) in [
        ("a = 'x'", text("x")),
        ("a='x'", text("x")),
        ("\u{feff}a = 'x'\r\n", text("x")),
        (
            "# -*- coding: utf-8 -*-\n\n  \n\t# c\na = 'é' # end\n",
            text("é"),
        ),
        ("a \\\n = \\\n 'x' \\\n 'y'", text("xy")),
        ("a = 'k=v, x = y'", text("k=v, x = y")),
        (
            "a = ['x',\n     'y', # comment with ] and '\n\n 'z',\n]",
            list(&["x", "y", "z"]),
        ),
        ("a = ['x' 'y', 'z'\n  \"w\"]", list(&["xy", "zw"])),
        ("a = []", list(&[])),
        ("a = [ ]", list(&[])),
        ("a = ()", tuple(&[])),
        ("a = ('x')", text("x")),
        ("a = ('x',)", tuple(&["x"])),
        ("a = ('x', 'y')", tuple(&["x", "y"])),
        ("a = 'x', 'y'", tuple(&["x", "y"])),
        ("a = 'x', # note", tuple(&["x"])),
        ("a = True", Literal::Bool(true)),
        ("a = False", Literal::Bool(false)),
        ("a = None;", Literal::None),
        ("a = 1L", Literal::Int(1)),
        ("a = -1", Literal::Int(-1)),
        ("a = 2.5", Literal::Float(2.5)),
        ("a = {}", Literal::Dict(Vec::new())),
        (
            "a = [{'pf': '40:00.0', 'port': ['0', '0'], }, ]",
            Literal::List(vec![Literal::Dict(vec![
                (text("pf"), text("40:00.0")),
                (text("port"), list(&["0", "0"])),
            ])]),
        ),
        (
            "a = {1: 'x', ('y', 2): None}",
            Literal::Dict(vec![
                (Literal::Int(1), text("x")),
                (
                    Literal::Tuple(vec![text("y"), Literal::Int(2)]),
                    Literal::None,
                ),
            ]),
        ),
        ("a = 'x'; a = 'y' ; # end", text("y")),
        ("a = 'x'\na = 'y'", text("y")),
        ("a = 'x'\ra = 'y'", text("y")),
    ] {
        assert_eq!(value(source), expected, "{source:?}");
    }
}

#[test]
fn what_cannot_be_read_is_named_by_line_and_column() {
    let no_value = "a name or a call is not a literal, and nothing is evaluated";
    let no_assignment = "this is not `NAME = value`";
    let behind = "this does not belong behind a value";
    for (source, expected) in [
        ("import os", (1, 1, no_assignment)),
        ("\n\na = foo()", (3, 5, no_value)),
        ("a = [1,\n 2,\n b]", (3, 2, no_value)),
        ("a += [1]", (1, 1, no_assignment)),
        ("a == 1", (1, 1, no_assignment)),
        ("a.b = 1", (1, 1, no_assignment)),
        ("a[0] = 1", (1, 1, no_assignment)),
        ("é = 1", (1, 1, no_assignment)),
        ("a = b = 1", (1, 5, no_value)),
        ("a = 'é' + 'x'", (1, 9, behind)),
        ("a = 'é' 1", (1, 9, behind)),
        ("a = 1 if x else 2", (1, 7, behind)),
        ("a = ", (1, 5, "a value is missing here")),
        ("a = 'x", (1, 5, "this string has no end")),
        ("a = 'x\n", (1, 5, "this string has no end on its line")),
        ("a = '''x\n", (1, 5, "this string has no end")),
        ("a = ['x', 'y'\n", (1, 5, "this bracket is never closed")),
        ("a = {", (1, 5, "this bracket is never closed")),
        (
            "a = {'x': [1}",
            (1, 13, "a comma or a closing bracket is missing here"),
        ),
        ("a = {'x'}", (1, 9, "`:` is missing behind the key")),
        (
            "a = {[]: 1}",
            (1, 6, "a list or a dictionary cannot be a key"),
        ),
        (
            "a = {([],): 1}",
            (1, 6, "a list or a dictionary cannot be a key"),
        ),
        ("a = [,]", (1, 6, "this is not a value")),
        ("a = 1 2", (1, 7, behind)),
        ("a = x'x'", (1, 5, "this string prefix is unknown")),
        ("a = '\\x4'", (1, 6, "\\x needs two hexadecimal digits")),
        ("a = 0x", (1, 5, "this is not a number that can be read")),
        (
            "  a = 1",
            (1, 3, "this statement is indented, as in a block"),
        ),
        ("a = \0", (1, 5, "this is not a value")),
    ] {
        assert_eq!(error(source), expected, "{source:?}");
        assert!(
            read(source).is_doubtful("a") == source.contains('a'),
            "{source:?}"
        );
    }
}

#[test]
fn one_bad_statement_never_hides_another() {
    for bad in [
        "import os",
        "x = foo()",
        "x = foo(\n'(', # )\n)",
        "x = 'open",
        "x = ['open]\n",
        "x = [",
        "x = ['p',\n     'q'",
        "x = '''open",
        "x = \"\"\"open\nmore ''' text",
        "x = foo('''\nz = 1\n''')",
        "x = 'p' \\\n + 'q'",
        "if p:\n    z = 1\n    name = 'hidden'",
        "def f():\n\treturn 'z'",
        "x = ]]]",
        "x = 1; y ; z = 2",
        "print 'hello'",
        "\0",
    ] {
        let source = format!("a = 1\n{bad}\nname = 'n'\nvif = ['v',\n 'w']\n");
        let assignments = read(&source);
        assert!(!assignments.left_out().is_empty(), "{bad:?}");
        assert_eq!(assignments.get("a"), Some(&Literal::Int(1)), "{bad:?}");
        assert_eq!(assignments.get("name"), Some(&text("n")), "{bad:?}");
        assert_eq!(assignments.get("vif"), Some(&list(&["v", "w"])), "{bad:?}");
        assert_eq!(assignments.get("z"), None, "{bad:?}");
        assert!(!assignments.is_doubtful("name"), "{bad:?}");
    }
}

#[test]
fn a_name_in_a_bad_statement_is_doubtful_until_it_is_assigned_again() {
    for bad in [
        "disk.append('x')",
        "disk += ['x']",
        "disk = ['x'",
        "disk = ['x', foo()]",
        "if x:\n    disk = []",
        "x = 1; y ; disk = []",
        "exec('disk = []')",
        "exec('\\ndisk = []')",
        "globals()['disk'] = []",
        "exec('''\n# a # b\ndisk = []\n''')",
        "exec('#', 'disk = []')",
        "d = disk",
    ] {
        let assignments = read(&format!("disk = ['y']\n{bad}\nz = 1\n"));
        assert!(assignments.is_doubtful("disk"), "{bad:?}");
        assert_eq!(assignments.get("disk"), Some(&list(&["y"])), "{bad:?}");
        let settled = read(&format!("{bad}\ndisk = ['y']\n"));
        assert!(!settled.is_doubtful("disk"), "{bad:?}");
    }
    for harmless in [
        "import os # disk",
        "import disks",
        "import os\n# disk",
        "x = 0disk_",
    ] {
        let assignments = read(&format!("disk = ['y']\n{harmless}\n"));
        assert!(!assignments.is_doubtful("disk"), "{harmless:?}");
        assert_eq!(assignments.left_out().len(), 1, "{harmless:?}");
    }
}

#[test]
fn nesting_is_bounded() {
    let nested = |levels: usize, open: &str, close: &str| {
        format!("a = {}{}", open.repeat(levels), close.repeat(levels))
    };
    for (open, close) in [("[", "]"), ("(", ")"), ("{1:[", "]}")] {
        let levels = (MAX_DEPTH + 1) / open.matches(['[', '(', '{']).count();
        assert_eq!(read(&nested(levels, open, close)).left_out(), [], "{open}");
        let deep = read(&nested(levels + 1, open, close));
        assert_eq!(
            deep.left_out()[0].reason,
            "brackets are nested too deep",
            "{open}"
        );
        // As deep as the size allows: the stack must not notice.
        let deep = read(&format!("{}\nb = 1", nested(100_000, open, close)));
        assert_eq!(
            (deep.left_out().len(), deep.get("b")),
            (1, Some(&Literal::Int(1))),
            "{open}"
        );
    }
}

#[test]
fn size_and_number_of_errors_are_bounded() {
    let mut source = vec![b'\n'; MAX_SIZE];
    assert!(parse(&source).unwrap().is_empty());
    source.push(b'\n');
    assert_eq!(
        parse(&source),
        Err(ParseError::TooLarge { size: 1_048_577 })
    );

    assert_eq!(
        read(&"?\n".repeat(MAX_LEFT_OUT)).left_out().len(),
        MAX_LEFT_OUT
    );
    let error = parse("?\n".repeat(MAX_LEFT_OUT + 1).as_bytes()).unwrap_err();
    assert!(
        matches!(
            error,
            ParseError::TooManyErrors {
                line: 101,
                first: SyntaxError { line: 1, .. }
            }
        ),
        "{error}"
    );
}

/// Texts that would take quadratic time if each mistake cost a look at the whole rest.
#[test]
fn hostile_texts_take_little_time() {
    for piece in [
        "a=[\n",
        "a='''\n",
        "a=[\"\"\"\n",
        "[\n",
        "a=(((((\n",
        "a=1\n",
        "\\\n",
        "a=u'' ''\\\n",
    ] {
        let source = piece.repeat(MAX_SIZE / 8 / piece.len());
        let begin = std::time::Instant::now();
        let _ = parse(source.as_bytes());
        assert!(
            begin.elapsed().as_secs() < 20,
            "{piece:?} took {:?}",
            begin.elapsed()
        );
    }
}

#[test]
fn bytes_that_are_not_utf8_are_latin_1() {
    let assignments = parse(b"a = 'caf\xe9'\n").unwrap();
    assert_eq!(assignments.get("a"), Some(&text("café")));
    assert!(!assignments.is_utf8());
    assert_eq!(
        assignments.warnings(),
        ["vm.cfg is not UTF-8 and was read as Latin-1"]
    );
}

#[test]
fn messages_and_debug_output_hold_no_value() {
    let source = "vncpasswd = 'hunter2'\nx = hunter2()\ny = 'hunter2\n";
    let assignments = read(source);
    assert_eq!(assignments.left_out().len(), 2);
    let shown = format!("{:?}", assignments.warnings());
    assert!(!shown.contains("hunter2"), "{shown}");
    assert!(shown.contains("line 2, column 5"), "{shown}");
    let debug = format!("{assignments:?}");
    assert!(
        debug.contains("vncpasswd") && !debug.contains("'hunter2'"),
        "{debug}"
    );
}

/// A literal and one way to write it.
fn written() -> impl Strategy<Value = (Literal, String)> {
    let leaf = prop_oneof![
        Just((Literal::None, "None".to_owned())),
        any::<bool>().prop_map(|flag| (
            Literal::Bool(flag),
            if flag { "True" } else { "False" }.to_owned()
        )),
        (any::<i64>(), "|L|l").prop_map(|(number, suffix)| (
            Literal::Int(number.into()),
            format!("{number}{suffix}")
        )),
        any::<u32>().prop_map(|number| (Literal::Int(number.into()), format!("{number:#x}"))),
        any::<u32>().prop_map(|number| (Literal::Int(number.into()), format!("0{number:o}"))),
        any::<f64>()
            .prop_filter("Python has no literal for it", |number| number.is_finite())
            .prop_map(|number| (Literal::Float(number), format!("{number:?}"))),
        any::<String>().prop_map(|text| (Literal::Text(text.clone()), quoted(&text))),
        proptest::collection::vec(any::<u8>(), 0..20).prop_map(|bytes| {
            let escapes: String = bytes.iter().map(|byte| format!("\\x{byte:02x}")).collect();
            (Literal::Bytes(bytes), format!("b'{escapes}'"))
        }),
    ];
    leaf.prop_recursive(5, 40, 6, |inner| {
        let items = proptest::collection::vec((inner.clone(), "( |\n|#'\\[\n|\\\\\n)?"), 0..6);
        let keys = (
            any::<String>().prop_map(|key| (text(&key), quoted(&key))),
            inner,
        );
        prop_oneof![
            (items.clone(), any::<bool>()).prop_map(|(items, tuple)| {
                let source: String = items
                    .iter()
                    .map(|((_, source), blank)| format!("{source}{blank},{blank}"))
                    .collect();
                let values = items.into_iter().map(|((value, _), _)| value).collect();
                if tuple {
                    (Literal::Tuple(values), format!("({source})"))
                } else {
                    (Literal::List(values), format!("[{source}]"))
                }
            }),
            proptest::collection::vec(keys, 0..4).prop_map(|pairs| {
                let source: Vec<_> = pairs
                    .iter()
                    .map(|((_, key), (_, value))| format!("{key}: {value}"))
                    .collect();
                let pairs = pairs
                    .into_iter()
                    .map(|((key, _), (value, _))| (key, value))
                    .collect();
                (Literal::Dict(pairs), format!("{{{}}}", source.join(" , ")))
            }),
        ]
    })
}

/// A `u'…'` string in which every third character is escaped.
fn quoted(text: &str) -> String {
    let mut source = String::from("u'");
    for (index, character) in text.chars().enumerate() {
        let escape =
            index % 3 == 0 || character.is_control() || character == '\'' || character == '\\';
        match escape {
            true => source.push_str(&format!("\\U{:08x}", u32::from(character))),
            false => source.push(character),
        }
    }
    source.push('\'');
    source
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = parse(&bytes);
    }

    #[test]
    fn no_text_of_python_pieces_panics(source in "([a-c]|=| |\n|'|\"|'''|\\[|\\]|\\(|\\)|\\{|\\}|:|,|;|#|\\\\|u|r|b|0|x|1|L|-|\\.|e|é){0,60}") {
        let _ = parse(source.as_bytes());
    }

    #[test]
    fn what_was_written_is_read(values in proptest::collection::vec(written(), 1..5)) {
        let source: String = values.iter().enumerate().map(|(index, (_, source))| format!("n{index} = {source}\n")).collect();
        let assignments = read(&source);
        prop_assert_eq!(assignments.left_out(), &[], "{}", source);
        for (index, (value, _)) in values.iter().enumerate() {
            prop_assert_eq!(assignments.get(&format!("n{index}")), Some(value), "{}", source);
        }
    }
}
