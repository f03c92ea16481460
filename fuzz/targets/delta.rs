//! A delta stream. The first byte says in what pieces it comes; checksums and frame numbers are made
//! good, or nothing would get past them.

#![no_main]

use coriolis_ovm_exporter::protocol::delta::{Decoder, FRAME_HEAD, Item, MAX_DATA, MAX_HEADER};
use libfuzzer_sys::fuzz_target;

const FIXED: usize = 16;

fuzz_target!(|bytes: &[u8]| {
    let Some((step, stream)) = bytes.split_first() else {
        return;
    };
    let mut stream = stream.to_vec();
    mend(&mut stream);
    let mut decoder = Decoder::new();
    let (mut limit, mut tiles, mut reached, mut ended) = (0, false, 0, false);
    for piece in stream.chunks(usize::from(*step) * 7 + 1) {
        let mut input = piece;
        loop {
            let (from, to) = match decoder.next(&mut input) {
                Err(_) => {
                    assert!(decoder.finish().is_err(), "failed, and complete");
                    return;
                }
                Ok(None) => break,
                Ok(Some(Item::Header(header))) => {
                    (limit, tiles, reached) = (header.end(), header.base.is_none(), header.from);
                    assert!(reached <= limit && limit <= header.size);
                    continue;
                }
                Ok(Some(Item::Data { offset, bytes })) => {
                    assert!(!bytes.is_empty() && bytes.len() <= MAX_DATA);
                    (offset, offset + bytes.len() as u64)
                }
                Ok(Some(Item::Zero { offset, length })) => (offset, offset + length),
                Ok(Some(Item::Reached(offset))) => (offset, offset),
                Ok(Some(Item::End(_))) => {
                    assert!(!tiles || reached == limit, "a gap at the end");
                    ended = true;
                    continue;
                }
            };
            assert!(from >= reached && to <= limit && !ended);
            assert!(!tiles || from == reached, "a gap");
            reached = to;
        }
        assert!(input.is_empty(), "bytes are left without an item");
    }
    assert_eq!(decoder.finish().is_ok(), ended);
});

/// Makes good what an input cannot be expected to guess.
fn mend(stream: &mut [u8]) {
    let Some(fixed) = stream.first_chunk_mut::<FIXED>() else {
        return;
    };
    fixed[..12].copy_from_slice(b"OVMDELTA\x01\0\0\0");
    let length = u32::from_le_bytes([fixed[12], fixed[13], fixed[14], fixed[15]]) as usize;
    let json = FIXED + length % (MAX_HEADER + 1);
    if stream.len() < json + 4 {
        return;
    }
    let mut chain = put(stream, json, 0..json, &[]);
    chain = crc32c::crc32c(&chain.to_le_bytes());
    let (mut at, mut number) = (json + 4, 0_u32);
    while stream.len() >= at + FRAME_HEAD {
        let stored: [u8; 4] = [4, 5, 6, 7].map(|place| stream[at + place]);
        let end = (at + FRAME_HEAD).saturating_add(u32::from_le_bytes(stored) as usize);
        if stream.len() < end {
            return;
        }
        stream[at + 24..at + 28].copy_from_slice(&number.to_le_bytes());
        if stream[at] == 3 && end - at == FRAME_HEAD + 40 {
            stream[end - 8..end - 4].copy_from_slice(&chain.to_le_bytes());
        }
        let payload = stream[at + FRAME_HEAD..end].to_vec();
        let checksum = put(stream, at + 28, at..at + 28, &payload);
        chain = crc32c::crc32c_append(chain, &checksum.to_le_bytes());
        (at, number) = (end, number + 1);
    }
}

/// Puts the checksum of these bytes to a place.
fn put(stream: &mut [u8], place: usize, of: std::ops::Range<usize>, more: &[u8]) -> u32 {
    let checksum = crc32c::crc32c_append(crc32c::crc32c(&stream[of]), more);
    stream[place..place + 4].copy_from_slice(&checksum.to_le_bytes());
    checksum
}
