//! Block devices.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _, symlink};
use std::path::Path;

use coriolis_ovm_exporter::client::target::{self, BlockDevice, RawFile, Target, TargetOptions};

use super::super::comparison::house::{must, text};
use super::ground::{Loop, Mount};
use super::{MIB, error_with, open};

fn taken(image: &Path) -> u64 {
    fs::metadata(image).unwrap().blocks() * 512
}

#[test]
fn a_disk_goes_to_the_start_of_a_device_and_what_lies_behind_it_stays() {
    let folder = tempfile::tempdir().unwrap();
    let image = folder.path().join("image");
    fs::write(&image, vec![0xEE; 4 << 20]).unwrap();
    let device = Loop::of(&image, &[]);
    let link = folder.path().join("by-id");
    symlink(&device.device, &link).unwrap();
    let target = open(&link).unwrap();
    assert_eq!(target.size().unwrap(), 4 * MIB);
    assert!(target.readable() && !target.zeroed());
    assert_eq!(target.name(), text(&link));
    // Neither a whole sector nor a whole page.
    let disk = 3_000_001_u32;
    let end = usize::try_from(disk).unwrap();
    target.prepare(disk.into()).unwrap();
    target.zero(0, disk.into()).unwrap();
    target.write_at(5000, &[7; 1000]).unwrap();
    error_with(
        target.write_at(u64::from(disk) - 1, &[1, 1]),
        io::ErrorKind::InvalidInput,
        &["by-id", "3000000"],
    );
    error_with(
        target.zero(disk.into(), 1),
        io::ErrorKind::InvalidInput,
        &["by-id", "3000001"],
    );
    target.flush().unwrap();
    let mut bytes = vec![1; end];
    target.read_at(0, &mut bytes).unwrap();
    let held = fs::read(&image).unwrap();
    assert!(
        bytes == held[..end],
        "read back otherwise than it lies there"
    );
    assert!(held[5000..6000].iter().all(|byte| *byte == 7));
    bytes[5000..6000].fill(0);
    assert!(bytes.iter().all(|byte| *byte == 0));
    assert!(held[end..].iter().all(|byte| *byte == 0xEE));
}

#[test]
fn a_device_that_is_too_small_is_refused_with_both_sizes() {
    let folder = tempfile::tempdir().unwrap();
    let device = Loop::new(&folder.path().join("image"), MIB, &[]);
    let target = open(&device.device).unwrap();
    target.prepare(MIB).unwrap();
    error_with(
        target.prepare(MIB + 1),
        io::ErrorKind::InvalidInput,
        &[device.name(), "1048576", "1048577"],
    );
}

#[test]
fn a_mounted_device_is_refused_with_its_mount_point() {
    let folder = tempfile::tempdir().unwrap();
    let image = folder.path().join("image");
    let device = Loop::new(&image, 16 * MIB, &[]);
    must("mkfs.ext4", &["-q", device.name()]);
    let mount = Mount::new(&folder.path().join("mount"), &[device.name()]);
    let before = fs::read(&image).unwrap();
    error_with(
        open(&device.device),
        io::ErrorKind::ResourceBusy,
        &[device.name(), "mounted at", text(&mount.point)],
    );
    assert!(before == fs::read(&image).unwrap(), "it was written to");
    drop(mount);
    open(&device.device).unwrap();
}

#[test]
fn a_device_with_a_mounted_partition_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let device = Loop::new(&folder.path().join("image"), 16 * MIB, &["--partscan"]);
    // In sectors.
    must("addpart", &[device.name(), "1", "2048", "20480"]);
    let partition = format!("{}p1", device.name());
    must("mkfs.ext4", &["-q", &partition]);
    let mount = Mount::new(&folder.path().join("mount"), &[&partition]);
    error_with(
        open(&device.device),
        io::ErrorKind::ResourceBusy,
        &[device.name(), text(&mount.point)],
    );
    drop(mount);
    let target = open(partition.as_ref()).unwrap();
    assert_eq!(target.size().unwrap(), 10 * MIB);
    error_with(open(&device.device), io::ErrorKind::ResourceBusy, &[]);
    drop(target);
    must("delpart", &[device.name(), "1"]);
}

#[test]
fn two_runs_do_not_write_to_one_device() {
    let folder = tempfile::tempdir().unwrap();
    let device = Loop::new(&folder.path().join("image"), MIB, &[]);
    let first = open(&device.device).unwrap();
    error_with(
        open(&device.device),
        io::ErrorKind::ResourceBusy,
        &[device.name(), "another run"],
    );
    drop(first);
    open(&device.device).unwrap();
}

