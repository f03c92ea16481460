//! Streams that nobody should believe. Checksums are made good where the damage is below them.

use proptest::prelude::*;

use super::super::compression::Packing;
use super::super::frame::{Head, Kind};
use super::super::{FRAME_HEAD, MAX_DATA, MAX_HEADER};
use super::*;
use crate::protocol::ErrorBody;

const SIZE: u64 = 4 << 20;

fn sample(compression: Compression) -> Vec<u8> {
    let parts = [
        Part::Data(4096, vec![3; 5000]),
        Part::Zero(10_000, 300_000),
        Part::Reached(400_000),
        Part::Data(
            500_000,
            (0..4000_u32).map(|at| at.to_le_bytes()[0]).collect(),
        ),
    ];
    encode(&header(SIZE, Some(Uuid::from_u128(1))), compression, &parts)
}

/// A stream with one frame of any content after its header.
fn with_frame(head: &Head, payload: &[u8]) -> Vec<u8> {
    let header = header(SIZE, Some(Uuid::from_u128(1)));
    let (_, mut stream) = Encoder::new(&header, Compression::None).unwrap();
    stream.extend_from_slice(&head.encode(payload).0);
    stream.extend_from_slice(payload);
    stream
}

fn refusal(stream: &[u8]) -> String {
    match decode(stream, 1000) {
        Err(DeltaError::CutOff) => panic!("believed so far"),
        Err(error) => error.to_string(),
        Ok(parts) => panic!("believed: {parts:?}"),
    }
}

fn head(kind: Kind, stored: u32, offset: u64, length: u64) -> Head {
    Head {
        kind,
        packing: Packing::None,
        sequence: 0,
        stored,
        offset,
        length,
    }
}

#[test]
fn every_cut_is_seen() {
    for compression in [Compression::None, Compression::Zstd, Compression::Lz4] {
        let stream = sample(compression);
        for end in 0..stream.len() {
            assert!(
                matches!(decode(&stream[..end], 777), Err(DeltaError::CutOff)),
                "cut at {end}"
            );
        }
        assert!(decode(&stream, 777).is_ok());
        assert!(decode(&[&stream[..], b"x"].concat(), 777).is_err());
    }
}

#[test]
fn every_flipped_bit_is_seen() {
    let stream = sample(Compression::Zstd);
    for at in 0..stream.len() {
        for bit in 0..8 {
            let mut damaged = stream.clone();
            damaged[at] ^= 1 << bit;
            assert!(decode(&damaged, 4096).is_err(), "bit {bit} of byte {at}");
        }
    }
}

#[test]
fn a_refusal_names_the_frame_and_the_offset() {
    let mut stream = sample(Compression::None);
    // In the payload of the second data frame.
    let end = stream.len() - FRAME_HEAD - 40;
    stream[end - 1] ^= 1;
    let text = refusal(&stream);
    assert!(
        text.contains("frame 3, after offset 400000: its checksum"),
        "{text}"
    );
}

#[test]
fn frames_that_cannot_be_are_refused() {
    let data = vec![1; 100];
    for (wrong, payload) in [
        (head(Kind::Data, 0, 0, 0), &[][..]),
        (head(Kind::Data, 100, 0, 99), &data),
        (head(Kind::Data, 100, 0, 101), &data),
        (head(Kind::Data, 100, SIZE - 99, 100), &data),
        (head(Kind::Data, 100, u64::MAX - 10, 100), &data),
        (head(Kind::Zero, 0, 0, 0), &[]),
        (head(Kind::Zero, 100, 0, 100), &data),
        (head(Kind::Zero, 0, 1, SIZE), &[]),
        (head(Kind::Zero, 0, u64::MAX, u64::MAX), &[]),
        (head(Kind::Reached, 0, SIZE + 1, 0), &[]),
        (head(Kind::Reached, 0, 0, 1), &[]),
        (head(Kind::End, 39, 0, 0), &data[..39]),
        (head(Kind::End, 40, 0, 0), &data[..40]),
        (head(Kind::End, 40, 1, 0), &data[..40]),
        (head(Kind::Error, 100, 0, 0), &data),
    ] {
        refusal(&with_frame(&wrong, payload));
    }
    for wrong in [
        Head {
            sequence: 1,
            ..head(Kind::Data, 100, 0, 100)
        },
        // Packed, and not smaller for it; packed nonsense; packed zeros.
        Head {
            packing: Packing::Zstd,
            ..head(Kind::Data, 100, 0, 100)
        },
        Head {
            packing: Packing::Zstd,
            ..head(Kind::Data, 100, 0, 1000)
        },
        Head {
            packing: Packing::Lz4,
            ..head(Kind::Data, 100, 0, 1000)
        },
    ] {
        refusal(&with_frame(&wrong, &data));
    }
}

