//! What needs no root. On devices and other file systems: `tests/integration/targets`.

use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::Arc;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use tempfile::TempDir;

use super::*;

fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

fn open_path(path: &Path) -> io::Result<Arc<dyn Target>> {
    open(path, &TargetOptions::default())
}

fn error_of<T>(result: io::Result<T>) -> io::Error {
    match result {
        Ok(_) => panic!("it worked"),
        Err(error) => error,
    }
}

#[test]
fn a_file_is_created_for_its_owner_alone_and_is_zero_until_it_is_written() {
    let folder = folder();
    let path = folder.path().join("disk.img");
    let target = open_path(&path).unwrap();
    assert_eq!(
        fs::metadata(&path).unwrap().permissions().mode() & 0o777,
        0o600
    );
    assert_eq!(target.name(), path.display().to_string());
    target.prepare(100_000).unwrap();
    assert_eq!(target.size().unwrap(), 100_000);
    assert!(target.zeroed() && target.readable());
    target.zero(0, 100_000).unwrap();
    assert!(target.zeroed());
    target.write_at(99_999, &[7]).unwrap();
    assert!(!target.zeroed());
    target.flush().unwrap();
    drop(target);
    let again = open_path(&path).unwrap();
    assert!(!again.zeroed());
    let mut byte = [0];
    again.read_at(99_999, &mut byte).unwrap();
    assert_eq!(byte, [7]);
}

#[test]
fn what_was_cut_off_is_zero_when_it_grows_again() {
    let folder = folder();
    let path = folder.path().join("disk.img");
    fs::write(&path, vec![7; 100_000]).unwrap();
    let target = RawFile::open(&path).unwrap();
    target.prepare(50_001).unwrap();
    assert_eq!(target.size().unwrap(), 50_001);
    target.prepare(100_000).unwrap();
    let bytes = fs::read(&path).unwrap();
    assert_eq!(bytes.len(), 100_000);
    assert!(bytes[..50_001].iter().all(|byte| *byte == 7));
    assert!(bytes[50_001..].iter().all(|byte| *byte == 0));
}

#[test]
fn a_file_that_another_run_writes_is_refused_by_name() {
    let folder = folder();
    let path = folder.path().join("disk.img");
    let first = RawFile::open(&path).unwrap();
    let error = error_of(open_path(&path));
    assert_eq!(error.kind(), io::ErrorKind::ResourceBusy);
    assert!(
        error.to_string().starts_with(path.to_str().unwrap()),
        "{error}"
    );
    drop(first);
    open_path(&path).unwrap();
}

