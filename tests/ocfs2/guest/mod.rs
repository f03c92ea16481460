//! What runs in the machine, as root, with nothing but a kernel and busybox around.

mod aftermath;
mod clones;
pub mod differential;
mod disk;
mod estate;
pub mod exactness;
pub mod facts;
pub mod floor;
mod house;
mod life;
pub mod lifecycle;
mod mapped;
mod mapper;
mod membership;
mod mount;
mod moving;
mod network;
pub mod node;
pub mod past_end;
pub mod power;
pub mod refusals;
mod replica;
pub mod sick;
mod watch;
mod wire;
mod without_ficlone;

use std::fs;
use std::panic;
use std::path::Path;

use coriolis_ovm_exporter::operations::demo::guest::Random;

use crate::brief::{self, Brief};
use crate::scenario::Scenario;

pub fn run(scenario: &Scenario) {
    let brief: Brief = serde_json::from_slice(&fs::read(brief::FILE).unwrap()).unwrap();
    // A node says that by itself, with more.
    if brief.seat.is_none() {
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
        println!("Linux {}", kernel.trim());
    }
    (scenario.run)(&brief);
}

/// A thread that fails ends the others, which would wait for it.
fn fail_at_once() {
    let report = panic::take_hook();
    panic::set_hook(Box::new(move |what| {
        report(what);
        std::process::exit(101);
    }));
}

/// Every file system of the scenario, mounted one after the other.
fn on_each(brief: &Brief, work: impl Fn(&mut house::House, &brief::Disk)) {
    for disk in &brief.disks {
        let mut house = house::House::on(disk);
        println!(
            "{}, clusters of {} KiB:",
            house.mount.kind(),
            disk.cluster >> 10
        );
        work(&mut house, disk);
    }
}

/// The kernel's error number of a call that has to fail.
fn refused<T: std::fmt::Debug>(result: std::io::Result<T>) -> i32 {
    result.unwrap_err().raw_os_error().unwrap()
}

fn noise(random: &mut Random, length: u64) -> Vec<u8> {
    let mut bytes = vec![0; usize::try_from(length).unwrap()];
    random.fill(&mut bytes);
    bytes
}

/// Puts a file there, written out.
fn write(path: &Path, bytes: &[u8]) {
    fs::write(path, bytes).unwrap();
    fs::File::open(path).unwrap().sync_all().unwrap();
}
