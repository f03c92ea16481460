//! Where a replica's bytes go, on real devices and file systems.

mod devices;
mod files;
mod full;
pub mod ground;
mod same_bytes;

use std::io;
use std::path::Path;
use std::sync::Arc;

use coriolis_ovm_exporter::client::target::{self, Target, TargetOptions};

const MIB: u64 = 1 << 20;

fn open(path: &Path) -> io::Result<Arc<dyn Target>> {
    target::open(path, &TargetOptions::default())
}

/// The error, which has to say all of these.
fn error_with<T>(result: io::Result<T>, kind: io::ErrorKind, words: &[&str]) {
    let Err(error) = result else {
        panic!("it worked: no {kind}")
    };
    println!("{error}");
    assert_eq!(error.kind(), kind, "{error}");
    for word in words {
        assert!(error.to_string().contains(word), "no {word:?} in: {error}");
    }
}
