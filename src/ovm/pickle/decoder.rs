//! The stack machine, as far as plain data needs it.

use std::collections::HashMap;

use super::{MAX_DEPTH, MAX_EXPANSION, MAX_INPUT, PickleError, Value, literal, text};

/// A value on the stack, and how deep it is nested: 0 for a single value.
struct Item {
    value: Value,
    depth: usize,
}

struct Decoder<'a> {
    pickle: &'a [u8],
    /// Where the next byte is read.
    position: usize,
    /// Where the current opcode stands.
    at: usize,
    stack: Vec<Item>,
    /// Stack heights at the open marks.
    marks: Vec<usize>,
    /// What the pickle may refer to again; `None` for a container, which it may not.
    memo: HashMap<u32, Option<Value>>,
    /// Bytes of text copied to and from the memo so far.
    expansion: usize,
}

pub(super) fn decode(pickle: &[u8]) -> Result<Value, PickleError> {
    if pickle.len() > MAX_INPUT {
        return Err(PickleError::TooLarge(pickle.len()));
    }
    let mut decoder = Decoder {
        pickle,
        position: 0,
        at: 0,
        stack: Vec::new(),
        marks: Vec::new(),
        memo: HashMap::new(),
        expansion: 0,
    };
    loop {
        if let Some(value) = decoder.step()? {
            if decoder.position != pickle.len() {
                return Err(decoder.malformed("bytes behind its end"));
            }
            return Ok(value);
        }
    }
}

impl<'a> Decoder<'a> {
    /// Takes one opcode; answers the value when it was the last.
    fn step(&mut self) -> Result<Option<Value>, PickleError> {
        self.at = self.position;
        let opcode = self.byte()?;
        match opcode {
            b'.' => {
                let item = self.pop()?;
                if !self.stack.is_empty() || !self.marks.is_empty() {
                    return Err(self.malformed("values left over"));
                }
                return Ok(Some(item.value));
            }
            // The protocol.
            0x80 => {
                if self.byte()? > 2 {
                    return Err(PickleError::Refused {
                        at: self.at,
                        opcode,
                    });
                }
            }
            b'p' | b'q' | b'r' => self.remember(opcode)?,
            b'g' | b'h' | b'j' => self.recall(opcode)?,
            b'(' => self.marks.push(self.stack.len()),
            // Empty tuple, list, dictionary; the same of everything above the mark.
            b')' => self.build(Value::Tuple(Vec::new()), 0)?,
            b']' => self.build(Value::List(Vec::new()), 0)?,
            b'}' => self.build(Value::Dict(Vec::new()), 0)?,
            b't' | b'l' | b'd' => {
                let floor = self.mark()?;
                self.collect(opcode, floor)?;
            }
            // Tuples of one, two, three.
            0x85..=0x87 => {
                let count = usize::from(opcode - 0x84);
                let floor = self.floor();
                let below = self
                    .stack
                    .len()
                    .checked_sub(count)
                    .filter(|below| *below >= floor);
                let below = below.ok_or_else(|| self.malformed("nothing on the stack"))?;
                self.collect(b't', below)?;
            }
            // Append one, append all above the mark; set one entry, set all above the mark.
            b'a' => self.fill(opcode, 1)?,
            b's' => self.fill(opcode, 2)?,
            b'e' | b'u' => {
                let floor = self.mark()?;
                self.fill(opcode, self.stack.len().saturating_sub(floor))?;
            }
            opcode => {
                let value = self.single(opcode)?;
                self.stack.push(Item { value, depth: 0 });
            }
        }
        Ok(None)
    }

    /// The opcodes that carry their value with them.
    fn single(&mut self, opcode: u8) -> Result<Value, PickleError> {
        let value = match opcode {
            b'N' => Some(Value::None),
            0x88 => Some(Value::Bool(true)),
            0x89 => Some(Value::Bool(false)),
            b'K' => Some(Value::Int(i128::from(self.byte()?))),
            b'M' => Some(Value::Int(i128::from(u16::from_le_bytes(self.bytes()?)))),
            b'J' => Some(Value::Int(i128::from(i32::from_le_bytes(self.bytes()?)))),
            b'G' => Some(Value::Float(f64::from_be_bytes(self.bytes()?))),
            b'I' => literal::int(self.line()?),
            b'L' => literal::long(self.line()?),
            b'F' => literal::float(self.line()?),
            b'S' => literal::string(self.line()?),
            b'V' => literal::unicode(self.line()?),
            0x8a => {
                let len = usize::from(self.byte()?);
                literal::binary_long(self.take(len)?)
            }
            b'U' => {
                let len = usize::from(self.byte()?);
                Some(Value::Text(text(self.take(len)?.to_vec())))
            }
            b'T' => {
                let len = self.len()?;
                Some(Value::Text(text(self.take(len)?.to_vec())))
            }
            b'X' => {
                let len = self.len()?;
                let unicode = std::str::from_utf8(self.take(len)?);
                unicode.ok().map(|unicode| Value::Text(unicode.to_owned()))
            }
            opcode => {
                return Err(PickleError::Refused {
                    at: self.at,
                    opcode,
                });
            }
        };
        value.ok_or_else(|| self.malformed("a number or string that cannot be read"))
    }

    /// Makes a tuple, list or dictionary of everything on the stack from `floor` on.
    fn collect(&mut self, opcode: u8, floor: usize) -> Result<(), PickleError> {
        let items = self.stack.split_off(floor.min(self.stack.len()));
        let inner = deepest(&items);
        let value = match opcode {
            b't' => Value::Tuple(values(items)),
            b'l' => Value::List(values(items)),
            _ => Value::Dict(self.entries(items)?),
        };
        self.build(value, inner)
    }

