//! Walking through the sections of a TOML document key by key.
//!
//! A deserializer stops at the first mistake. An admin wants to hear of all of them at once, so
//! each key is read on its own, and what was noticed is noted with its offset.

use std::collections::BTreeMap;
use std::ops::Range;

use toml::de::{DeTable, DeValue};

use super::values::Reading;

/// What came to light on the way through a document. Offsets are in bytes.
#[derive(Debug, Default)]
pub(super) struct Notes {
    /// Values that cannot be taken: from where to where they stand, key, message.
    pub(super) bad: Vec<(Range<usize>, String, String)>,
    /// Keys and sections that nobody asked for.
    pub(super) unknown: Vec<(usize, String)>,
    /// Where the value of each known key begins that is there.
    pub(super) offsets: BTreeMap<String, usize>,
    /// Every key that was asked for, there or not.
    pub(super) known: Vec<String>,
    /// Every section that was asked for, there or not.
    pub(super) sections: Vec<String>,
}

/// One section, or the place where it would be.
pub(super) struct Section<'w, 't> {
    name: String,
    table: Option<&'w DeTable<'t>>,
    asked: Vec<&'static str>,
    notes: &'w mut Notes,
}

/// Walks through the document's top level.
pub(super) fn walk<'w>(
    table: &'w DeTable<'_>,
    notes: &'w mut Notes,
    visit: impl FnOnce(&mut Section<'_, '_>),
) {
    let mut top = Section {
        name: String::new(),
        table: Some(table),
        asked: Vec::new(),
        notes,
    };
    visit(&mut top);
    top.note_unknown();
}

impl<'w, 't> Section<'w, 't> {
    /// Reads the value of a key into its setting, which stays as it is where the key is absent
    /// or its value cannot be taken.
    pub(super) fn key<T>(
        &mut self,
        key: &'static str,
        setting: &mut T,
        read: impl FnOnce(&DeValue<'_>) -> Reading<T>,
    ) {
        let name = self.dotted(key);
        self.asked.push(key);
        self.notes.known.push(name.clone());
        let Some((span, value)) = self.find(key) else {
            return;
        };
        self.notes.offsets.insert(name.clone(), span.start);
        match read(value) {
            Ok(taken) => *setting = taken,
            Err(refusal) => self.notes.bad.push((span, name, refusal.message(value))),
        }
    }

    /// Walks through a section within this one.
    pub(super) fn section(&mut self, key: &'static str, visit: impl FnOnce(&mut Section<'_, '_>)) {
        let name = self.dotted(key);
        self.asked.push(key);
        self.notes.sections.push(name.clone());
        let table = match self.find(key) {
            Some((_, DeValue::Table(table))) => Some(table),
            Some((span, _)) => {
                self.notes.bad.push((
                    span,
                    name.clone(),
                    format!("found a value; accepted: a section, [{name}]"),
                ));
                None
            }
            None => None,
        };
        let mut inner = Section {
            name,
            table,
            asked: Vec::new(),
            notes: &mut *self.notes,
        };
        visit(&mut inner);
        inner.note_unknown();
    }

    fn find(&self, key: &str) -> Option<(Range<usize>, &'w DeValue<'t>)> {
        self.table?
            .iter()
            .find(|(name, _)| name.get_ref() == key)
            .map(|(_, value)| (value.span(), value.get_ref()))
    }

    fn note_unknown(&mut self) {
        let Some(table) = self.table else { return };
        for (key, _) in table {
            if !self.asked.iter().any(|asked| key.get_ref() == asked) {
                let dotted = self.dotted(key.get_ref());
                self.notes.unknown.push((key.span().start, dotted));
            }
        }
    }

    fn dotted(&self, key: &str) -> String {
        if self.name.is_empty() {
            key.to_owned()
        } else {
            format!("{}.{key}", self.name)
        }
    }
}
