//! Every answer that is not a plain success, row by row, from the real daemon.

mod entrance;
mod forms;
mod ids;
mod preconditions;
mod ranges;
mod refusals;

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;

use coriolis_ovm_exporter::operations::demo::guest::Random;
use coriolis_ovm_exporter::operations::demo::machines::Machine;
use serde_json::Value;

use super::support::api::{Api, text};
use super::support::node::{Kind, TestNode};

/// Fit to be used, and known to the tests that make tokens of their own.
pub const SECRET: &str = "0123456789 a secret that only tests know 0123456789";

/// A node with two machines: one with two snapshots, and one with one.
struct Scene {
    node: TestNode,
    api: Api,
    vm: Machine,
    other: Machine,
    first: Value,
    second: Value,
    others: Value,
}

impl Scene {
    async fn set() -> Scene {
        let config = format!("[jwt]\nsecret = {SECRET:?}\n");
        let node = TestNode::with_config(&[Kind::Xfs], &config).await;
        let (vm, other) = (node.machine(0, 1, &[1 << 20]), node.machine(0, 2, &[4096]));
        let api = Api::of(&node).await;
        let disk = File::options().write(true).open(&vm.disks[0]).unwrap();
        // 768 KiB of data, and a hole.
        let mut bytes = vec![0; 768 << 10];
        Random::new(1).fill(&mut bytes);
        disk.write_all_at(&bytes, 0).unwrap();
        let first = api.snapshot(&vm.id).await;
        disk.write_all_at(&[7; 4096], 256 << 10).unwrap();
        let second = api.snapshot(&vm.id).await;
        let others = api.snapshot(&other.id).await;
        Scene {
            node,
            api,
            vm,
            other,
            first,
            second,
            others,
        }
    }

    /// `/vms/…/snapshots/…` of a snapshot of the first machine.
    fn path(&self, snapshot: &Value) -> String {
        format!("/vms/{}/snapshots/{}", self.vm.id, text(&snapshot["id"]))
    }

    /// The path of its one disk.
    fn disk(&self, snapshot: &Value) -> String {
        let name = text(&snapshot["disks"][0]["name"]);
        format!("{}/disks/{name}", self.path(snapshot))
    }

    /// The same disk's bytes.
    fn bytes(&self, snapshot: &Value) -> Vec<u8> {
        std::fs::read(file_of(snapshot)).unwrap()
    }
}

/// The file of a snapshot's first disk.
fn file_of(snapshot: &Value) -> PathBuf {
    text(&snapshot["disks"][0]["path"]).into()
}