#[test]
fn a_device_that_takes_no_writes_is_refused_when_it_is_opened() {
    let folder = tempfile::tempdir().unwrap();
    let image = folder.path().join("image");
    let by_flag = Loop::new(&image, MIB, &["--read-only"]);
    let set = Loop::new(&folder.path().join("other"), MIB, &[]);
    must("blockdev", &["--setro", set.name()]);
    for device in [&by_flag, &set] {
        error_with(
            open(&device.device),
            io::ErrorKind::ReadOnlyFilesystem,
            &[device.name(), "read-only", "blockdev"],
        );
    }
    must("blockdev", &["--setrw", set.name()]);
    let target = open(&set.device).unwrap();
    // Somebody may do that while it is written.
    must("blockdev", &["--setro", set.name()]);
    error_with(
        target.write_at(4096, &[1; 512]),
        io::ErrorKind::PermissionDenied,
        &[set.name(), "4096", "blockdev"],
    );
    error_with(
        target.zero(8192, 4096),
        io::ErrorKind::PermissionDenied,
        &[set.name(), "8192", "blockdev"],
    );
}

#[test]
fn a_device_is_zero_only_if_that_is_declared_and_seems_to_be_so() {
    let folder = tempfile::tempdir().unwrap();
    let device = Loop::new(&folder.path().join("image"), 4 * MIB, &[]);
    let declared = TargetOptions {
        declared_zeroed: true,
        ..TargetOptions::default()
    };
    assert!(!open(&device.device).unwrap().zeroed());
    let target = target::open(&device.device, &declared).unwrap();
    assert!(target.zeroed());
    target.zero(0, MIB).unwrap();
    assert!(target.zeroed());
    target.write_at(4 * MIB - 1, &[1]).unwrap();
    assert!(!target.zeroed());
    target.flush().unwrap();
    drop(target);
    // The run broke off, and the next one says the same of the device.
    assert!(!target::open(&device.device, &declared).unwrap().zeroed());
}

#[test]
fn zeros_give_room_back_only_where_that_is_wanted() {
    let folder = tempfile::tempdir().unwrap();
    let image = folder.path().join("image");
    let device = Loop::new(&image, 8 * MIB, &[]);
    for discard in [false, true] {
        let options = TargetOptions {
            discard,
            ..TargetOptions::default()
        };
        let target = BlockDevice::open(&device.device, &options).unwrap();
        target.write_at(0, &[7; 8 << 20]).unwrap();
        target.flush().unwrap();
        assert!(taken(&image) >= 8 * MIB);
        target.zero(100, 8 * MIB - 200).unwrap();
        target.flush().unwrap();
        let held = fs::read(&image).unwrap();
        let (start, end) = (100, (8 << 20) - 100);
        assert!(held[start..end].iter().all(|byte| *byte == 0), "{discard}");
        assert!(held[..start].iter().all(|byte| *byte == 7), "{discard}");
        assert!(held[end..].iter().all(|byte| *byte == 7), "{discard}");
        if discard {
            assert!(taken(&image) < MIB, "{} bytes", taken(&image));
        } else {
            assert!(taken(&image) >= 8 * MIB, "{} bytes", taken(&image));
        }
    }
}

#[test]
fn zeros_that_are_not_written_out_yet_do_not_bring_back_what_was_there() {
    let folder = tempfile::tempdir().unwrap();
    let image = folder.path().join("image");
    let device = Loop::new(&image, MIB, &[]);
    let target = open(&device.device).unwrap();
    // Dirty pages around and below the stretch, then zeros, then more of the same pages.
    target.write_at(0, &[1; 1 << 20]).unwrap();
    target.zero(1000, 100_000).unwrap();
    target.write_at(900, &[2; 100]).unwrap();
    target.write_at(101_000, &[3; 100]).unwrap();
    target.flush().unwrap();
    drop(target);
    let held = fs::read(&image).unwrap();
    let expected = |at: usize| match at {
        900..1000 => 2,
        1000..101_000 => 0,
        101_000..101_100 => 3,
        _ => 1,
    };
    assert!((0..1 << 20).all(|at| held[at] == expected(at)));
}

#[test]
fn each_kind_is_opened_as_what_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let device = Loop::new(&folder.path().join("image"), MIB, &[]);
    let name = device.name();
    error_with(
        RawFile::open(&device.device),
        io::ErrorKind::InvalidInput,
        &[name, "block device"],
    );
    let file = folder.path().join("file");
    File::create(&file).unwrap().write_all_at(&[1], 0).unwrap();
    error_with(
        BlockDevice::open(&file, &TargetOptions::default()),
        io::ErrorKind::InvalidInput,
        &[text(&file), "no block device"],
    );
}
