//! A manifest on a repository, where others can write too.

#![no_main]

use std::path::Path;

use coriolis_ovm_exporter::snapshots::manifest::{Manifest, State, VERSION};
use libfuzzer_sys::fuzz_target;
use uuid::Uuid;

/// The id in the seeds.
const ID: Uuid = Uuid::from_u128(0x6f1d_b1e6_40a5_4b0e_9c52_1f0a_7c3d_2e91);

fuzz_target!(|bytes: &[u8]| {
    let Ok(manifest) = Manifest::parse(bytes, ID) else {
        return;
    };
    assert_eq!(manifest.id, ID);
    assert!(manifest.version <= VERSION);
    let folder = Path::new("/repository/CoriolisSnapshots/id");
    for disk in &manifest.disks {
        let file = folder.join(&disk.name);
        assert_eq!(file.parent(), Some(folder), "{:?}", disk.name);
        assert_eq!(file.file_name(), Some(disk.name.as_ref()));
        assert_eq!(manifest.disk(&disk.name), Some(disk), "not the only one");
        assert!(manifest.state != State::Ready || disk.identity.is_some());
    }
    // What is written is what was read, and so is the tombstone beside it.
    for manifest in [manifest.deleting(), manifest] {
        let again = Manifest::parse(&manifest.to_bytes(), ID).expect("it was just written");
        assert_eq!(again, manifest);
    }
});