#[test]
fn lengths_that_are_too_large_are_refused_before_anything_is_waited_for() {
    let long = u32::try_from(MAX_DATA).unwrap() + 1;
    for wrong in [
        head(Kind::Data, long, 0, long.into()),
        head(Kind::Data, u32::MAX, 0, u32::MAX.into()),
        head(Kind::Error, u32::MAX, 0, 0),
        head(Kind::End, u32::MAX, 0, 0),
        Head {
            packing: Packing::Zstd,
            ..head(Kind::Data, 10, 0, u64::MAX)
        },
    ] {
        let stream = with_frame(&wrong, &[]);
        assert!(!matches!(decode(&stream, 99), Err(DeltaError::CutOff)));
    }
    let mut opening = super::super::MAGIC.to_vec();
    opening.extend_from_slice(&[1, 0, 0, 0]);
    opening.extend_from_slice(&u32::try_from(MAX_HEADER + 1).unwrap().to_le_bytes());
    assert!(!matches!(decode(&opening, 99), Err(DeltaError::CutOff)));
    opening[8] = 2;
    assert!(matches!(
        decode(&opening, 99),
        Err(DeltaError::Version { found: 2 })
    ));
}

#[test]
fn what_unpacks_to_more_than_it_says_is_refused() {
    let bomb = vec![0; MAX_DATA];
    let zstd = zstd::bulk::compress(&bomb, 1).unwrap();
    let lz4 = lz4_flex::block::compress(&bomb);
    for (packing, packed) in [(Packing::Zstd, zstd), (Packing::Lz4, lz4)] {
        for length in [MAX_DATA as u64 - 1, 60_000] {
            let wrong = Head {
                packing,
                ..head(Kind::Data, u32::try_from(packed.len()).unwrap(), 0, length)
            };
            refusal(&with_frame(&wrong, &packed));
        }
    }
}

#[test]
fn frames_do_not_come_twice_nor_change_places_nor_go_missing() {
    let header = header(SIZE, Some(Uuid::from_u128(1)));
    let (mut encoder, start) = Encoder::new(&header, Compression::None).unwrap();
    let frames: Vec<Vec<u8>> = (0..3)
        .map(|at| {
            let frame = encoder.data(at * 100, &[1; 50]).unwrap();
            [&frame.head[..], &frame.payload[..]].concat()
        })
        .collect();
    let end = encoder.end(0).unwrap();
    let stream = |order: &[usize]| {
        let frames = order.iter().flat_map(|at| frames[*at].clone());
        [start.clone(), frames.collect(), end.clone()].concat()
    };
    assert!(decode(&stream(&[0, 1, 2]), 99).is_ok());
    for order in [
        &[0, 2, 1][..],
        &[0, 1, 1, 2],
        &[0, 2],
        &[0, 1],
        &[1, 2],
        &[],
    ] {
        refusal(&stream(order));
    }
}

#[test]
fn all_of_a_disk_has_no_gap() {
    let relative = header(SIZE, Some(Uuid::from_u128(1)));
    let whole = header(SIZE, None);
    for (frames, message) in [
        (vec![(1, SIZE - 1)], "come after"),
        (vec![(0, 10), (11, SIZE - 11)], "come after"),
        (vec![(0, SIZE - 1)], "ends at"),
        (vec![], "ends at"),
    ] {
        // A stream with a base may have gaps; the header is exchanged, the chain is not.
        let (mut encoder, _) = Encoder::new(&relative, Compression::None).unwrap();
        let (_, mut stream) = Encoder::new(&whole, Compression::None).unwrap();
        for (offset, length) in frames {
            stream.extend_from_slice(&encoder.zero(offset, length).unwrap());
        }
        stream.extend_from_slice(&encoder.end(0).unwrap());
        let refusal = refusal(&stream);
        assert!(refusal.contains(message), "{refusal}");
    }
}

