//! Both calls that clone, and their refusals.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use coriolis_ovm_exporter::operations::demo::guest::Random;
use coriolis_ovm_exporter::sys::fiemap::ExtentReader;
use coriolis_ovm_exporter::sys::reflink::{self, CloneCall};

use super::house::House;
use super::noise;

const CALLS: [CloneCall; 2] = [CloneCall::Ficlone, CloneCall::Ocfs2Reflink];

fn clone(call: CloneCall, source: &Path, target: &Path) -> io::Result<File> {
    let file = File::open(source)?;
    let (clone, _) = reflink::prepare(call, &file, source, target)?
        .run()?
        .open()?;
    Ok(clone)
}

pub fn both_calls(house: &House) {
    for call in CALLS {
        shares_and_keeps(house, call);
        refuses(house, call);
    }
}

/// The clone lies where the source lies, has what was not yet written out, and stays as it is.
fn shares_and_keeps(house: &House, call: CloneCall) {
    let (source, target) = (house.disk("source"), house.disk("clone"));
    let mut bytes = noise(&mut Random::new(1), 3 << 20);
    fs::write(&source, &bytes).unwrap();
    let copy = clone(call, &source, &target).unwrap();
    let disk = File::options().write(true).open(&source).unwrap();
    assert_eq!(places(&copy), places(&File::open(&source).unwrap()));
    assert!(fs::read(&target).unwrap() == bytes, "{call:?}");
    let before = places(&copy);
    disk.write_all_at(&[9; 4096], 5 << 19).unwrap();
    disk.sync_all().unwrap();
    assert_eq!(places(&copy), before, "{call:?}: the clone's map stays");
    assert!(fs::read(&target).unwrap() == bytes, "{call:?}");
    bytes[5 << 19..(5 << 19) + 4096].fill(9);
    assert!(fs::read(&source).unwrap() == bytes, "{call:?}");
    fs::remove_file(&source).unwrap();
    fs::remove_file(&target).unwrap();
}

fn refuses(house: &House, call: CloneCall) {
    let (source, target) = (house.disk("source"), house.disk("there"));
    fs::write(&source, [7; 8192]).unwrap();
    fs::write(&target, b"mine").unwrap();
    let error = clone(call, &source, &target).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::AlreadyExists, "{call:?}");
    assert_eq!(fs::read(&target).unwrap(), b"mine");

    let elsewhere = Path::new("/tmp/clone");
    let error = clone(call, &source, elsewhere).unwrap_err();
    assert_eq!(
        error.kind(),
        io::ErrorKind::CrossesDevices,
        "{call:?}: {error}"
    );
    assert!(!elsewhere.exists());
    fs::remove_file(&source).unwrap();
    fs::remove_file(&target).unwrap();
}

/// Neither call works there, by an answer that means so, and nothing is left.
pub fn impossible(folder: &Path) {
    let (source, target) = (folder.join("source"), folder.join("clone"));
    fs::write(&source, [7; 8192]).unwrap();
    for call in CALLS {
        let error = clone(call, &source, &target).unwrap_err();
        assert!(reflink::is_wrong_call(&error), "{call:?}: {error}");
        assert!(!target.exists());
        println!("  {call:?}: {error}");
    }
    fs::remove_file(&source).unwrap();
}

fn places(file: &File) -> Vec<(u64, u64, u64)> {
    ExtentReader::new(file, 0)
        .map(Result::unwrap)
        .map(|extent| (extent.logical, extent.physical, extent.length))
        .collect()
}
