//! What a whole file holds is found, however it is laid out.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::all;
use crate::support::bolt::{self, Cell, Layout, Tree, Writer, tree, value};

fn expected(tree: &Tree, name: &[u8], into: &mut BTreeMap<Vec<u8>, Vec<u8>>) {
    for (key, cell) in tree {
        let path = [name, b"/", key].concat();
        match cell {
            Cell::Value(value) => {
                into.insert(path, value.clone());
            }
            Cell::Bucket(inner) => expected(inner, &path, into),
        }
    }
}

#[track_caller]
fn check(layout: Layout, root: &Tree) {
    let mut wanted = BTreeMap::new();
    expected(root, b"", &mut wanted);
    let (found, damage) = all(&bolt::file_in(layout, root));
    assert_eq!(damage, []);
    assert_eq!(found, wanted);
}

#[test]
fn leaves_branches_overflow_and_buckets_are_followed() {
    let small = tree([("codec", value("json"))]);
    let many = tree((0..500).map(|at| (format!("key {at:05}"), value(vec![7; at]))));
    let large = tree([
        ("a", value(vec![1; 100_000])),
        ("b", value("")),
        ("c", value(vec![3; 4096])),
    ]);
    let deep = tree([("within", Cell::Bucket(tree([("x", value("y"))])))]);
    let root = tree([
        ("deep", Cell::Bucket(deep)),
        ("empty", Cell::Bucket(Tree::new())),
        ("large", Cell::Bucket(large)),
        ("many", Cell::Bucket(many)),
        ("small", Cell::Bucket(small)),
        ("value", value("at the root")),
    ]);
    for page_size in [1024, 4096, 65_536] {
        for per_node in [1, 3, 200] {
            for inline in [true, false] {
                let layout = Layout {
                    page_size,
                    per_node,
                    inline,
                };
                check(layout, &root);
            }
        }
    }
}

#[test]
fn the_newer_meta_counts_unless_it_was_half_written() {
    let mut writer = Writer::new(Layout::default());
    let old = writer.bucket(&tree([("state", value("old"))]));
    let new = writer.bucket(&tree([("state", value("new"))]));
    let state = |writer: &Writer| {
        let (found, damage) = all(&writer.bytes);
        assert_eq!(damage, []);
        String::from_utf8(found[&b"/state"[..]].clone()).unwrap()
    };
    for (newer, older) in [(0, 1), (1, 0)] {
        writer.meta(older, old, 8);
        writer.meta(newer, new, 9);
        assert_eq!(state(&writer), "new");
        // Any byte of it that is not as it was written.
        for at in 0..64 {
            let place = newer * 4096 + 16 + at;
            let good = writer.bytes[place];
            writer.bytes[place] ^= 0x40;
            assert_eq!(state(&writer), "old", "byte {at}");
            writer.bytes[place] = good;
        }
    }
}

fn any_tree() -> impl Strategy<Value = Tree> {
    let key = prop::collection::vec(any::<u8>(), 1..12);
    let leaf = prop::collection::vec(any::<u8>(), 0..3000).prop_map(Cell::Value);
    let cell = leaf.prop_recursive(3, 40, 12, {
        let key = key.clone();
        move |cell| prop::collection::btree_map(key.clone(), cell, 0..12).prop_map(Cell::Bucket)
    });
    prop::collection::btree_map(key, cell, 0..40)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(crate::support::counts::count(20, 200)))]

    #[test]
    fn any_tree_is_read_back(root in any_tree(), per_node in 1_usize..30, inline: bool) {
        check(Layout { page_size: 1024, per_node, inline }, &root);
    }
}
