//! A pickle in the agent's databases.

#![no_main]

use coriolis_ovm_exporter::ovm::pickle::{MAX_DEPTH, MAX_EXPANSION, MAX_INPUT, Value};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(value) = Value::decode(bytes) else {
        return;
    };
    let mut size = Size::default();
    size.count(&value, 0);
    assert!(size.depth <= MAX_DEPTH, "{} deep", size.depth);
    // Every value costs an opcode. Text is at most twice its bytes, read as Latin-1.
    assert!(size.values <= bytes.len(), "{} values", size.values);
    assert!(
        size.text <= 2 * bytes.len() + MAX_EXPANSION,
        "{} bytes of text",
        size.text
    );
    // Written in the plainest way, it is the same value.
    let mut plain = Vec::new();
    write(&value, &mut plain);
    plain.push(b'.');
    if plain.len() <= MAX_INPUT {
        let mut again = Vec::new();
        write(
            &Value::decode(&plain).expect("it was just written"),
            &mut again,
        );
        again.push(b'.');
        assert_eq!(again, plain, "{value:?}");
    }
});

#[derive(Default)]
struct Size {
    values: usize,
    text: usize,
    depth: usize,
}

impl Size {
    fn count(&mut self, value: &Value, around: usize) {
        self.values += 1;
        match value {
            Value::None | Value::Bool(_) | Value::Int(_) | Value::Float(_) => {}
            Value::Text(text) => self.text += text.len(),
            Value::Tuple(items) | Value::List(items) => {
                self.depth = self.depth.max(around + 1);
                items.iter().for_each(|item| self.count(item, around + 1));
            }
            Value::Dict(entries) => {
                self.depth = self.depth.max(around + 1);
                for (key, value) in entries {
                    self.count(key, around + 1);
                    self.count(value, around + 1);
                }
            }
        }
    }
}

/// One opcode for each kind of value, no references.
fn write(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::None => out.push(b'N'),
        Value::Bool(true) => out.push(0x88),
        Value::Bool(false) => out.push(0x89),
        Value::Int(number) => {
            out.extend([0x8a, 16]);
            out.extend(number.to_le_bytes());
        }
        Value::Float(number) => {
            out.push(b'G');
            out.extend(number.to_be_bytes());
        }
        Value::Text(text) => {
            out.push(b'X');
            out.extend(u32::try_from(text.len()).expect("it fits").to_le_bytes());
            out.extend(text.as_bytes());
        }
        Value::Tuple(items) => write_items(items, b't', out),
        Value::List(items) => write_items(items, b'l', out),
        Value::Dict(entries) => {
            out.push(b'(');
            for (key, value) in entries {
                write(key, out);
                write(value, out);
            }
            out.push(b'd');
        }
    }
}

fn write_items(items: &[Value], end: u8, out: &mut Vec<u8>) {
    out.push(b'(');
    items.iter().for_each(|item| write(item, out));
    out.push(end);
}
