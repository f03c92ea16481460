//! Packing where it gains.

use std::io::{self, Write as _};

use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};

/// Whether bytes are packed on their way to a worker. Zeros are, except with [`Packing::Never`]: a
/// chunk of them takes a thousandth. Nothing is sent packed that is not smaller by it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Packing {
    /// Where the worker, or the way to it, is what takes the time: packed while waiting for it.
    #[default]
    Auto,
    /// Whatever the cost.
    Always,
    /// Neither.
    Never,
}

impl Packing {
    const NAMES: [(Packing, &str); 3] = [
        (Packing::Auto, "auto"),
        (Packing::Always, "always"),
        (Packing::Never, "never"),
    ];

    /// The one of that name.
    #[must_use]
    pub fn of_name(name: &str) -> Option<Packing> {
        let mut names = Packing::NAMES.iter();
        names.find(|(_, known)| *known == name).map(|(one, _)| *one)
    }

    /// Whether to pack bytes that are not zeros; `has_to_wait`: they could not be sent now anyway.
    pub(super) fn is_worth_it(self, has_to_wait: bool) -> bool {
        match self {
            Packing::Auto => has_to_wait,
            Packing::Always => true,
            Packing::Never => false,
        }
    }
}

/// The least that it has to take away: a sixteenth.
const GAIN: usize = 16;

/// In the form of gzip; None where that is hardly smaller.
pub(super) fn gzip(bytes: &[u8]) -> io::Result<Option<Vec<u8>>> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(bytes.len() / 2), Compression::fast());
    encoder.write_all(bytes)?;
    Ok(smaller(encoder.finish()?, bytes.len()))
}

/// In the form of zlib; None where that is hardly smaller.
pub(super) fn zlib(bytes: &[u8]) -> io::Result<Option<Vec<u8>>> {
    let mut encoder = ZlibEncoder::new(Vec::with_capacity(bytes.len() / 2), Compression::fast());
    encoder.write_all(bytes)?;
    Ok(smaller(encoder.finish()?, bytes.len()))
}

fn smaller(packed: Vec<u8>, than: usize) -> Option<Vec<u8>> {
    (packed.len() + than / GAIN < than).then_some(packed)
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use flate2::read::{GzDecoder, ZlibDecoder};
    use rand::rngs::StdRng;
    use rand::{Rng as _, SeedableRng as _};

    use super::*;

    #[test]
    fn what_gains_is_packed_and_what_does_not_is_not() {
        let text = b"the same again, ".repeat(1000);
        let mut unpacked = Vec::new();
        let packed = gzip(&text).unwrap().unwrap();
        GzDecoder::new(&packed[..])
            .read_to_end(&mut unpacked)
            .unwrap();
        assert_eq!(unpacked, text);
        unpacked.clear();
        let packed = zlib(&text).unwrap().unwrap();
        ZlibDecoder::new(&packed[..])
            .read_to_end(&mut unpacked)
            .unwrap();
        assert_eq!(unpacked, text);

        let mut noise = vec![0; 100_000];
        StdRng::seed_from_u64(1).fill_bytes(&mut noise);
        for bytes in [&noise[..], b"", b"a"] {
            assert_eq!(gzip(bytes).unwrap(), None);
            assert_eq!(zlib(bytes).unwrap(), None);
        }
        let zeros = gzip(&vec![0; 1 << 20]).unwrap().unwrap();
        assert!(zeros.len() < 16_384, "{}", zeros.len());
    }

    #[test]
    fn names_are_read() {
        for (kind, name) in Packing::NAMES {
            assert_eq!(Packing::of_name(name), Some(kind));
        }
        assert_eq!(Packing::of_name("gzip"), None);
        assert!(Packing::Auto.is_worth_it(true) && !Packing::Auto.is_worth_it(false));
        assert!(Packing::Always.is_worth_it(false) && !Packing::Never.is_worth_it(true));
    }
}
