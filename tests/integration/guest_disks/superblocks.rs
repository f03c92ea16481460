//! Kinds, UUIDs and labels, as blkid says them.

use coriolis_ovm_exporter::protocol::{BootCode, TableKind};

use super::images::{Image, MIB};

/// What blkid calls a kind.
fn kind(found: &str) -> &str {
    match found {
        "luks1" | "luks2" => "crypto_LUKS",
        "lvm2" => "LVM2_member",
        "linux-raid" => "linux_raid_member",
        "oracle-asm" => "oracleasm",
        other => other,
    }
}

fn assert_as_blkid_says(image: &Image, what: &str) {
    let contents = image.look();
    let said = image.blkid();
    let found = contents
        .content
        .unwrap_or_else(|| panic!("{what}: nothing; blkid: {said:?}"));
    assert_eq!(kind(&found.kind), said["TYPE"], "{what}");
    assert_eq!(found.uuid.as_ref(), said.get("UUID"), "{what}");
    assert_eq!(found.label.as_ref(), said.get("LABEL"), "{what}");
    assert_eq!(
        (contents.table, contents.boot_code),
        (TableKind::None, BootCode::None),
        "{what}"
    );
    assert_eq!(contents.notes, [""; 0], "{what}");
    assert!(
        contents.bytes_read < 128 << 10,
        "{what}: {}",
        contents.bytes_read
    );
}

#[test]
fn file_systems_and_swap() {
    let made: [(&str, &[&str], u64); 19] = [
        ("mkfs.ext2", &["-q", "-F", "-L", "boot"], 16),
        ("mkfs.ext3", &["-q", "-F", "-L", "sixteen-letters-"], 16),
        ("mkfs.ext4", &["-q", "-F"], 16),
        (
            "mkfs.ext4",
            &["-q", "-F", "-O", "^64bit,^metadata_csum", "-L", "a b"],
            16,
        ),
        ("mkfs.ext4", &["-q", "-F", "-b", "4096", "-O", "64bit"], 64),
        ("mkfs.ext4", &["-q", "-F", "-O", "journal_dev"], 16),
        ("mkfs.xfs", &["-q", "-f", "-L", "twelve-lette"], 320),
        (
            "mkfs.xfs",
            &[
                "-q",
                "-f",
                "-b",
                "size=1024",
                "-m",
                "crc=0,finobt=0,reflink=0",
            ],
            320,
        ),
        ("mkfs.btrfs", &["-q", "-L", "B-tree ü"], 128),
        ("mkfs.btrfs", &["-q"], 128),
        ("mkfs.vfat", &["-F", "12", "-n", "FLOPPY"], 4),
        ("mkfs.vfat", &["-F", "16", "-n", "SIXTEEN"], 32),
        ("mkfs.vfat", &["-F", "32"], 64),
        (
            "mkfs.ntfs",
            &["-q", "-Q", "-F", "-L", "Größe und Preis"],
            32,
        ),
        ("mkfs.ntfs", &["-q", "-Q", "-F", "-c", "65536"], 64),
        ("mkswap", &["-L", "swap"], 16),
        ("mkswap", &["-p", "65536"], 16),
        ("mkswap", &["-p", "16384", "-L", "sixteen"], 16),
        ("mkswap", &[], 1),
    ];
    for (program, arguments, size) in made {
        let image = Image::made_by(size * MIB, program, arguments);
        assert_as_blkid_says(&image, &format!("{program} {arguments:?}"));
    }
}

#[test]
fn sizes_are_those_that_the_superblock_says() {
    let made: [(&str, &[&str], u64); 5] = [
        ("mkfs.ext4", &["-q", "-F"], 16),
        ("mkfs.xfs", &["-q", "-f"], 320),
        ("mkfs.btrfs", &["-q"], 128),
        ("mkfs.vfat", &["-F", "32"], 64),
        ("mkswap", &[], 16),
    ];
    for (program, arguments, size) in made {
        let image = Image::made_by(size * MIB, program, arguments);
        // A larger disk than the file system on it.
        let size = size * MIB;
        let image = image.resized(2 * size);
        let found = image.look().content.unwrap().size.unwrap();
        assert!(
            (size - (1 << 16)..=size).contains(&found),
            "{program}: {found} of {size}"
        );
    }
}

#[test]
fn encrypted_ones() {
    for (version, more) in [("luks1", &[][..]), ("luks2", &["--label", "secret"])] {
        let key = Image::new(4096);
        let key_file = key.path();
        let mut arguments = vec![
            "luksFormat",
            "-q",
            "--type",
            version,
            "--pbkdf",
            "pbkdf2",
            "--pbkdf-force-iterations",
            "1000",
            "--key-file",
            key_file.to_str().unwrap(),
        ];
        arguments.extend(more);
        let image = Image::made_by(32 * MIB, "cryptsetup", &arguments);
        assert_as_blkid_says(&image, version);
        assert_eq!(image.look().content.unwrap().kind, version);
    }
}

#[test]
fn members_of_a_raid_and_disks_of_asm() {
    // No tool makes these without the kernel's help: by their documented layout, and blkid agrees.
    let mut block = vec![0; 4096];
    block[..4].copy_from_slice(&0xa92b_4efc_u32.to_le_bytes());
    block[4] = 1;
    block[16..32].copy_from_slice(&[7; 16]);
    block[32..38].copy_from_slice(b"node:0");
    let size = 16 * MIB;
    for (at, version) in [(0, "1.1"), (4096, "1.2"), (size - 8192, "1.0")] {
        let image = Image::new(size);
        block[128..136].copy_from_slice(&1_u64.to_le_bytes());
        block[144..152].copy_from_slice(&(at / 512).to_le_bytes());
        image.write(at, &sealed(&block));
        assert_eq!(image.blkid()["VERSION"], version);
        assert_as_blkid_says(&image, version);
    }
    let mut old = vec![0; 4096];
    for (word, value) in [
        (0, 0xa92b_4efc),
        (1, 0),
        (2, 90),
        (5, 0x1234_5678),
        (13, 1),
        (14, 2),
        (15, 3_u32),
    ] {
        old[4 * word..4 * word + 4].copy_from_slice(&value.to_le_bytes());
    }
    let image = Image::new(size);
    image.write(size - (64 << 10), &old);
    let found = image.look().content.unwrap();
    assert_eq!(found.kind, "linux-raid");
    assert_eq!(found.uuid.as_ref(), image.blkid().get("UUID"), "0.90");

    let image = Image::new(size);
    image.write(32, b"ORCLDISKDATA01");
    assert_as_blkid_says(&image, "asm");
}

/// With the checksum that md writes, which adds up words.
fn sealed(block: &[u8]) -> Vec<u8> {
    let mut block = block.to_vec();
    block[216..220].fill(0);
    let words = block[..256].chunks_exact(4);
    let sum: u64 = words
        .map(|word| u64::from(u32::from_le_bytes(word.try_into().unwrap())))
        .sum();
    let sum = u32::try_from((sum & 0xffff_ffff) + (sum >> 32)).unwrap();
    block[216..220].copy_from_slice(&sum.to_le_bytes());
    block
}

#[test]
fn nothing_is_nothing() {
    for size in [0, 1, 511, 512, 4095, 4096, MIB] {
        let contents = Image::new(size).look();
        assert_eq!(contents.content, None, "{size}");
        assert_eq!(contents.table, TableKind::None, "{size}");
        assert_eq!(
            (contents.firmware, contents.partitions.len()),
            (None, 0),
            "{size}"
        );
    }
}
