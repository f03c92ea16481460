//! The sweep against a model that looks at every byte by itself.

use proptest::prelude::*;

use super::merge::merged;
use super::{
    Change, Content, Extent, Fingerprinting, Page, PageLimit, Segment, Segments, flags, sweep,
    verified,
};

/// A map as a file system might give it: sorted extents, some with flags, and a file size.
fn map() -> impl Strategy<Value = (Vec<Extent>, u64)> {
    let piece = (
        0_u64..12,
        1_u64..12,
        1_u64..40,
        prop_oneof![
            6 => Just(0),
            1 => Just(flags::SHARED),
            1 => Just(flags::UNWRITTEN),
            1 => Just(flags::ENCODED),
            1 => Just(flags::DELALLOC | flags::UNKNOWN),
            1 => Just(0x4000),
        ],
    );
    (prop::collection::vec(piece, 0..12), 0_u64..120).prop_map(|(pieces, size)| {
        let mut at = 0;
        let extents = pieces
            .into_iter()
            .map(|(gap, length, physical, flags)| {
                let logical = at + gap;
                at = logical + length;
                Extent {
                    logical,
                    physical,
                    length,
                    flags,
                }
            })
            .collect();
        (extents, size)
    })
}

fn tile(map: &(Vec<Extent>, u64), from: u64) -> Vec<Result<Segment, ()>> {
    Segments::new(map.0.iter().copied().map(Ok), map.1, from).collect()
}

