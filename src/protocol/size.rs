//! Sizes in bytes as an admin writes them: `64KiB`, `20G`, `1048576`.
//!
//! All units are powers of 1024. `KB` and the like are refused: some mean 1000 by them.

/// 1024 bytes.
pub const KIB: u64 = 1 << 10;
/// 1024 KiB.
pub const MIB: u64 = 1 << 20;
/// 1024 MiB.
pub const GIB: u64 = 1 << 30;
/// 1024 GiB.
pub const TIB: u64 = 1 << 40;

/// What [`parse`] accepts, for messages.
pub const ACCEPTED: &str = "a whole number of bytes, or with a unit as in \"64KiB\", \"20G\" (K, M, G, T or KiB, MiB, GiB, TiB: powers of 1024)";

/// Why a text is not a size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SizeError {
    /// No digits in front.
    #[error("it does not begin with a whole number")]
    NumberMissing,
    /// Not one of the units.
    #[error("it has an unknown unit")]
    UnknownUnit,
    /// `KB` and the like.
    #[error("KB, MB, GB and TB are ambiguous")]
    AmbiguousUnit,
    /// More than 2^64 − 1 bytes.
    #[error("it is larger than 16 EiB")]
    TooLarge,
}

/// Reads a size. Letter case and spaces between number and unit do not matter.
///
/// # Errors
/// [`SizeError`] says which rule the text breaks.
pub fn parse(text: &str) -> Result<u64, SizeError> {
    let digits_end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (digits, unit) = text.split_at(digits_end);
    if digits.is_empty() {
        return Err(SizeError::NumberMissing);
    }
    let number: u64 = digits.parse().map_err(|_| SizeError::TooLarge)?;
    let unit = match unit.trim_start_matches(' ').to_ascii_lowercase().as_str() {
        "" if unit.is_empty() => 1,
        "b" => 1,
        "k" | "kib" => KIB,
        "m" | "mib" => MIB,
        "g" | "gib" => GIB,
        "t" | "tib" => TIB,
        "kb" | "mb" | "gb" | "tb" => return Err(SizeError::AmbiguousUnit),
        _ => return Err(SizeError::UnknownUnit),
    };
    number.checked_mul(unit).ok_or(SizeError::TooLarge)
}

/// Writes a size in the largest unit that divides it; [`parse`] reads it back exactly.
#[must_use]
pub fn format(bytes: u64) -> String {
    for (unit, name) in [(TIB, "TiB"), (GIB, "GiB"), (MIB, "MiB"), (KIB, "KiB")] {
        if bytes != 0 && bytes.is_multiple_of(unit) {
            return format!("{}{name}", bytes / unit);
        }
    }
    bytes.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_units_of_1024() {
        let table = [
            ("0", 0),
            ("1048576", MIB),
            ("512B", 512),
            ("64KiB", 65_536),
            ("64k", 65_536),
            ("64 kib", 65_536),
            ("3M", 3 * MIB),
            ("20GiB", 20 * GIB),
            ("20G", 20 * GIB),
            ("2TiB", 2 * TIB),
            ("18446744073709551615", u64::MAX),
        ];
        for (text, bytes) in table {
            assert_eq!(parse(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn refuses_the_rest_with_the_reason() {
        use SizeError::*;
        let table = [
            ("", NumberMissing),
            ("KiB", NumberMissing),
            ("-1", NumberMissing),
            (" 1", NumberMissing),
            ("1 ", UnknownUnit),
            ("1.5GiB", UnknownUnit),
            ("1PiB", UnknownUnit),
            ("1KiB ", UnknownUnit),
            ("5%", UnknownUnit),
            ("64KB", AmbiguousUnit),
            ("1gb", AmbiguousUnit),
            ("18446744073709551616", TooLarge),
            ("16777216TiB", TooLarge),
        ];
        for (text, reason) in table {
            assert_eq!(parse(text), Err(reason), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn round_trips(bytes: u64, shift in 0..64_u32) {
            let bytes = (bytes >> shift) << (shift / 2);
            prop_assert_eq!(parse(&format(bytes)), Ok(bytes));
        }

        #[test]
        fn never_panics(text: String) {
            let _ = parse(&text);
        }
    }
}
