mod document;
mod hostile;
mod round_trip;

use uuid::Uuid;

use super::{Compression, Decoder, DeltaError, Encoder, Item, StreamHeader, runs};

/// What a stream is made of, without its ends.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Data(u64, Vec<u8>),
    Zero(u64, u64),
    Reached(u64),
}

fn header(size: u64, base: Option<Uuid>) -> StreamHeader {
    StreamHeader {
        snapshot: Uuid::from_u128(2),
        disk: "System.img".to_owned(),
        size,
        base,
        from: 0,
        to: None,
        method: "extents".to_owned(),
        reason: None,
    }
}

fn encode(header: &StreamHeader, compression: Compression, parts: &[Part]) -> Vec<u8> {
    let (mut encoder, mut stream) = Encoder::new(header, compression).unwrap();
    for part in parts {
        match part {
            Part::Data(offset, bytes) => {
                let frame = encoder.data(*offset, bytes).unwrap();
                stream.extend_from_slice(&frame.head);
                stream.extend_from_slice(&frame.payload);
            }
            Part::Zero(offset, length) => {
                stream.extend_from_slice(&encoder.zero(*offset, *length).unwrap());
            }
            Part::Reached(offset) => {
                stream.extend_from_slice(&encoder.reached(*offset).unwrap());
            }
        }
    }
    stream.extend(encoder.end(0).unwrap());
    stream
}

/// Decodes a stream that comes in pieces of `step` bytes.
fn decode(stream: &[u8], step: usize) -> Result<(StreamHeader, Vec<Part>), DeltaError> {
    let mut decoder = Decoder::new();
    let (mut header, mut parts) = (None, Vec::new());
    for piece in stream.chunks(step.max(1)) {
        let mut input = piece;
        while let Some(item) = decoder.next(&mut input)? {
            match item {
                Item::Header(found) => header = Some(found),
                Item::Data { offset, bytes } => parts.push(Part::Data(offset, bytes.to_vec())),
                Item::Zero { offset, length } => parts.push(Part::Zero(offset, length)),
                Item::Reached(offset) => parts.push(Part::Reached(offset)),
                Item::End(_) => {}
            }
        }
        assert!(input.is_empty(), "bytes are left without an item");
    }
    decoder.finish()?;
    Ok((header.unwrap(), parts))
}
