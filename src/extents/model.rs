//! The sweep against a model that looks at every byte by itself.

use proptest::prelude::*;

use super::{Content, Extent, Fingerprint, Segment, Segments, flags, merge, sweep};

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
            .map(Result::unwrap)
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
            merge(tile(&one, 0)).collect::<Vec<_>>(),
            merge(tile(&split, 0)).collect::<Vec<_>>()
        );
        prop_assert_eq!(Fingerprint::of(tile(&one, 0)), Fingerprint::of(tile(&split, 0)));
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