#[test]
fn a_segment_ends_where_it_says() {
    let segment = |base| StreamHeader {
        from: 4096,
        to: Some(8192),
        ..header(SIZE, base)
    };
    let base = Some(Uuid::from_u128(1));
    let good = encode(&segment(None), Compression::None, &[Part::Zero(4096, 4096)]);
    let mut decoder = Decoder::new();
    let mut input = good.as_slice();
    while decoder.next(&mut input).unwrap().is_some() {}
    assert_eq!(decoder.reached(), 8192);
    decoder.finish().unwrap();
    // The encoder does not write these: the header is exchanged, the chain is not.
    for (base, offset, length, message) in [
        (None, 4096, 4095, "ends at 8191"),
        (None, 4096, 4097, "come after"),
        (base, 4096, 4097, "come after"),
        (base, 8192, 1, "come after"),
        (base, 4095, 1, "come after"),
    ] {
        let all = header(SIZE, Some(Uuid::from_u128(1)));
        let (mut encoder, _) = Encoder::new(&all, Compression::None).unwrap();
        let (_, mut stream) = Encoder::new(&segment(base), Compression::None).unwrap();
        stream.extend_from_slice(&encoder.zero(offset, length).unwrap());
        stream.extend_from_slice(&encoder.end(0).unwrap());
        let refusal = refusal(&stream);
        assert!(refusal.contains(message), "{refusal}");
    }
    for (from, to) in [(8193, Some(8192)), (0, Some(SIZE + 1)), (SIZE + 1, None)] {
        let wrong = StreamHeader {
            from,
            to,
            ..header(SIZE, base)
        };
        assert!(Encoder::new(&wrong, Compression::None).is_err());
    }
}

#[test]
fn the_daemons_error_is_told_and_is_no_end() {
    let body = ErrorBody {
        error: "Internal Server Error".to_owned(),
        details: "cannot read System.img: EIO".to_owned(),
        request_id: Some("7".to_owned()),
    };
    let whole = header(SIZE, None);
    let (mut encoder, mut stream) = Encoder::new(&whole, Compression::None).unwrap();
    stream.extend_from_slice(&encoder.zero(0, 4096).unwrap());
    let before = stream.len();
    stream.extend_from_slice(&encoder.error(&body).unwrap());
    let mut decoder = Decoder::new();
    let mut input = stream.as_slice();
    assert!(matches!(
        decoder.next(&mut input),
        Ok(Some(Item::Header(_)))
    ));
    assert!(matches!(
        decoder.next(&mut input),
        Ok(Some(Item::Zero { .. }))
    ));
    match decoder.next(&mut input) {
        Err(DeltaError::GivenUp(found)) => assert_eq!(found, body),
        other => panic!("{other:?}"),
    }
    assert_eq!(decoder.reached(), 4096, "where to go on");
    assert!(matches!(decoder.finish(), Err(DeltaError::Failed)));
    let mut nothing: &[u8] = &[];
    assert!(matches!(
        decoder.next(&mut nothing),
        Err(DeltaError::Failed)
    ));
    assert!(stream.len() - before > FRAME_HEAD);
    // One that does not fit is shortened, not left out.
    let long = ErrorBody {
        details: "x".repeat(1 << 20),
        ..body
    };
    let (encoder, mut stream) = Encoder::new(&whole, Compression::None).unwrap();
    stream.extend_from_slice(&encoder.error(&long).unwrap());
    assert!(matches!(decode(&stream, 99), Err(DeltaError::GivenUp(_))));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn noise_never_passes_and_never_panics(
        noise in prop::collection::vec(any::<u8>(), 0..300),
        keep in 0_usize..400,
        step in 1_usize..200,
    ) {
        // After as much of a good stream as there is, to get past its beginning.
        let good = sample(Compression::Lz4);
        let mut stream = good[..keep.min(good.len())].to_vec();
        stream.extend_from_slice(&noise);
        prop_assert!(decode(&stream, step).is_err());
    }

    #[test]
    fn heads_of_any_content_never_panic(
        kind in prop_oneof![
            Just(Kind::Data), Just(Kind::Zero), Just(Kind::End), Just(Kind::Error), Just(Kind::Reached)
        ],
        packing in prop_oneof![Just(Packing::None), Just(Packing::Zstd), Just(Packing::Lz4)],
        stored in 0_u32..5000,
        offset in prop_oneof![0..SIZE, any::<u64>()],
        length in prop_oneof![0_u64..5000, any::<u64>()],
        payload in prop::collection::vec(any::<u8>(), 0..5000),
    ) {
        let stored = stored.min(u32::try_from(payload.len()).unwrap());
        let head = Head { kind, packing, sequence: 0, stored, offset, length };
        let payload = &payload[..usize::try_from(stored).unwrap()];
        // No end frame: whatever it is, it is not complete.
        prop_assert!(decode(&with_frame(&head, payload), 333).is_err());
    }
}
