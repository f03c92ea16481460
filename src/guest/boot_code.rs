//! Whose code a first sector begins with.

use super::bytes::has;
use crate::protocol::BootCode;

/// Behind the code stand the disk's signature and the table.
const CODE: usize = 440;
/// Where GRUB 0.9x has its version, 3.2; in GRUB 2 it is a part of a zeroed field.
const LEGACY_VERSION: usize = 0x3e;

/// Recognises the code of a first sector by the messages in it.
pub(super) fn recognise(sector: &[u8]) -> BootCode {
    let Some(code) = sector.get(..CODE) else {
        return BootCode::None;
    };
    let says = |text: &[u8]| code.windows(text.len()).any(|window| window == text);
    if code.iter().all(|byte| *byte == 0) {
        BootCode::None
    } else if has(code, 6, b"LILO") || has(code, 2, b"LILO") {
        BootCode::Lilo
    } else if says(b"GRUB ") && says(b"Geom") {
        match has(code, LEGACY_VERSION, &[3, 2]) {
            true => BootCode::GrubLegacy,
            false => BootCode::Grub,
        }
    } else if says(b"SYSLINUX") || says(b"EXTLINUX") || says(b"isolinux.bin") {
        BootCode::Syslinux
    // Messages are translated; what asks for a TPM (since Vista) is not.
    } else if says(b"Invalid partition table") || says(b"TCPA") {
        BootCode::Windows
    } else {
        BootCode::Unknown
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_what_it_says() {
        let with = |parts: &[(usize, &[u8])]| {
            let mut sector = vec![0; 512];
            for (at, text) in parts {
                sector[*at..at + text.len()].copy_from_slice(text);
            }
            recognise(&sector)
        };
        let grub: (usize, &[u8]) = (0x180, b"GRUB \0Geom\0Hard Disk\0Read\0 Error\r\n");
        assert_eq!(with(&[]), BootCode::None);
        assert_eq!(
            with(&[(440, b"\x12\x34")]),
            BootCode::None,
            "a signature only"
        );
        assert_eq!(with(&[grub]), BootCode::Grub);
        assert_eq!(with(&[grub, (0x3e, &[3, 2])]), BootCode::GrubLegacy);
        assert_eq!(with(&[(6, b"LILO")]), BootCode::Lilo);
        let windows = b"Invalid partition table\0Error loading operating system";
        assert_eq!(with(&[(0x163, windows)]), BootCode::Windows);
        assert_eq!(with(&[(0, &[0xfa, 0xb8])]), BootCode::Unknown);
        assert_eq!(recognise(&[1; 100]), BootCode::None, "cut off");
    }
}
