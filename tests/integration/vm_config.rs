//! The vm.cfg parser against CPython: random files, read by both, must mean the same.
//!
//! Python 3 is what a build machine has, and vm.cfg is Python 2. The files therefore use what both
//! read alike; what only Python 2 reads (`1L`, `0777`, `ur'…'`, bytes in plain strings) is in the
//! unit tests.

// Clippy knows the test function, not the helpers beside it.
#![allow(clippy::unwrap_used)]

use std::fmt::Write as _;
use std::io::Write as _;
use std::process::{Command, Stdio};

use coriolis_ovm_exporter::ovm::vm_config::{Literal, parse};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};

/// How many random files are compared.
const FILES: usize = 400;

/// Reads a JSON list of sources; writes a JSON list of `[names with values, names in doubt]`.
const JUDGE: &str = r#"
import ast, json, struct, sys
def show(v):
    if v is None or isinstance(v, bool): return ["const", repr(v)]
    if isinstance(v, int): return ["int", str(v)]
    if isinstance(v, float): return ["float", struct.pack(">d", v).hex()]
    if isinstance(v, str): return ["text", v]
    if isinstance(v, bytes): return ["bytes", v.hex()]
    if isinstance(v, list): return ["list", [show(i) for i in v]]
    if isinstance(v, tuple): return ["tuple", [show(i) for i in v]]
    if isinstance(v, dict): return ["dict", [[show(k), show(i)] for k, i in v.items()]]
    raise ValueError(type(v))
def read(source):
    values = {}
    for node in ast.parse(source).body:
        if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
            try:
                values[node.targets[0].id] = show(ast.literal_eval(node.value))
            except ValueError:
                pass
    return values
json.dump([read(source) for source in json.load(sys.stdin)], sys.stdout)
"#;

#[test]
fn python_reads_random_files_alike() {
    let seed: u64 =
        std::env::var("TEST_SEED").map_or_else(|_| rand::random(), |text| text.parse().unwrap());
    println!("TEST_SEED={seed}");
    let mut writer = Writer {
        random: StdRng::seed_from_u64(seed),
    };
    let sources: Vec<String> = (0..FILES).map(|_| writer.file()).collect();
    let judged = ask_python(&sources);
    assert_eq!(judged.len(), FILES);
    let mut literals = 0;
    for (source, expected) in sources.iter().zip(judged) {
        let assignments = parse(source.as_bytes()).unwrap();
        let ours: serde_json::Map<String, Value> = assignments
            .iter()
            .map(|(name, assigned)| (name.to_owned(), shown(&assigned.value)))
            .collect();
        literals += ours.len();
        assert_eq!(
            Value::Object(ours),
            expected,
            "TEST_SEED={seed}\n{source}\n{source:?}"
        );
    }
    println!("{FILES} files with {literals} values are the same");
    assert!(
        literals > 2 * FILES,
        "only {literals} values: the files are too empty to prove anything"
    );
}

