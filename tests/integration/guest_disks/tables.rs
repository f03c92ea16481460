//! Partition tables, boot code and firmware.

use coriolis_ovm_exporter::guest;
use coriolis_ovm_exporter::protocol::{BootCode, DiskContents, Firmware, TableKind};

use super::images::{Image, MIB, bios, uefi};

fn assert_as_partx_says(image: &Image, found: &DiskContents) {
    let said = image.partx();
    assert!(!said.is_empty());
    let found: Vec<_> = found
        .partitions
        .iter()
        .map(|it| {
            (
                it.number,
                it.start,
                it.length,
                it.kind.clone(),
                it.name.clone().unwrap_or_default(),
            )
        })
        .collect();
    assert_eq!(found, said);
}

fn contents(found: &DiskContents) -> Vec<(u32, String)> {
    found
        .partitions
        .iter()
        .filter_map(|it| {
            let content = it.content.as_ref()?;
            let label = content.label.as_deref().unwrap_or("-");
            Some((it.number, format!("{} {label}", content.kind)))
        })
        .collect()
}

fn listed(expected: &[(u32, &str)]) -> Vec<(u32, String)> {
    expected
        .iter()
        .map(|(number, text)| (*number, (*text).to_owned()))
        .collect()
}

#[test]
fn a_disk_that_starts_by_uefi() {
    let image = uefi();
    let found = image.look();
    assert_eq!(found.notes, [""; 0]);
    assert_as_partx_says(&image, &found);
    assert_eq!(
        (found.table, found.boot_code),
        (TableKind::Gpt, BootCode::None)
    );
    assert_eq!(found.firmware, Some(Firmware::Uefi));
    assert_eq!(found.table_id.as_ref().unwrap(), &image.blkid()["PTUUID"]);
    assert_eq!(
        contents(&found),
        listed(&[(1, "vfat ESP"), (2, "ext4 root"), (3, "swap swap")])
    );
    assert_eq!(found.partitions[0].purpose.as_deref(), Some("EFI system"));
    assert_eq!(found.partitions[1].name.as_deref(), Some("root ü"));
    assert!(found.bytes_read < MIB, "{}", found.bytes_read);
}

#[test]
fn a_disk_that_starts_by_bios() {
    let image = bios();
    let found = image.look();
    assert_eq!(found.notes, [""; 0]);
    // partx counts the extended one as well.
    assert_as_partx_says(&image, &found);
    assert_eq!(
        (found.table, found.boot_code),
        (TableKind::Mbr, BootCode::Grub)
    );
    assert_eq!(found.firmware, Some(Firmware::Bios));
    assert_eq!(found.table_id.as_ref().unwrap(), &image.blkid()["PTUUID"]);
    let expected = [
        (1, "ext4 /boot"),
        (5, "swap swap"),
        (6, "ext3 data"),
        (7, "ntfs Daten"),
    ];
    assert_eq!(contents(&found), listed(&expected));
    assert!(found.partitions[0].bootable && !found.partitions[2].bootable);
}

#[test]
fn a_data_disk_tells_no_firmware() {
    let image = Image::made_by(64 * MIB, "sgdisk", &["-n1:0:0"]);
    let found = image.look();
    assert_as_partx_says(&image, &found);
    assert_eq!((found.firmware, found.boot_code), (None, BootCode::None));
    let empty = Image::made_by(64 * MIB, "sgdisk", &["-o"]).look();
    assert_eq!((empty.table, empty.partitions.len()), (TableKind::Gpt, 0));
    assert_eq!(empty.notes, [""; 0]);
}

#[test]
fn one_with_both_may_start_either_way() {
    let image = uefi();
    let boot = std::fs::read("/usr/lib/grub/i386-pc/boot.img").unwrap();
    image.write(0, &boot[..440]);
    let found = image.look();
    assert_eq!(
        (found.firmware, found.boot_code),
        (Some(Firmware::Bios), BootCode::Grub)
    );
    assert!(found.notes[0].contains("either way"), "{:?}", found.notes);
}

#[test]
fn the_same_uuid_twice_is_noticed_over_all_disks() {
    let image = bios();
    let (one, two) = (image.look(), uefi().look());
    assert_eq!(
        guest::doubles([("a", &one), ("b", &two)].into_iter()),
        [""; 0]
    );
    let said = guest::doubles([("a", &one), ("b", &one)].into_iter());
    assert_eq!(said.len(), 4, "{said:?}");
    let place = "partition 1 of a, partition 1 of b";
    assert!(said.iter().any(|it| it.contains(place)), "{said:?}");
}

#[test]
fn checks_fit_the_system() {
    let ids = |disks: &[&DiskContents]| -> Vec<String> {
        let checks = guest::checks::for_disks(disks.iter().copied());
        checks.into_iter().map(|check| check.id).collect()
    };
    let (linux, windows) = (
        uefi().look(),
        Image::made_by(32 * MIB, "mkfs.ntfs", &["-q", "-Q", "-F"]).look(),
    );
    let nothing = DiskContents::default();
    assert!(ids(&[&linux]).contains(&"fstab".to_owned()));
    assert!(!ids(&[&linux]).contains(&"bitlocker".to_owned()));
    assert!(!ids(&[&windows]).contains(&"fstab".to_owned()));
    for both in [ids(&[&linux, &windows]), ids(&[&nothing]), ids(&[])] {
        assert_eq!(both.len(), 15, "{both:?}");
    }
}
