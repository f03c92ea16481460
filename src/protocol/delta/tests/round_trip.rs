use proptest::prelude::*;

use super::super::{BLOCK, MAX_DATA, Run};
use super::*;

const BASE: Option<Uuid> = Some(Uuid::from_u128(1));

/// Parts in order on a disk that ends where they end.
fn parts(gaps: bool) -> impl Strategy<Value = (u64, Vec<Part>)> {
    let part = (
        0_u64..3000,
        1_usize..9000,
        prop_oneof![Just(0), Just(1), Just(2), Just(3)],
        any::<u8>(),
    );
    prop::collection::vec(part, 0..12).prop_map(move |pieces| {
        let mut at = 0;
        let mut parts = Vec::new();
        for (gap, length, kind, seed) in pieces {
            at += if gaps { gap } else { 0 };
            match kind {
                0 => parts.push(Part::Reached(at)),
                1 => {
                    parts.push(Part::Zero(at, length as u64));
                    at += length as u64;
                }
                _ => {
                    // One that packs well, or one that does not.
                    let bytes = (0..length)
                        .map(|byte| {
                            let mixed = (byte as u64 + u64::from(seed))
                                .wrapping_mul(0x9E37_79B9_7F4A_7C15)
                                .to_le_bytes()[7];
                            if kind == 2 { seed } else { mixed }
                        })
                        .collect();
                    parts.push(Part::Data(at, bytes));
                    at += length as u64;
                }
            }
        }
        (at, parts)
    })
}

fn compression() -> impl Strategy<Value = Compression> {
    prop_oneof![
        Just(Compression::None),
        Just(Compression::Zstd),
        Just(Compression::Lz4),
        Just(Compression::Auto)
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn what_goes_in_comes_out(
        (size, parts, base) in prop_oneof![
            parts(true).prop_map(|(size, parts)| (size + 17, parts, BASE)),
            parts(false).prop_map(|(size, parts)| (size, parts, None)),
        ],
        compression in compression(),
        step in 1_usize..5000,
    ) {
        let header = header(size, base);
        let stream = encode(&header, compression, &parts);
        let (found, seen) = decode(&stream, step).unwrap();
        prop_assert_eq!(found, header);
        prop_assert_eq!(seen, parts);
    }

    #[test]
    fn runs_tile_what_they_split(
        offset in 0_u64..20_000,
        blocks in prop::collection::vec((any::<bool>(), 1_usize..6000), 0..10),
    ) {
        let bytes: Vec<u8> = blocks
            .iter()
            .flat_map(|(zero, length)| vec![u8::from(!zero); *length])
            .collect();
        let found: Vec<Run> = runs(offset, &bytes).collect();
        let mut at = 0;
        for (number, run) in found.iter().enumerate() {
            prop_assert_eq!(run.place.start, at);
            prop_assert!(run.place.end > at);
            at = run.place.end;
            let is_zero = bytes[run.place.clone()].iter().all(|byte| *byte == 0);
            prop_assert!(is_zero || !run.is_zero, "data called zero");
            prop_assert!(number == 0 || found[number - 1].is_zero != run.is_zero);
            // A run begins and ends with a block of the disk.
            let end = offset + at as u64;
            prop_assert!(end.is_multiple_of(BLOCK as u64) || at == bytes.len());
            if !run.is_zero {
                // No block in it is all zero.
                let mut block = run.place.start;
                while block < run.place.end {
                    let within = usize::try_from((offset + block as u64) % BLOCK as u64).unwrap();
                    let next = (block + BLOCK - within).min(run.place.end);
                    prop_assert!(bytes[block..next].iter().any(|byte| *byte != 0));
                    block = next;
                }
            }
        }
        prop_assert_eq!(at, bytes.len());
    }
}

#[test]
fn what_packs_travels_packed_and_what_does_not_does_not() {
    let even = vec![7; MAX_DATA];
    let mut state = 1_u64;
    let noise: Vec<u8> = (0..MAX_DATA)
        .map(|_| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            state.to_le_bytes()[7]
        })
        .collect();
    for compression in [Compression::Zstd, Compression::Lz4] {
        for (bytes, packs) in [(&even, true), (&noise, false)] {
            let size = MAX_DATA as u64;
            let stream = encode(
                &header(size, BASE),
                compression,
                &[Part::Data(0, bytes.clone())],
            );
            assert_eq!(stream.len() < MAX_DATA / 100, packs, "{compression:?}");
            assert!(stream.len() < MAX_DATA + 1000);
            assert_eq!(
                decode(&stream, 100_000).unwrap().1,
                [Part::Data(0, bytes.clone())]
            );
        }
    }
}

#[test]
fn an_encoder_takes_nothing_out_of_order() {
    let fresh = |base| {
        Encoder::new(&header(10_000, base), Compression::None)
            .unwrap()
            .0
    };
    let mut encoder = fresh(BASE);
    assert!(encoder.data(5, &[]).is_err());
    assert!(encoder.data(0, &vec![1; MAX_DATA + 1]).is_err());
    encoder.data(100, &[1; 10]).unwrap();
    assert!(encoder.data(109, &[1]).is_err(), "overlaps");
    assert!(encoder.zero(9999, 2).is_err(), "past the end");
    assert!(encoder.zero(110, 0).is_err());
    assert!(encoder.zero(u64::MAX, 2).is_err());
    assert!(encoder.reached(109).is_err());
    let mut encoder = fresh(None);
    assert!(encoder.data(1, &[1]).is_err(), "a gap in all of a disk");
    encoder.data(0, &[1]).unwrap();
    assert!(encoder.end(0).is_err(), "the rest is missing");
}
