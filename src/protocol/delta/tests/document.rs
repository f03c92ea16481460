//! `docs/delta-stream.md` and the code say the same: its example is decoded, and encoded again.

use super::*;

const DOCUMENT: &str = include_str!("../../../../docs/delta-stream.md");

/// The hexadecimal bytes of the fenced block that follows this heading.
fn bytes_below(heading: &str) -> Vec<u8> {
    let (_, after) = DOCUMENT.split_once(heading).expect(heading);
    let block = after.split("```").nth(1).unwrap();
    block
        .lines()
        .skip(1)
        // What stands behind two spaces explains.
        .filter_map(|line| line.split("  ").next())
        .flat_map(str::split_whitespace)
        .map(|byte| u8::from_str_radix(byte, 16).unwrap())
        .collect()
}

#[test]
fn the_example_is_what_the_document_says() {
    let example = bytes_below("## Example");
    let (found, parts) = decode(&example, 7).unwrap();
    let expected_header = StreamHeader {
        snapshot: Uuid::from_u128(0x6e2c_5d0a_0c1f_4b43_9f43_2d5d_0c0e_9a11),
        disk: "System.img".to_owned(),
        size: 16_384,
        base: Some(Uuid::from_u128(0x1b7f_8c6e_51a7_4f4f_8c4e_9d1c_2a3b_4c5d)),
        from: 0,
        to: None,
        method: "extents".to_owned(),
        reason: None,
    };
    let expected_parts = [
        Part::Data(4096, b"changed!".to_vec()),
        Part::Zero(8192, 4096),
        Part::Reached(14_000),
    ];
    assert_eq!(found, expected_header);
    assert_eq!(parts, expected_parts);
    let again = encode(&expected_header, Compression::None, &expected_parts);
    assert_eq!(again, example, "write this:\n{}", dump(&again));
}

fn dump(bytes: &[u8]) -> String {
    bytes
        .chunks(16)
        .map(|line| {
            let line: Vec<String> = line.iter().map(|byte| format!("{byte:02x}")).collect();
            line.join(" ") + "\n"
        })
        .collect()
}

#[test]
fn the_documents_numbers_are_the_codes() {
    use super::super::{CONTENT_TYPE, FRAME_HEAD, MAX_DATA, MAX_ERROR, MAX_HEADER, VERSION};
    let numbers = [
        format!("version, {VERSION}"),
        format!("{FRAME_HEAD} bytes"),
        format!("at most {MAX_DATA} bytes"),
        format!("at most {MAX_ERROR} bytes"),
        format!("at most {MAX_HEADER} bytes"),
        CONTENT_TYPE.to_owned(),
    ];
    for number in numbers {
        assert!(DOCUMENT.contains(&number), "the document lacks: {number}");
    }
}