#[test]
fn only_files_and_devices_are_targets() {
    let folder = folder();
    let at = |name: &str| folder.path().join(name);
    nix::unistd::mkfifo(&at("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let _socket = UnixListener::bind(at("socket")).unwrap();
    symlink("/dev/null", at("null")).unwrap();
    for (path, what) in [
        (folder.path().to_owned(), "a directory"),
        (at("pipe"), "a pipe"),
        (at("socket"), "a socket"),
        (at("null"), "a character device"),
    ] {
        let error = error_of(open_path(&path));
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        assert!(error.to_string().contains(what), "{error}");
        assert!(
            error.to_string().contains(path.to_str().unwrap()),
            "{error}"
        );
    }
    let error = error_of(BlockDevice::open(&at("absent"), &TargetOptions::default()));
    assert!(error.to_string().contains("no block device"), "{error}");
    assert!(!at("absent").exists());
}

#[test]
fn a_link_leads_to_its_file_and_one_that_leads_nowhere_is_refused() {
    let folder = folder();
    let file = folder.path().join("disk.img");
    let link = folder.path().join("link");
    symlink(&file, &link).unwrap();
    let error = error_of(open_path(&link));
    assert!(error.to_string().contains("leads nowhere"), "{error}");
    assert!(!file.exists());
    fs::write(&file, [1; 10]).unwrap();
    let target = open_path(&link).unwrap();
    target.write_at(0, &[2; 10]).unwrap();
    target.flush().unwrap();
    assert_eq!(fs::read(&file).unwrap(), [2; 10]);
}

#[test]
fn a_device_that_is_gone_does_not_become_a_file() {
    let path = Path::new("/dev/no-such-device-of-a-replica");
    for path in [path, Path::new("/dev/../dev/no-such-device-of-a-replica")] {
        let error = error_of(open_path(path));
        assert!(error.to_string().contains("no such device"), "{error}");
    }
    assert!(!path.exists());
}

#[test]
fn a_directory_that_is_missing_is_named() {
    let folder = folder();
    let path = folder.path().join("absent/disk.img");
    let error = error_of(open_path(&path));
    assert_eq!(error.kind(), io::ErrorKind::NotFound);
    let text = error.to_string();
    assert!(
        text.contains("absent/disk.img") && text.contains("make the directory"),
        "{text}"
    );
}

#[test]
fn a_disk_larger_than_any_file_is_refused_in_words() {
    let folder = folder();
    let file = RawFile::open(&folder.path().join("disk.img")).unwrap();
    let error = error_of(file.prepare(u64::MAX));
    assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    let text = error.to_string();
    assert!(
        text.contains("disk.img") && text.contains("no file can have more"),
        "{text}"
    );
}

#[test]
fn nothing_is_written_behind_the_disk() {
    let folder = folder();
    let path = folder.path().join("disk.img");
    let file = RawFile::open(&path).unwrap();
    let memory = Memory::default();
    for target in [&file as &dyn Target, &memory] {
        let name = target.name();
        assert!(target.write_at(0, &[1]).is_err(), "{name} is not prepared");
        target.prepare(4096).unwrap();
        for error in [
            error_of(target.write_at(4095, &[1, 1])),
            error_of(target.write_at(u64::MAX, &[1, 1])),
            error_of(target.zero(1, 4096)),
            error_of(target.zero(u64::MAX, u64::MAX)),
            error_of(target.read_at(4096, &mut [0])),
        ] {
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
            assert!(error.to_string().starts_with(&name), "{error}");
        }
        target.write_at(4096, &[]).unwrap();
        target.zero(4096, 0).unwrap();
        assert_eq!(target.size().unwrap(), 4096);
    }
    assert_eq!(fs::read(&path).unwrap(), [0; 4096]);
    assert_eq!(memory.bytes(), [0; 4096]);
}

#[test]
fn a_file_that_is_removed_meanwhile_is_no_replica() {
    let folder = folder();
    let path = folder.path().join("disk.img");
    let target = RawFile::open(&path).unwrap();
    target.prepare(10).unwrap();
    target.flush().unwrap();
    fs::remove_file(&path).unwrap();
    let text = error_of(target.flush()).to_string();
    assert!(
        text.starts_with(path.to_str().unwrap()) && text.contains("removed"),
        "{text}"
    );

    let target = RawFile::open(&path).unwrap();
    fs::write(folder.path().join("other"), [1]).unwrap();
    fs::rename(folder.path().join("other"), &path).unwrap();
    assert!(
        error_of(target.flush())
            .to_string()
            .contains("put in its place")
    );
    assert!(target.flush().is_err());
}

#[test]
fn a_file_that_is_cut_meanwhile_is_no_replica() {
    let folder = folder();
    for length in [9, 11] {
        let path = folder.path().join("disk.img");
        let target = RawFile::open(&path).unwrap();
        target.prepare(10).unwrap();
        target.flush().unwrap();
        fs::File::options()
            .write(true)
            .open(&path)
            .unwrap()
            .set_len(length)
            .unwrap();
        let text = error_of(target.flush()).to_string();
        assert!(text.contains("somebody has changed its length"), "{text}");
    }
}

#[test]
fn memory_is_zero_only_if_it_was_made_here() {
    let memory = Memory::default();
    memory.prepare(10).unwrap();
    assert!(memory.zeroed());
    memory.write_at(0, &[1]).unwrap();
    assert!(!memory.zeroed());
    let memory = Memory::from(vec![0; 10]);
    assert!(!memory.zeroed());
    memory.prepare(5).unwrap();
    memory.prepare(6).unwrap();
    assert_eq!(memory.bytes(), [0; 6]);
}

/// What somebody else may write who needs nothing but the required methods.
struct WriteOnly;

impl Target for WriteOnly {
    fn size(&self) -> io::Result<u64> {
        Ok(10)
    }
    fn write_at(&self, _: u64, _: &[u8]) -> io::Result<()> {
        Ok(())
    }
    fn zero(&self, _: u64, _: u64) -> io::Result<()> {
        Ok(())
    }
    fn flush(&self) -> io::Result<()> {
        Ok(())
    }
    fn name(&self) -> String {
        "tape".to_owned()
    }
}

#[test]
fn what_a_target_need_not_have() {
    WriteOnly.prepare(10).unwrap();
    let text = error_of(WriteOnly.prepare(11)).to_string();
    assert!(
        text.contains("tape") && text.contains("10") && text.contains("11"),
        "{text}"
    );
    let error = error_of(WriteOnly.read_at(0, &mut [0]));
    assert_eq!(error.kind(), io::ErrorKind::Unsupported);
    assert!(!WriteOnly.readable() && !WriteOnly.zeroed());
}

#[test]
fn any_writes_and_zeros_give_the_same_bytes_in_a_file_as_in_memory() {
    let seed: u64 = rand::random();
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let folder = folder();
    let path = folder.path().join("disk.img");
    let file = RawFile::open(&path).unwrap();
    let memory = Memory::default();
    let size: u64 = 300_001;
    for target in [&file as &dyn Target, &memory] {
        target.prepare(size).unwrap();
    }
    for _ in 0..200 {
        let offset = random.random_range(0..size);
        let length = random.random_range(0..(size - offset).min(50_000) + 1);
        let bytes = vec![random.random(); usize::try_from(length).unwrap()];
        let is_zero = random.random_bool(0.4);
        for target in [&file as &dyn Target, &memory] {
            if is_zero {
                target.zero(offset, length).unwrap();
            } else {
                target.write_at(offset, &bytes).unwrap();
            }
        }
    }
    file.flush().unwrap();
    assert!(fs::read(&path).unwrap() == memory.bytes(), "seed {seed}");
    file.zero(0, size).unwrap();
    file.flush().unwrap();
    // The block with its end stays, and what the file system keeps books in.
    let taken = fs::metadata(&path).unwrap().blocks() * 512;
    assert!(taken <= 16_384, "{taken} bytes are taken by holes");
}
