//! A `Range` header, for a disk whose size are the first eight bytes.

#![no_main]

use coriolis_ovm_exporter::server::byte_range::{MAX_RANGES, Wanted, parse};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some((size, header)) = bytes.split_first_chunk() else {
        return;
    };
    let size = u64::from_le_bytes(*size);
    let Wanted::Parts(parts) = parse(Some(header), size) else {
        return;
    };
    assert!(!parts.is_empty() && parts.len() <= MAX_RANGES);
    let mut total = 0_u64;
    let mut ranges = Vec::new();
    for (start, length) in &parts {
        assert!(*length > 0, "an empty part");
        let end = start.checked_add(*length).expect("an end");
        assert!(end <= size, "{start}+{length} of {size}");
        total = total.checked_add(*length).expect("a total");
        ranges.push(format!("{start}-{}", end - 1));
    }
    assert!(total <= size, "{total} bytes of {size}");
    // Asked for exactly what is sent, the same is sent.
    let exact = format!("bytes={}", ranges.join(","));
    assert_eq!(parse(Some(exact.as_bytes()), size), Wanted::Parts(parts));
});
