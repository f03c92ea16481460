//! Writes BoltDB files, byte by byte, from what is known of their layout.

use std::collections::BTreeMap;

/// A bucket: what lies under each key.
pub type Tree = BTreeMap<Vec<u8>, Cell>;

/// What lies under a key.
#[derive(Debug, Clone)]
pub enum Cell {
    Value(Vec<u8>),
    Bucket(Tree),
}

/// A value.
pub fn value(bytes: impl AsRef<[u8]>) -> Cell {
    Cell::Value(bytes.as_ref().to_vec())
}

/// A tree of these entries.
pub fn tree<K: AsRef<[u8]>>(entries: impl IntoIterator<Item = (K, Cell)>) -> Tree {
    entries
        .into_iter()
        .map(|(key, cell)| (key.as_ref().to_vec(), cell))
        .collect()
}

/// How a file is laid out.
#[derive(Debug, Clone, Copy)]
pub struct Layout {
    pub page_size: usize,
    /// Entries of a node.
    pub per_node: usize,
    /// Whether small buckets lie in their value.
    pub inline: bool,
}

impl Default for Layout {
    fn default() -> Layout {
        Layout {
            page_size: 4096,
            per_node: 20,
            inline: true,
        }
    }
}

const BRANCH: u16 = 1;
const LEAF: u16 = 2;
const META: u16 = 4;
const FREE_LIST: u16 = 16;

/// A file that is being written.
#[derive(Debug)]
pub struct Writer {
    pub layout: Layout,
    pub bytes: Vec<u8>,
}

/// The bytes of a whole file.
pub fn file(root: &Tree) -> Vec<u8> {
    file_in(Layout::default(), root)
}

/// The same, laid out so.
pub fn file_in(layout: Layout, root: &Tree) -> Vec<u8> {
    let mut writer = Writer::new(layout);
    let page = writer.bucket(root);
    writer.metas(page);
    writer.bytes
}

impl Writer {
    /// Room for both metas, and an empty free list.
    pub fn new(layout: Layout) -> Writer {
        let mut writer = Writer {
            layout,
            bytes: vec![0; 3 * layout.page_size],
        };
        let header = header(2, FREE_LIST, 0, 0);
        writer.put(2 * layout.page_size, &header);
        writer
    }

    pub fn put(&mut self, at: usize, bytes: &[u8]) {
        self.bytes[at..at + bytes.len()].copy_from_slice(bytes);
    }

    pub fn pages(&self) -> u64 {
        (self.bytes.len() / self.layout.page_size) as u64
    }

    /// Writes both metas, the second one newer.
    pub fn metas(&mut self, root: u64) {
        self.meta(0, root, 4);
        self.meta(1, root, 5);
    }

    pub fn meta(&mut self, page: usize, root: u64, transaction: u64) {
        let meta = meta(self.layout.page_size, root, self.pages(), transaction);
        let at = page * self.layout.page_size;
        self.put(at, &header(page as u64, META, 0, 0));
        self.put(at + 16, &meta);
    }

    /// Writes a node on pages of its own and gives its number.
    pub fn node(&mut self, flags: u16, count: usize, content: &[u8]) -> u64 {
        let size = self.layout.page_size;
        let page = self.pages();
        let pages = (16 + content.len()).div_ceil(size);
        let at = self.bytes.len();
        self.bytes.resize(at + pages * size, 0);
        let header = header(page, flags, count, pages - 1);
        self.put(at, &header);
        self.put(at + 16, content);
        page
    }

    /// Writes a bucket's tree and gives its root page.
    pub fn bucket(&mut self, tree: &Tree) -> u64 {
        let entries: Vec<(Vec<u8>, u32, Vec<u8>)> = tree
            .iter()
            .map(|(key, cell)| match cell {
                Cell::Value(value) => (key.clone(), 0, value.clone()),
                Cell::Bucket(inner) => (key.clone(), 1, self.bucket_value(inner)),
            })
            .collect();
        let mut level: Vec<(Vec<u8>, u64)> = entries
            .chunks(self.layout.per_node)
            .map(|chunk| {
                let page = self.node(LEAF, chunk.len(), &leaf(chunk));
                (chunk[0].0.clone(), page)
            })
            .collect();
        if level.is_empty() {
            return self.node(LEAF, 0, &[]);
        }
        while level.len() > 1 {
            level = level
                .chunks(self.layout.per_node.max(2))
                .map(|chunk| {
                    let page = self.node(BRANCH, chunk.len(), &branch(chunk));
                    (chunk[0].0.clone(), page)
                })
                .collect();
        }
        level[0].1
    }

    fn bucket_value(&mut self, inner: &Tree) -> Vec<u8> {
        let mut entries = Vec::new();
        for (key, cell) in inner {
            match cell {
                Cell::Value(value) => entries.push((key.clone(), 0, value.clone())),
                Cell::Bucket(_) => break,
            }
        }
        let content = leaf(&entries);
        let fits = entries.len() == inner.len() && content.len() < self.layout.page_size / 4;
        if !(self.layout.inline && fits) {
            let root = self.bucket(inner);
            return [root.to_le_bytes(), 7_u64.to_le_bytes()].concat();
        }
        let inline = header(0, LEAF, entries.len(), 0);
        [&[0; 16][..], &inline, &content].concat()
    }
}

pub fn header(page: u64, flags: u16, count: usize, overflow: usize) -> Vec<u8> {
    [
        &page.to_le_bytes()[..],
        &flags.to_le_bytes(),
        &u16::try_from(count).unwrap().to_le_bytes(),
        &u32::try_from(overflow).unwrap().to_le_bytes(),
    ]
    .concat()
}

pub fn meta(page_size: usize, root: u64, pages: u64, transaction: u64) -> Vec<u8> {
    let mut meta = Vec::new();
    for number in [0xED0C_DAED_u32, 2, u32::try_from(page_size).unwrap(), 0] {
        meta.extend(number.to_le_bytes());
    }
    for number in [root, 0, 2, pages, transaction] {
        meta.extend(number.to_le_bytes());
    }
    let sum = checksum(&meta);
    meta.extend(sum.to_le_bytes());
    meta
}

/// FNV-1a.
pub fn checksum(bytes: &[u8]) -> u64 {
    let mut sum: u64 = 14_695_981_039_346_656_037;
    for byte in bytes {
        sum ^= u64::from(*byte);
        sum = sum.wrapping_mul(1_099_511_628_211);
    }
    sum
}

/// Table and data of a leaf: flags, key and value of each entry.
pub fn leaf(entries: &[(Vec<u8>, u32, Vec<u8>)]) -> Vec<u8> {
    let mut table = Vec::new();
    let mut data = Vec::new();
    for (at, (key, flags, value)) in entries.iter().enumerate() {
        let position = (entries.len() - at) * 16 + data.len();
        for number in [*flags as usize, position, key.len(), value.len()] {
            table.extend(u32::try_from(number).unwrap().to_le_bytes());
        }
        data.extend_from_slice(key);
        data.extend_from_slice(value);
    }
    [table, data].concat()
}

/// Table and data of a branch: the first key below each child, and its page.
pub fn branch(children: &[(Vec<u8>, u64)]) -> Vec<u8> {
    let mut table = Vec::new();
    let mut data = Vec::new();
    for (at, (key, page)) in children.iter().enumerate() {
        let position = (children.len() - at) * 16 + data.len();
        for number in [position, key.len()] {
            table.extend(u32::try_from(number).unwrap().to_le_bytes());
        }
        table.extend(page.to_le_bytes());
        data.extend_from_slice(key);
    }
    [table, data].concat()
}
