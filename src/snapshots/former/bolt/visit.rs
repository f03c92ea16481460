//! From a bucket's root to its leaves, entry by entry.

use std::collections::BTreeMap;
use std::io::{Read, Seek, Take};

use super::damage::{Damage, Fault};
use super::meta::Meta;
use super::node::{self, Bucket, Head, Node};
use super::source::Source;

/// Levels of a tree. BoltDB gives a branch two children at least: more levels than this would need
/// more pages than a file of petabytes has.
pub const MAX_DEPTH: usize = 40;
/// Entries that one visit looks at, those of branches too: 16 MiB of tables.
pub const MAX_ENTRIES: usize = 1 << 20;
/// Most places of damage that are listed one by one.
const MAX_DAMAGE: usize = 32;

/// What a key leads to.
#[derive(Debug)]
pub enum Item<'s, R> {
    /// A value, not read yet. Its length is the reader's limit.
    Value(Take<&'s mut R>),
    /// A bucket within the bucket.
    Bucket(Bucket),
}

struct Visit<'v, R> {
    source: &'v mut Source<R>,
    meta: &'v Meta,
    /// Pages that were read: first page, and the one behind the last. A page belongs to one node.
    claimed: BTreeMap<u64, u64>,
    /// Nodes to read, the next one last, with their depth.
    waiting: Vec<(Bucket, usize)>,
    entries: usize,
    last_key: Option<Vec<u8>>,
    damage: Vec<Damage>,
    unlisted: usize,
}

pub(super) fn visit<R: Read + Seek>(
    source: &mut Source<R>,
    meta: &Meta,
    bucket: Bucket,
    visitor: &mut dyn FnMut(&[u8], Item<'_, R>),
) -> Vec<Damage> {
    let mut visit = Visit {
        source,
        meta,
        claimed: BTreeMap::new(),
        waiting: vec![(bucket, 0)],
        entries: 0,
        last_key: None,
        damage: Vec::new(),
        unlisted: 0,
    };
    while let Some((place, depth)) = visit.waiting.pop() {
        let at = place.place(meta);
        match visit.node(place, depth, visitor) {
            Ok(()) => {}
            Err(fault) => {
                let is_limit = fault == Fault::TooMany;
                visit.report(at, fault);
                if is_limit {
                    break;
                }
            }
        }
    }
    if visit.unlisted > 0 {
        let more = Fault::More(visit.unlisted);
        visit.damage.push(Damage { at: 0, fault: more });
    }
    visit.damage
}

impl<R: Read + Seek> Visit<'_, R> {
    fn node(
        &mut self,
        place: Bucket,
        depth: usize,
        visitor: &mut dyn FnMut(&[u8], Item<'_, R>),
    ) -> Result<(), Fault> {
        if depth >= MAX_DEPTH {
            return Err(Fault::TooDeep);
        }
        let head = Head::read(self.source, self.meta, place)?;
        // Both before the table is read: a page that is linked to a million times is read once.
        if let (Bucket::Page(page), Some(end)) = (place, head.end) {
            self.claim(page, end)?;
        }
        self.entries += usize::from(head.count);
        if self.entries > MAX_ENTRIES {
            return Err(Fault::TooMany);
        }
        let node = Node::read(self.source, head)?;
        if node.head.is_branch {
            for index in (0..node.head.count).rev() {
                let page = node.child(index).ok_or(Fault::BadEntry(index))?;
                self.waiting.push((Bucket::Page(page), depth + 1));
            }
            return Ok(());
        }
        // Entries that share bytes would make more of a file than there is in it.
        let mut room = node.room();
        for index in 0..node.head.count {
            self.leaf_entry(&node, index, &mut room, visitor)?;
        }
        Ok(())
    }

    /// Takes the pages of a node; no page is in two.
    fn claim(&mut self, first: u64, end: u64) -> Result<(), Fault> {
        let before = self.claimed.range(..end).next_back();
        if before.is_some_and(|(_, taken)| *taken > first) {
            return Err(Fault::Loop(first));
        }
        self.claimed.insert(first, end);
        Ok(())
    }

    fn leaf_entry(
        &mut self,
        node: &Node,
        index: u16,
        room: &mut u64,
        visitor: &mut dyn FnMut(&[u8], Item<'_, R>),
    ) -> Result<(), Fault> {
        let bad = || Fault::BadEntry(index);
        let entry = node.leaf(index).ok_or_else(bad)?;
        *room = room.checked_sub(entry.len()).ok_or_else(bad)?;
        let unreadable = |error: std::io::Error| Fault::Unreadable(error.to_string());
        let (at, len) = entry.key;
        let key = self.source.read(at, len).map_err(unreadable)?;
        if self.last_key.as_ref().is_some_and(|last| *last >= key) {
            return Err(Fault::Disorder(index));
        }
        if !entry.is_bucket {
            let (at, len) = entry.value;
            let value = self.source.reader(at, len).map_err(unreadable)?;
            visitor(&key, Item::Value(value));
        } else if node.head.end.is_none() {
            // BoltDB gives a bucket that holds buckets pages of its own.
            return Err(bad());
        } else {
            let bucket = node::bucket(self.source, entry.value)?.ok_or_else(bad)?;
            visitor(&key, Item::Bucket(bucket));
        }
        self.last_key = Some(key);
        Ok(())
    }

    fn report(&mut self, at: u64, fault: Fault) {
        // That something was not looked at at all is always said.
        if self.damage.len() < MAX_DAMAGE || fault == Fault::TooMany {
            self.damage.push(Damage { at, fault });
        } else {
            self.unlisted += 1;
        }
    }
}