fn ask_python(sources: &[String]) -> Vec<Value> {
    let mut python = Command::new("python3")
        .args(["-W", "ignore", "-c", JUDGE])
        .env("PYTHONIOENCODING", "utf-8")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python3 cannot be started: install the package python3");
    let input = serde_json::to_vec(sources).unwrap();
    let mut stdin = python.stdin.take().unwrap();
    let feeder = std::thread::spawn(move || stdin.write_all(&input));
    let output = python.wait_with_output().unwrap();
    feeder.join().unwrap().unwrap();
    assert!(
        output.status.success(),
        "python3 failed; its message is above"
    );
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The same notation as the judge's.
fn shown(value: &Literal) -> Value {
    let all = |items: &[Literal]| items.iter().map(shown).collect::<Vec<_>>();
    match value {
        Literal::None => json!(["const", "None"]),
        Literal::Bool(true) => json!(["const", "True"]),
        Literal::Bool(false) => json!(["const", "False"]),
        Literal::Int(number) => json!(["int", number.to_string()]),
        Literal::Float(number) => json!(["float", format!("{:016x}", number.to_bits())]),
        Literal::Text(text) => json!(["text", text]),
        Literal::Bytes(bytes) => {
            let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            json!(["bytes", hex])
        }
        Literal::List(items) => json!(["list", all(items)]),
        Literal::Tuple(items) => json!(["tuple", all(items)]),
        Literal::Dict(pairs) => {
            let pairs: Vec<Value> = pairs
                .iter()
                .map(|(key, value)| json!([shown(key), shown(value)]))
                .collect();
            json!(["dict", pairs])
        }
    }
}

/// Writes random files in all the ways that Python allows.
struct Writer {
    random: StdRng,
}

impl Writer {
    fn below(&mut self, limit: usize) -> usize {
        self.random.random_range(0..limit)
    }

    fn one_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    fn pick<'a>(&mut self, choices: &[&'a str]) -> &'a str {
        choices[self.below(choices.len())]
    }

    fn file(&mut self) -> String {
        let mut source = String::new();
        if self.one_in(5) {
            source.push_str("# -*- coding: utf-8 -*-\n");
        }
        for _ in 0..1 + self.below(10) {
            match self.below(8) {
                0 => source.push_str(self.pick(&[
                    "\n",
                    "  \n",
                    "# it's [ a comment\n",
                    "\t# é\n",
                    "\\\n\n",
                ])),
                1 => source.push_str(self.pick(&[
                    "import os\n",
                    "x0 = foo()\n",
                    "x0 += [1]\n",
                    "x0 = [\n  'a',\n  foo('''\nx1 = 'hidden'\n'''), # )]\n]\n",
                    "if 1:\n    x0 = 'hidden'\n    x1 = 2\n",
                    "x0 = 'a' + \\\n 'b'\n",
                    "x0.append({'a': ']'})\n",
                ])),
                _ => self.statements(&mut source),
            }
        }
        if self.one_in(4) {
            source = source.replace('\n', "\r\n");
        }
        source
    }

    fn statements(&mut self, source: &mut String) {
        loop {
            let name = self.below(6);
            let equals = self.pick(&[" = ", "=", "\t= ", " =\\\n  "]);
            let value = self.literal(0);
            write!(source, "x{name}{equals}{value}").unwrap();
            if !self.one_in(4) {
                break;
            }
            source.push_str(self.pick(&[";", "; ", " ;\t"]));
        }
        source.push_str(self.pick(&["\n", "\n", " \n", " # 'end\n", ";\n", " ; # end\n"]));
    }

    /// White space, which inside brackets may be much more.
    fn blank(&mut self, depth: usize) -> &'static str {
        if depth == 0 {
            self.pick(&["", "", " ", "\t", " \\\n "])
        } else {
            self.pick(&["", "", " ", "\n", " # it's ]\n  ", "\n\n\t", "\\\n", "\x0c"])
        }
    }

    fn literal(&mut self, depth: usize) -> String {
        match self.below(if depth < 5 { 12 } else { 7 }) {
            0 => self.pick(&["None", "True", "False"]).to_owned(),
            1 => self.whole(),
            2 => self.fraction(),
            3..=6 => self.strings(depth),
            7..=8 => self.sequence(depth, '[', ']'),
            9 => self.sequence(depth, '(', ')'),
            10 => self.dict(depth),
            _ if depth == 0 => {
                let (first, second) = (self.literal(1), self.literal(1));
                // Brackets, since the parts may span lines.
                format!("({first}),({second}){}", self.pick(&["", ","]))
            }
            _ => self.sequence(depth, '[', ']'),
        }
    }

    fn whole(&mut self) -> String {
        let number = self.random.random::<u64>() >> self.below(64);
        let sign = self.pick(&["", "", "-", "+", "- "]);
        match self.below(7) {
            0 => format!("{sign}{number:#x}"),
            1 => format!("{sign}0X{number:X}"),
            2 => format!("{sign}{number:#o}"),
            3 => format!("{sign}{number:#b}"),
            4 => format!("{sign}00"),
            _ => format!("{sign}{number}"),
        }
    }

    fn fraction(&mut self) -> String {
        let number = f64::from_bits(self.random.random());
        let fixed = self.pick(&[
            "1.", ".5", "1e5", "1E+5", "-2.5e-3", "08.25", "0e0", "1e999", "-0.0",
        ]);
        match self.below(3) {
            0 => fixed.to_owned(),
            _ if number.is_finite() => format!("{number:e}"),
            _ => "0.1".to_owned(),
        }
    }

    fn sequence(&mut self, depth: usize, open: char, close: char) -> String {
        let mut source = open.to_string();
        for index in 0..self.below(5) {
            if index > 0 {
                source.push(',');
            }
            source.push_str(self.blank(depth + 1));
            source.push_str(&self.literal(depth + 1));
            source.push_str(self.blank(depth + 1));
        }
        if source.len() > 1 && self.one_in(2) {
            source.push(',');
        }
        source.push_str(self.blank(depth + 1));
        source.push(close);
        source
    }

    fn dict(&mut self, depth: usize) -> String {
        let mut source = String::from("{");
        for index in 0..self.below(4) {
            // Keys differ: what Python does with equal ones is for the unit tests.
            let key = match self.below(3) {
                0 => format!("{index}"),
                1 => format!("('k', {index})"),
                _ => format!("'k{index}'"),
            };
            let blank = self.blank(depth + 1);
            let value = self.literal(depth + 1);
            write!(source, "{blank}{key}{blank}:{blank}{value}{blank},").unwrap();
        }
        source.push_str(self.blank(depth + 1));
        source.push('}');
        source
    }

    fn strings(&mut self, depth: usize) -> String {
        let bytes = self.one_in(6);
        let mut source = self.string(bytes);
        while self.one_in(4) {
            // Without the space `''` and `'x'` would begin a long string.
            source.push(' ');
            source.push_str(self.blank(depth));
            source.push_str(&self.string(bytes));
        }
        source
    }

    fn string(&mut self, bytes: bool) -> String {
        let prefix = match bytes {
            true => self.pick(&["b", "B", "br", "rB"]),
            false => self.pick(&["", "", "u", "U", "r", "R"]),
        };
        let quote = self.pick(&["'", "\"", "'''", "\"\"\""]);
        let mut body = String::new();
        for _ in 0..self.below(12) {
            body.push_str(&self.piece(prefix, quote));
        }
        format!("{prefix}{quote}{body}{quote}")
    }

    /// A character or an escape that means the same in both Pythons.
    fn piece(&mut self, prefix: &str, quote: &str) -> String {
        let raw = prefix.to_ascii_lowercase().contains('r');
        let unicode = prefix.eq_ignore_ascii_case("u");
        let bytes = prefix.to_ascii_lowercase().contains('b');
        match self.below(9) {
            0 => self
                .pick(&["=", ",", "#", "]", ";", "file:/a b", "{'", "\t"])
                .replace(['\'', '"'], ""),
            1 if !bytes => self.pick(&["é", "€", "😀", "\u{7f}"]).to_owned(),
            2 => self
                .pick(&["\\'", "\\\"", "\\\\", "\\\n", "\\q", "\\8"])
                .to_owned(),
            3 if !raw => self
                .pick(&["\\a", "\\b", "\\f", "\\n", "\\r", "\\t", "\\v"])
                .to_owned(),
            4 if !raw => {
                let byte = self
                    .random
                    .random_range(0..if unicode || bytes { 256_u32 } else { 128 });
                if self.one_in(2) {
                    format!("\\x{byte:02x}")
                } else {
                    format!("\\{byte:03o}")
                }
            }
            5 if unicode => {
                let character = u32::from(self.random.random::<char>());
                if character < 0x1_0000 && self.one_in(2) {
                    format!("\\u{character:04x}")
                } else {
                    format!("\\U{character:08X}")
                }
            }
            // The other quote, and in a long string also this one, if it does not end it.
            6 => if quote.starts_with('\'') { "\"" } else { "'" }.to_owned(),
            7 if quote.len() == 3 => format!("\n{}z", &quote[1..]),
            _ => self.pick(&["a", "Z", "0", " ", "-", "/"]).to_owned(),
        }
    }
}
