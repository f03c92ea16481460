//! The `Range` header (RFC 9110, section 14): which bytes a client asks for.

/// Most ranges that one request may name. More are answered with the whole disk, as the RFC
/// allows: each costs a part with headers of its own.
pub const MAX_RANGES: usize = 1000;

/// What to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// Everything: no range was asked for, or the header is to be ignored.
    Whole,
    /// These ranges, start and length, each inside the disk, never empty.
    Parts(Vec<(u64, u64)>),
    /// Every range lies outside of the disk.
    Unsatisfiable,
}

/// Reads a `Range` header for something of `size` bytes.
///
/// A header that is malformed or of another unit is ignored, as the RFC says. A range that
/// reaches past the end is cut there; ranges outside are dropped. Where the ranges add up to
/// more than the whole, the whole is sent: nobody gets more work done by overlapping ranges.
#[must_use]
pub fn parse(header: Option<&[u8]>, size: u64) -> Wanted {
    let Some(text) = header.and_then(|bytes| std::str::from_utf8(bytes).ok()) else {
        return Wanted::Whole;
    };
    let Some((unit, list)) = text.split_once('=') else {
        return Wanted::Whole;
    };
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return Wanted::Whole;
    }
    let mut parts = Vec::new();
    let mut any = false;
    for (count, item) in list.split(',').enumerate() {
        let item = item.trim_matches([' ', '\t']);
        if count >= MAX_RANGES {
            return Wanted::Whole;
        }
        if item.is_empty() {
            continue;
        }
        any = true;
        match one(item, size) {
            Some(Some(part)) => parts.push(part),
            Some(None) => {}
            None => return Wanted::Whole,
        }
    }
    let total = parts
        .iter()
        .try_fold(0_u64, |sum, (_, length)| sum.checked_add(*length));
    match total {
        _ if !any => Wanted::Whole,
        _ if parts.is_empty() => Wanted::Unsatisfiable,
        Some(total) if total <= size || parts.len() == 1 => Wanted::Parts(parts),
        _ => Wanted::Whole,
    }
}

/// One range: None where it is malformed, `Some(None)` where it lies outside.
fn one(item: &str, size: u64) -> Option<Option<(u64, u64)>> {
    let (first, last) = item.split_once('-')?;
    if first.is_empty() {
        // A suffix: the last so many bytes.
        let length = number(last)?.min(size);
        return Some((length > 0).then(|| (size - length, length)));
    }
    let start = number(first)?;
    let end = if last.is_empty() {
        u64::MAX
    } else {
        number(last)?
    };
    if end < start {
        return None;
    }
    if start >= size {
        return Some(None);
    }
    Some(Some((start, end.min(size - 1) - start + 1)))
}

/// Digits alone; a number that does not fit is as good as the largest.
fn number(text: &str) -> Option<u64> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Some(text.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn wanted(header: &str, size: u64) -> Wanted {
        parse(Some(header.as_bytes()), size)
    }

    #[test]
    fn every_form_of_a_range() {
        let part = |start, length| Wanted::Parts(vec![(start, length)]);
        for (header, expected) in [
            ("bytes=0-0", part(0, 1)),
            ("bytes=10-19", part(10, 10)),
            ("bytes=10-", part(10, 90)),
            ("bytes=-10", part(90, 10)),
            ("bytes=-1000", part(0, 100)),
            ("bytes=90-1000", part(90, 10)),
            ("bytes=0-18446744073709551615", part(0, 100)),
            ("bytes=0-99999999999999999999999", part(0, 100)),
            ("Bytes= 0-9 ", part(0, 10)),
            ("bytes=0-9,20-29", Wanted::Parts(vec![(0, 10), (20, 10)])),
            ("bytes=0-9, 200-300", part(0, 10)),
            ("bytes=0-9,,20-29", Wanted::Parts(vec![(0, 10), (20, 10)])),
            ("bytes=0-,0-", Wanted::Whole),
            ("bytes=100-", Wanted::Unsatisfiable),
            ("bytes=100-200,300-", Wanted::Unsatisfiable),
            ("bytes=-0", Wanted::Unsatisfiable),
            ("bytes=9-0", Wanted::Whole),
            ("bytes=a-b", Wanted::Whole),
            ("bytes=+1-2", Wanted::Whole),
            ("bytes=1", Wanted::Whole),
            ("bytes=", Wanted::Whole),
            ("bytes", Wanted::Whole),
            ("lines=0-1", Wanted::Whole),
            ("", Wanted::Whole),
        ] {
            assert_eq!(wanted(header, 100), expected, "{header:?}");
        }
        assert_eq!(parse(None, 100), Wanted::Whole);
        assert_eq!(wanted("bytes=0-", 0), Wanted::Unsatisfiable);
        let many = format!("bytes={}", vec!["0-0"; MAX_RANGES + 1].join(","));
        assert_eq!(wanted(&many, 1 << 20), Wanted::Whole);
    }

    proptest! {
        #[test]
        fn whatever_comes_stays_inside(header in ".{0,60}", size in any::<u64>()) {
            if let Wanted::Parts(parts) = parse(Some(header.as_bytes()), size) {
                for (start, length) in parts {
                    prop_assert!(length > 0);
                    prop_assert!(start.checked_add(length).is_some_and(|end| end <= size));
                }
            }
        }

        #[test]
        fn numbers_of_any_size_stay_inside(
            first in proptest::option::of(any::<u64>()),
            last in proptest::option::of(any::<u64>()),
            size in any::<u64>(),
        ) {
            let text = |number: Option<u64>| number.map(|n| n.to_string()).unwrap_or_default();
            let header = format!("bytes={}-{}", text(first), text(last));
            if let Wanted::Parts(parts) = parse(Some(header.as_bytes()), size) {
                for (start, length) in parts {
                    prop_assert!(length > 0);
                    prop_assert!(start.checked_add(length).is_some_and(|end| end <= size));
                }
            }
        }
    }
}
