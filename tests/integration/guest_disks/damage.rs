//! Disks that are damaged, or made to do harm: what can be told is told.

use coriolis_ovm_exporter::guest::MOST;
use coriolis_ovm_exporter::protocol::TableKind;

use super::images::{Image, MIB, bios, uefi};

#[test]
fn a_damaged_gpt_is_read_from_its_copy() {
    let good = uefi();
    let partitions = good.look().partitions;
    let table = good.read(1024, 512);
    for (what, at, bytes) in [
        ("its header is gone", 512, vec![0; 512]),
        ("a bit of the header", 512 + 56, vec![0xff; 1]),
        ("its checksum", 512 + 16, vec![0; 4]),
        (
            "entries of another size",
            512 + 84,
            0_u32.to_le_bytes().to_vec(),
        ),
        (
            "as many as can be",
            512 + 80,
            u32::MAX.to_le_bytes().to_vec(),
        ),
        ("a partition", 1024 + 32, vec![0xff; 16]),
        ("the table", 1024, vec![0; 512]),
    ] {
        let image = good.copy();
        image.write(at, &bytes);
        let found = image.look();
        assert_eq!(found.partitions, partitions, "{what}");
        assert!(
            found
                .notes
                .iter()
                .any(|note| note.contains("its copy at the end")),
            "{what}: {:?}",
            found.notes
        );
    }
    assert_ne!(table, vec![0; 512]);
}

#[test]
fn a_gpt_without_a_good_copy_is_told() {
    let image = uefi();
    image.write(512, &[0; 512]);
    image.write(image.size - 512, &[0; 512]);
    let found = image.look();
    assert_eq!((found.table, found.partitions.len()), (TableKind::Gpt, 0));
    assert!(
        found.notes[0].contains("neither it nor its copy"),
        "{:?}",
        found.notes
    );
}

#[test]
fn a_disk_that_was_cut_off_tells_what_is_left() {
    let (gpt, mbr) = (uefi(), bios());
    for keep in [1, 40, 66, 130] {
        let image = gpt.copy().resized(keep * MIB);
        let found = image.look();
        assert_eq!(found.table, TableKind::Gpt);
        assert!(
            found
                .notes
                .iter()
                .any(|note| note.contains("does not lie on the disk")),
            "{keep}: {:?}",
            found.notes
        );
        let whole = found
            .partitions
            .iter()
            .all(|it| it.start + it.length <= keep * MIB);
        assert!(
            whole && found.partitions.len() == usize::from(keep > 65),
            "{keep}: {found:?}"
        );

        let image = mbr.copy().resized(keep * MIB);
        let found = image.look();
        assert!(!found.notes.is_empty(), "{keep}: {found:?}");
    }
}

/// The sector of the first logical partition's table.
fn chain(image: &Image) -> u64 {
    image
        .look()
        .partitions
        .iter()
        .find(|it| it.number == 2)
        .unwrap()
        .start
}

#[test]
fn a_chain_of_logical_partitions_that_comes_back_ends() {
    let image = bios();
    let at = chain(&image);
    // The second entry: an extended one, at the chain's own beginning.
    let mut next = image.read(at + 446 + 16, 16);
    next[8..12].fill(0);
    image.write(at + 446 + 16, &next);
    let found = image.look();
    assert!(
        found.notes.iter().any(|note| note.contains("comes back")),
        "{:?}",
        found.notes
    );
    assert_eq!(
        found.partitions.len(),
        3,
        "two primary ones, and the first logical one"
    );
}

#[test]
fn a_chain_that_is_very_long_or_breaks_off_is_told() {
    let image = bios();
    let at = chain(&image);
    for link in 0..100_u32 {
        let mut sector = vec![0; 512];
        sector[510..].copy_from_slice(&[0x55, 0xaa]);
        for (entry, kind, start) in [(446, 0x83, 1), (462, 0x05, (link + 1) * 8)] {
            sector[entry + 4] = kind;
            sector[entry + 8..entry + 12].copy_from_slice(&u32::to_le_bytes(start));
            sector[entry + 12..entry + 16].copy_from_slice(&4_u32.to_le_bytes());
        }
        image.write(at + u64::from(link) * 8 * 512, &sector);
    }
    let found = image.look();
    assert!(
        found.notes.iter().any(|note| note.contains("more than 60")),
        "{:?}",
        found.notes
    );
    assert_eq!(found.partitions.len(), 62);
    image.write(at + 8 * 512, &[0; 512]);
    let found = image.look();
    assert!(
        found.notes.iter().any(|note| note.contains("breaks off")),
        "{:?}",
        found.notes
    );
    assert_eq!(found.partitions.len(), 3);
}

#[test]
fn a_disk_that_cannot_be_read_tells_so() {
    struct Broken(super::images::Reader);
    impl coriolis_ovm_exporter::guest::Source for Broken {
        fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> std::io::Result<()> {
            match offset {
                0..0x1_0000 => self.0.read_at(offset, buffer),
                _ => Err(std::io::Error::other("the disk is sick")),
            }
        }
    }
    let image = uefi();
    let found = coriolis_ovm_exporter::guest::look(&mut Broken(image.reader()), image.size);
    assert_eq!(found.partitions.len(), 4);
    assert!(found.partitions.iter().all(|it| it.content.is_none()));
    assert!(
        found
            .notes
            .iter()
            .any(|note| note.contains("the disk is sick")),
        "{:?}",
        found.notes
    );
    assert!(found.bytes_read <= MOST);
}
