//! Bytes for people.

const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];

/// In the largest unit of which there is at least one, with one digit after the point, cut off:
/// nothing is said to be more than it is.
#[must_use]
pub fn text(bytes: u64) -> String {
    let (mut unit, mut name) = (1_u64, None);
    for next in UNITS {
        if bytes / unit < 1024 {
            break;
        }
        unit <<= 10;
        name = Some(next);
    }
    match name {
        None => format!("{bytes} B"),
        Some(name) => {
            let tenth = u128::from(bytes % unit) * 10 / u128::from(unit);
            format!("{}.{tenth} {name}", bytes / unit)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::text;

    #[test]
    fn the_unit_fits_the_number() {
        for (bytes, expected) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1536, "1.5 KiB"),
            ((1 << 20) - 1, "1023.9 KiB"),
            (1 << 20, "1.0 MiB"),
            (5 << 30, "5.0 GiB"),
            (u64::MAX, "15.9 EiB"),
        ] {
            assert_eq!(text(bytes), expected);
        }
    }
}