/// What one byte is: the definition, without any of the code under test.
fn byte(map: &(Vec<Extent>, u64), offset: u64) -> Option<Content> {
    if offset >= map.1 {
        return None;
    }
    let covering = map
        .0
        .iter()
        .find(|extent| extent.logical <= offset && offset < extent.logical + extent.length);
    Some(match covering {
        None => Content::Zero,
        Some(extent) => match extent.flags & !flags::SHARED {
            0 => Content::Data(extent.physical + (offset - extent.logical)),
            flags::UNWRITTEN => Content::Zero,
            _ => Content::Opaque,
        },
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn the_sweep_names_exactly_the_bytes_that_the_model_names(
        base in map(),
        current in map(),
        from in 0_u64..30,
    ) {
        let from = from.min(current.1);
        let changes: Vec<_> = sweep(tile(&base, from), tile(&current, from))
            .filter_map(|piece| piece.unwrap().change())
            .collect();
        let mut reached = from;
        let mut named = vec![None; usize::try_from(current.1).unwrap()];
        for change in &changes {
            prop_assert!(change.segment.length > 0);
            prop_assert!(change.segment.start >= reached, "sorted, no overlap");
            reached = change.segment.end();
            prop_assert!(reached <= current.1, "nothing past the disk's end");
            for offset in change.segment.start..reached {
                let content = change.segment.content.advanced(offset - change.segment.start);
                named[usize::try_from(offset).unwrap()] = Some((content, change.uncertain));
            }
        }
        for offset in from..current.1 {
            let (before, now) = (byte(&base, offset), byte(&current, offset).unwrap());
            let same = before == Some(now) && now != Content::Opaque;
            let uncertain = before == Some(Content::Opaque) || now == Content::Opaque;
            prop_assert_eq!(
                named[usize::try_from(offset).unwrap()],
                (!same).then_some((now, uncertain)),
                "byte {}", offset
            );
        }
    }

    #[test]
    fn merging_and_splitting_keep_the_meaning(one in map(), cut in 1_u64..7) {
        let split = (
            one.0.iter().flat_map(|extent| {
                let head = cut.min(extent.length);
                let tail = Extent {
                    logical: extent.logical + head,
                    physical: extent.physical + head,
                    length: extent.length - head,
                    flags: extent.flags | flags::SHARED,
                };
                [Extent { length: head, ..*extent }, tail]
            }).filter(|extent| extent.length > 0).collect::<Vec<_>>(),
            one.1,
        );
        prop_assert_eq!(
            merged(tile(&one, 0).into_iter().flatten()),
            merged(tile(&split, 0).into_iter().flatten())
        );
        let print = |map| {
            let mut print = Fingerprinting::default();
            tile(map, 0).into_iter().flatten().for_each(|segment| print.push(segment));
            print.finish()
        };
        prop_assert_eq!(print(&one), print(&split));
    }

    #[test]
    fn pages_together_are_the_sweep(
        base in map(),
        current in map(),
        limits in prop::collection::vec((1_usize..4, 1_usize..6, 1_u64..20), 1..6),
    ) {
        let whole = joined(
            sweep(tile(&base, 0), tile(&current, 0)).filter_map(|piece| piece.unwrap().change()),
        );
        let (mut position, mut pages) = (0, Vec::new());
        for (changes, pieces, ahead) in limits.into_iter().cycle() {
            if position == current.1 {
                break;
            }
            let reach = position + ahead;
            let limit = PageLimit { changes, pieces, reach };
            let maps = || (tile(&base, position), tile(&current, position));
            let (page, held) = verified(position, limit, 1, maps).unwrap();
            prop_assert!(held, "nothing moved");
            prop_assert!(page.end > position, "a page without an end");
            prop_assert!(page.changes.len() <= changes);
            for change in &page.changes {
                prop_assert!(position <= change.segment.start && change.segment.end() <= page.end);
                prop_assert!(change.segment.start < reach, "what nobody asks for");
            }
            pages.extend(page.changes);
            position = page.end;
        }
        prop_assert_eq!(joined(pages), whole);
    }

    #[test]
    fn a_page_holds_as_long_as_nothing_in_it_moves(
        base in map(),
        current in map(),
        other in map(),
        moves_base in any::<bool>(),
        limit in (1_usize..4, 1_usize..6),
    ) {
        let limit = PageLimit { changes: limit.0, pieces: limit.1, reach: u64::MAX };
        let page = Page::read(0, tile(&base, 0), tile(&current, 0), limit).unwrap();
        // The sizes stay: both files are sealed.
        let (before, now) = if moves_base {
            ((other.0, base.1), current.clone())
        } else {
            (base.clone(), (other.0, current.1))
        };
        let held = page.holds(tile(&before, 0), tile(&now, 0)).unwrap();
        let same = (0..page.end).all(|offset| {
            byte(&base, offset) == byte(&before, offset) && byte(&current, offset) == byte(&now, offset)
        });
        prop_assert_eq!(held, same);
    }
}

/// Changes that say the same, joined: a page's end may lie inside of one.
fn joined(changes: impl IntoIterator<Item = Change>) -> Vec<Change> {
    let mut all: Vec<Change> = Vec::new();
    for change in changes {
        if let Some(last) = all.last_mut()
            && last.uncertain == change.uncertain
            && let [one] = merged([last.segment, change.segment])[..]
        {
            last.segment = one;
        } else {
            all.push(change);
        }
    }
    all
}

#[test]
fn a_map_that_keeps_moving_is_given_up() {
    let limit = PageLimit {
        changes: 10,
        pieces: 10,
        reach: u64::MAX,
    };
    let one = |physical| {
        vec![Ok::<_, ()>(Segment {
            start: 0,
            length: 10,
            content: Content::Data(physical),
        })]
    };
    // Moves for the first so many readings, then holds still.
    for (moves, readings, holds) in [(0, 2, true), (1, 4, true), (7, 8, false), (4, 6, true)] {
        let mut read = 0;
        let (page, held) = verified(0, limit, 4, || {
            read += 1;
            (one(5), one(1000 + read.min(moves + 1)))
        })
        .unwrap();
        assert_eq!((read, held), (readings, holds), "{moves} moves");
        assert_eq!(page.end, 10);
    }
}

#[test]
fn an_error_on_either_side_ends_the_comparison() {
    let good = || {
        vec![Ok(Segment {
            start: 0,
            length: 10,
            content: Content::Data(5),
        })]
    };
    assert_eq!(
        sweep(vec![Err("base")], good()).collect::<Vec<_>>(),
        [Err("base")]
    );
    assert_eq!(
        sweep(good(), vec![Err("current")]).collect::<Vec<_>>(),
        [Err("current")]
    );
}