    /// Puts the topmost `count` items into the list or dictionary below them.
    fn fill(&mut self, opcode: u8, count: usize) -> Result<(), PickleError> {
        let floor = self.floor();
        let below = self
            .stack
            .len()
            .checked_sub(count)
            .filter(|below| *below > floor);
        let below = below.ok_or_else(|| self.malformed("nothing on the stack"))?;
        let items = self.stack.split_off(below);
        let mut container = self.pop()?;
        let inner = deepest(&items).max(container.depth.saturating_sub(1));
        match (&mut container.value, opcode) {
            (Value::List(list), b'a' | b'e') => list.extend(values(items)),
            (Value::Dict(entries), b's' | b'u') => entries.extend(self.entries(items)?),
            _ => return Err(self.malformed("an item added to what cannot hold it")),
        }
        self.build(container.value, inner)
    }

    fn build(&mut self, value: Value, inner: usize) -> Result<(), PickleError> {
        if inner >= MAX_DEPTH {
            return Err(self.bound("nested too deep"));
        }
        self.stack.push(Item {
            value,
            depth: inner + 1,
        });
        Ok(())
    }

    fn entries(&self, items: Vec<Item>) -> Result<Vec<(Value, Value)>, PickleError> {
        let mut entries = Vec::with_capacity(items.len() / 2);
        let mut items = items.into_iter();
        while let Some(Item { value: key, .. }) = items.next() {
            if matches!(key, Value::List(_) | Value::Dict(_)) {
                return Err(self.malformed("a key that cannot be one"));
            }
            let Some(Item { value, .. }) = items.next() else {
                return Err(self.malformed("a key without a value"));
            };
            entries.push((key, value));
        }
        Ok(entries)
    }

    fn remember(&mut self, opcode: u8) -> Result<(), PickleError> {
        let id = self.memo_id(opcode)?;
        let item = self.pop()?;
        let memo = if item.value.is_container() {
            None
        } else {
            self.expand(&item.value)?;
            Some(item.value.clone())
        };
        self.memo.insert(id, memo);
        self.stack.push(item);
        Ok(())
    }

    fn recall(&mut self, opcode: u8) -> Result<(), PickleError> {
        let id = self.memo_id(opcode)?;
        let value = match self.memo.get(&id) {
            None => return Err(self.malformed("a reference to nothing")),
            Some(None) => {
                return Err(PickleError::Refused {
                    at: self.at,
                    opcode,
                });
            }
            Some(Some(value)) => value.clone(),
        };
        self.expand(&value)?;
        self.stack.push(Item { value, depth: 0 });
        Ok(())
    }

    /// Counts one copy of `value`.
    fn expand(&mut self, value: &Value) -> Result<(), PickleError> {
        if let Value::Text(text) = value {
            self.expansion += text.len();
        }
        if self.expansion > MAX_EXPANSION {
            return Err(self.bound("references expand to too much"));
        }
        Ok(())
    }

    fn memo_id(&mut self, opcode: u8) -> Result<u32, PickleError> {
        match opcode {
            b'p' | b'g' => {
                let line = std::str::from_utf8(self.line()?);
                let id = line.ok().and_then(|line| line.parse().ok());
                id.ok_or_else(|| self.malformed("a memo number"))
            }
            b'q' | b'h' => self.byte().map(u32::from),
            _ => self.bytes().map(u32::from_le_bytes),
        }
    }

    /// The topmost item above the last mark.
    fn pop(&mut self) -> Result<Item, PickleError> {
        let item = if self.stack.len() > self.floor() {
            self.stack.pop()
        } else {
            None
        };
        item.ok_or_else(|| self.malformed("nothing on the stack"))
    }

    /// Stack height at the last open mark.
    fn floor(&self) -> usize {
        self.marks.last().copied().unwrap_or(0)
    }

    /// Closes the last open mark.
    fn mark(&mut self) -> Result<usize, PickleError> {
        self.marks.pop().ok_or_else(|| self.malformed("no mark"))
    }

    fn byte(&mut self) -> Result<u8, PickleError> {
        self.bytes().map(u8::from_le_bytes)
    }

    fn len(&mut self) -> Result<usize, PickleError> {
        let len = self.bytes().map(u32::from_le_bytes)?;
        usize::try_from(len).map_err(|_| self.malformed("a length"))
    }

    fn bytes<const N: usize>(&mut self) -> Result<[u8; N], PickleError> {
        let bytes = self.take(N)?.first_chunk::<N>().copied();
        bytes.ok_or_else(|| self.malformed("cut short"))
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], PickleError> {
        let bytes = self
            .pickle
            .get(self.position..)
            .and_then(|rest| rest.get(..len));
        let bytes = bytes.ok_or_else(|| self.malformed("cut short"))?;
        self.position += len;
        Ok(bytes)
    }

    /// The bytes up to the next line feed, which is taken too.
    fn line(&mut self) -> Result<&'a [u8], PickleError> {
        let rest = self.pickle.get(self.position..).unwrap_or_default();
        let len = rest.iter().position(|byte| *byte == b'\n');
        let line = self.take(len.ok_or_else(|| self.malformed("cut short"))?)?;
        self.position += 1;
        Ok(line)
    }

    fn malformed(&self, what: &'static str) -> PickleError {
        PickleError::Malformed { at: self.at, what }
    }

    fn bound(&self, what: &'static str) -> PickleError {
        PickleError::Bound { at: self.at, what }
    }
}

fn deepest(items: &[Item]) -> usize {
    items.iter().map(|item| item.depth).max().unwrap_or(0)
}

fn values(items: Vec<Item>) -> Vec<Value> {
    items.into_iter().map(|item| item.value).collect()
}
