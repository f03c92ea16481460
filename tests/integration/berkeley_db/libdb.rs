//! The real libdb: Debian's `db5.3-util`, and Python's `berkeleydb` for what those tools cannot do.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use coriolis_ovm_exporter::ovm::berkeley_db::Record;

/// Both byte orders as `db_load` names them.
pub const BYTE_ORDERS: [u32; 2] = [1234, 4321];
/// Every page size there is.
pub const PAGE_SIZES: [u32; 8] = [512, 1024, 2048, 4096, 8192, 16384, 32768, 65536];

/// Makes a hash file from records with `db5.3_load`.
pub fn load(path: &Path, header: &[(&str, u32)], records: &[Record]) {
    load_as("hash", path, &[], header, records);
}

/// [`load`] for any access method, with options of the tool.
pub fn load_as(
    kind: &str,
    path: &Path,
    options: &[&str],
    header: &[(&str, u32)],
    records: &[Record],
) {
    let mut dump = format!("VERSION=3\nformat=bytevalue\ntype={kind}\n");
    for (name, value) in header {
        dump += &format!("{name}={value}\n");
    }
    dump += "HEADER=END\n";
    for (key, value) in records {
        dump += &format!(" {}\n {}\n", hex(key), hex(value));
    }
    dump += "DATA=END\n";
    run(
        Command::new("db5.3_load").args(options).arg(path),
        "db5.3-util",
        dump.as_bytes(),
    );
}

/// Every record of a file as `db5.3_dump` sees it.
pub fn dump(path: &Path) -> Vec<Record> {
    let output = run(Command::new("db5.3_dump").arg(path), "db5.3-util", b"");
    let text = String::from_utf8(output.stdout).unwrap();
    let mut lines = text
        .lines()
        .skip_while(|line| *line != "HEADER=END")
        .skip(1);
    let mut records = Vec::new();
    while let Some(key) = lines.next().filter(|line| *line != "DATA=END") {
        records.push((unhex(key.trim()), unhex(lines.next().unwrap().trim())));
    }
    records
}

/// Brings a file of an older libdb to the format of this one, in place.
pub fn upgrade(path: &Path) {
    run(Command::new("db5.3_upgrade").arg(path), "db5.3-util", b"");
}

/// Runs a Python program that has `berkeleydb.db` as `db`, its arguments in `sys.argv`.
pub fn python(program: &str, arguments: &[&str]) -> String {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/python-berkeleydb.sh");
    let output = run(
        &mut Command::new(script),
        "libdb5.3-dev and python3-venv",
        b"",
    );
    let python = String::from_utf8(output.stdout).unwrap();
    let program = format!("import sys, pickle, berkeleydb.db as db\n{program}");
    let mut command = Command::new(python.trim());
    command.arg("-c").arg(program).args(arguments);
    String::from_utf8(run(&mut command, "python3", b"").stdout).unwrap()
}

/// Records in an order that does not depend on who lists them.
pub fn sorted(mut records: Vec<Record>) -> Vec<Record> {
    records.sort();
    records
}

/// Records by key; a key that is there twice fails the test.
pub fn by_key(records: &[Record]) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let map: BTreeMap<_, _> = records.iter().cloned().collect();
    assert_eq!(map.len(), records.len(), "a key is there twice");
    map
}

fn run(command: &mut Command, package: &str, input: &[u8]) -> Output {
    let name = command.get_program().to_owned();
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{name:?}: {error}; install the Debian package {package}"));
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    let writer = std::thread::spawn(move || stdin.write_all(&input));
    let output = child.wait_with_output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        output.status.success(),
        "{name:?} (Debian package {package}) failed: {error}"
    );
    writer
        .join()
        .unwrap()
        .unwrap_or_else(|error| panic!("{name:?} read no input: {error}"));
    output
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Bytes from hex digits.
pub fn unhex(text: &str) -> Vec<u8> {
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
        .collect()
}
