//! Durations as Go writes them: `168h`, `1h30m`, `1.5h`, `500ms`.
//!
//! Existing configuration files and API clients use this notation. It is a sequence of decimal
//! numbers, each with an optional fraction and a unit (`ns`, `us` or `µs`, `ms`, `s`, `m`, `h`);
//! a bare `0` needs no unit. All arithmetic is on integers. What lies below a nanosecond is cut
//! off, as in Go.

use std::fmt::Write as _;
use std::time::Duration;

/// The longest duration that is accepted: 2^63 − 1 ns (about 292 years), the limit of Go's type.
///
/// Adding it to any present-day time cannot overflow a 64-bit count of seconds.
pub const LONGEST: Duration = Duration::from_nanos(i64::MAX.unsigned_abs());

/// More digits after the point than this cannot change the result of any sensible input; they
/// are refused rather than rounded.
const FRACTION_DIGITS: usize = 18;

/// The units and their length in nanoseconds. `µ` exists twice in Unicode, as in Go's parser.
const UNITS: [(&str, u128); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("\u{b5}s", 1_000),
    ("\u{3bc}s", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

/// Why a text is not a duration. The text itself is not repeated: the caller knows where it
/// came from and whether it may be shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DurationError {
    /// Nothing between the quotes.
    #[error("it is empty")]
    Empty,
    /// A leading minus sign.
    #[error("it is negative")]
    Negative,
    /// A unit or a point without a number in front, or a character that belongs nowhere.
    #[error("a number is missing where one is expected")]
    NumberMissing,
    /// A number without a unit.
    #[error("a number has no unit")]
    UnitMissing,
    /// A unit that Go does not know either, such as `d`.
    #[error("it has an unknown unit; known are h, m, s, ms, us, ns")]
    UnknownUnit,
    /// More digits after the point than can be computed exactly.
    #[error("it has more than 18 digits after the point")]
    TooPrecise,
    /// Longer than [`LONGEST`].
    #[error("it is longer than 292 years")]
    TooLong,
}

/// Reads a duration in Go's notation.
///
/// ```
/// use coriolis_ovm_exporter::protocol::duration;
/// use std::time::Duration;
/// assert_eq!(duration::parse("1h30m"), Ok(Duration::from_secs(5400)));
/// assert!(duration::parse("7d").is_err());
/// ```
///
/// # Errors
/// [`DurationError`] says which rule the text breaks.
pub fn parse(text: &str) -> Result<Duration, DurationError> {
    if text.is_empty() {
        return Err(DurationError::Empty);
    }
    if text.starts_with('-') {
        return Err(DurationError::Negative);
    }
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if rest == "0" {
        return Ok(Duration::ZERO);
    }
    if rest.is_empty() {
        return Err(DurationError::NumberMissing);
    }
    let mut total: u128 = 0;
    while !rest.is_empty() {
        let (nanos, after) = component(rest)?;
        total = total.checked_add(nanos).ok_or(DurationError::TooLong)?;
        if total > LONGEST.as_nanos() {
            return Err(DurationError::TooLong);
        }
        rest = after;
    }
    u64::try_from(total)
        .map(Duration::from_nanos)
        .map_err(|_| DurationError::TooLong)
}

/// Reads one number with its unit; returns nanoseconds and what follows.
fn component(text: &str) -> Result<(u128, &str), DurationError> {
    let (whole, after_whole) = digits(text);
    let (fraction, after_number) = match after_whole.strip_prefix('.') {
        Some(after_point) => digits(after_point),
        None => ("", after_whole),
    };
    if whole.is_empty() && fraction.is_empty() {
        return Err(DurationError::NumberMissing);
    }
    let unit_end = after_number
        .find(|c: char| c == '.' || c.is_ascii_digit())
        .unwrap_or(after_number.len());
    let (unit, rest) = after_number.split_at(unit_end);
    if unit.is_empty() {
        return Err(DurationError::UnitMissing);
    }
    let (_, length) = UNITS
        .iter()
        .find(|(name, _)| *name == unit)
        .ok_or(DurationError::UnknownUnit)?;

    let whole_nanos = number(whole)?
        .checked_mul(*length)
        .ok_or(DurationError::TooLong)?;
    let fraction = fraction.trim_end_matches('0');
    if fraction.len() > FRACTION_DIGITS {
        return Err(DurationError::TooPrecise);
    }
    // At most 10^18 × 3.6·10^12: fits in 128 bits by far.
    let scale = fraction.bytes().fold(1_u128, |scale, _| scale * 10);
    let fraction_nanos = number(fraction)? * length / scale;
    let nanos = whole_nanos
        .checked_add(fraction_nanos)
        .ok_or(DurationError::TooLong)?;
    Ok((nanos, rest))
}

/// Splits the leading ASCII digits off.
fn digits(text: &str) -> (&str, &str) {
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    text.split_at(end)
}

/// The value of a run of digits; none is zero, as in `.5s` and `1.s`.
fn number(digits: &str) -> Result<u128, DurationError> {
    if digits.is_empty() {
        return Ok(0);
    }
    digits.parse().map_err(|_| DurationError::TooLong)
}

/// Writes a duration in the notation that [`parse`] reads, exactly and in its shortest form
/// without fractions: `168h`, `1h30m`, `1s500ms`, `0s`.
#[must_use]
pub fn format(duration: Duration) -> String {
    if duration.is_zero() {
        return "0s".to_owned();
    }
    let seconds = duration.as_secs();
    let nanos = duration.subsec_nanos();
    let parts = [
        (seconds / 3600, "h"),
        (seconds / 60 % 60, "m"),
        (seconds % 60, "s"),
        (u64::from(nanos / 1_000_000), "ms"),
        (u64::from(nanos / 1_000 % 1_000), "us"),
        (u64::from(nanos % 1_000), "ns"),
    ];
    let mut text = String::new();
    for (count, unit) in parts {
        if count > 0 {
            // Writing to a String cannot fail.
            let _ = write!(text, "{count}{unit}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HOUR: u64 = 3_600_000_000_000;

    #[test]
    fn reads_what_go_reads() {
        // Expected values in nanoseconds, as Go's time.ParseDuration gives them.
        let table: [(&str, u64); 26] = [
            ("0", 0),
            ("+0", 0),
            ("0s", 0),
            ("0h0m0s", 0),
            ("168h", 168 * HOUR),
            ("168h0m0s", 168 * HOUR),
            ("1h30m", HOUR + HOUR / 2),
            ("30m1h", HOUR + HOUR / 2),
            ("1.5h", HOUR + HOUR / 2),
            ("01h", HOUR),
            ("500ms", 500_000_000),
            ("+5s", 5_000_000_000),
            (".5s", 500_000_000),
            ("1.s", 1_000_000_000),
            ("10ns", 10),
            ("11us", 11_000),
            ("12\u{b5}s", 12_000),
            ("12\u{3bc}s", 12_000),
            ("1m1m", 120_000_000_000),
            (
                "3h4m5s6ms7us8ns",
                3 * HOUR + 4 * 60_000_000_000 + 5_006_007_008,
            ),
            ("0.9ns", 0),
            ("0.000000001s", 1),
            ("0.100000000000000000000h", HOUR / 10),
            ("39h9m14.425s", 140_954_425_000_000),
            ("9223372036854775807ns", 9_223_372_036_854_775_807),
            ("9223372036.854775807s", 9_223_372_036_854_775_807),
        ];
        for (text, nanos) in table {
            assert_eq!(parse(text), Ok(Duration::from_nanos(nanos)), "{text}");
        }
    }

    #[test]
    fn refuses_the_rest_with_the_reason() {
        use DurationError::*;
        let table = [
            ("", Empty),
            ("-1s", Negative),
            ("-0s", Negative),
            ("-", Negative),
            ("+", NumberMissing),
            ("s", NumberMissing),
            (".", NumberMissing),
            (".s", NumberMissing),
            ("++1s", NumberMissing),
            ("1h-5m", UnknownUnit),
            (" 1s", NumberMissing),
            ("1s ", UnknownUnit),
            ("1 s", UnknownUnit),
            ("3000", UnitMissing),
            ("00", UnitMissing),
            ("1h30", UnitMissing),
            ("1.2.3s", UnitMissing),
            ("7d", UnknownUnit),
            ("1H", UnknownUnit),
            ("1e3s", UnknownUnit),
            ("٣s", NumberMissing),
            ("0.1234567890123456789s", TooPrecise),
            ("9223372036854775808ns", TooLong),
            ("2562048h", TooLong),
            ("2562047h1000000m", TooLong),
            ("999999999999999999999999999999999999999999999h", TooLong),
            ("340282366920938463463374607431768211455h", TooLong),
        ];
        for (text, reason) in table {
            assert_eq!(parse(text), Err(reason), "{text:?}");
        }
    }

    #[test]
    fn writes_the_shortest_exact_form() {
        let table = [
            (Duration::ZERO, "0s"),
            (Duration::from_hours(168), "168h"),
            (Duration::from_mins(90), "1h30m"),
            (Duration::from_secs(10), "10s"),
            (Duration::from_millis(1500), "1s500ms"),
            (Duration::from_nanos(1_002_003), "1ms2us3ns"),
        ];
        for (duration, text) in table {
            assert_eq!(format(duration), text);
        }
    }

    proptest! {
        #[test]
        fn round_trips(nanos in 0..=i64::MAX.unsigned_abs()) {
            let duration = Duration::from_nanos(nanos);
            prop_assert_eq!(parse(&format(duration)), Ok(duration));
        }

        #[test]
        fn any_duration_can_be_written(seconds: u64, nanos in 0..1_000_000_000_u32) {
            let duration = Duration::new(seconds, nanos);
            let read = parse(&format(duration));
            prop_assert_eq!(read, if duration > LONGEST { Err(DurationError::TooLong) } else { Ok(duration) });
        }

        #[test]
        fn never_panics(text in any::<String>(), near in "[-+0-9.hmnsu\u{b5} ]{0,60}") {
            let _ = parse(&text);
            let _ = parse(&near);
        }
    }
}
