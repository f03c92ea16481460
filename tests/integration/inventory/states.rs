//! What a machine does now, as a stand-in `xm` says.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use coriolis_ovm_exporter::client::Client;
use coriolis_ovm_exporter::protocol::VmState::{self, Off, Paused, Running, Unknown};

use super::some_has;
use crate::support::node::{Kind, TestNode};

const HEADER: &str = "Name                                        ID   Mem VCPUs      State   Time(s)\n\
     Domain-0                                     0   834     4     r-----   9301.7\n";

/// A node whose `toolstack` is a script that does not exist yet.
async fn node_with_xm() -> (TestNode, PathBuf) {
    let mut node = TestNode::prepare(&[Kind::Xfs], "").await;
    let xm = node.path("xm");
    node.configure(&format!("toolstack = {:?}\n", xm.display().to_string()));
    node.start();
    (node, xm)
}

/// Writes the script anew. A new file each time: one that runs cannot be written to.
fn write_xm(xm: &PathBuf, body: &str) {
    let new = xm.with_extension("new");
    fs::write(&new, format!("#!/bin/sh\n{body}\n")).unwrap();
    fs::set_permissions(&new, fs::Permissions::from_mode(0o755)).unwrap();
    fs::rename(&new, xm).unwrap();
}

fn prints(rows: &str) -> String {
    format!("[ \"$*\" = list ] || exit 9\ncat <<'END'\n{HEADER}{rows}END")
}

async fn state(client: &Client, id: &str) -> (VmState, Option<bool>) {
    let shown = client.vm(id).await.unwrap();
    let vms = client.vms().await.unwrap();
    assert_eq!(super::named(&vms, id), &shown);
    (shown.state, shown.on_this_node)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_state_is_what_xm_says() {
    let (node, xm) = node_with_xm().await;
    let id = node.machine(0, 1, &[1 << 20]).id;
    let client = node.client().await;

    // Not there at all.
    assert_eq!(state(&client, &id).await, (Unknown, None));
    let warnings = client.node().await.unwrap().warnings;
    let path = xm.display().to_string();
    assert!(some_has(&warnings, &[&path]), "{warnings:#?}");

    for (row, expected) in [
        (
            format!("{id}  3  2048  2  -b----  120.4\n"),
            (Running, Some(true)),
        ),
        (
            format!("{id}  3  2048  2  r-----  120.4\n"),
            (Running, Some(true)),
        ),
        (
            format!("{id}  3  2048  2  ------  120.4\n"),
            (Running, Some(true)),
        ),
        (
            format!("{id}  3  2048  2  --p---  120.4\n"),
            (Paused, Some(true)),
        ),
        (
            format!("{id}  3  2048  2  ---s--  120.4\n"),
            (Off, Some(true)),
        ),
        (
            format!("{id}  3  2048  2  ----c-  120.4\n"),
            (Off, Some(true)),
        ),
        (
            format!("{id}     2048  2           120.4\n"),
            (Off, Some(false)),
        ),
        (String::new(), (Off, Some(false))),
        (
            format!("{id}0  3  2048  2  r-----  120.4\n"),
            (Off, Some(false)),
        ),
        (
            format!("migrating-{id}  3  2048  2  -b----  120.4\n"),
            (Unknown, None),
        ),
        (
            format!("{id}--incoming  3  2048  2  --p---  120.4\n"),
            (Unknown, None),
        ),
    ] {
        write_xm(&xm, &prints(&row));
        assert_eq!(state(&client, &id).await, expected, "{row}");
        let warnings = client.node().await.unwrap().warnings;
        assert!(warnings.is_empty(), "{row}: {warnings:#?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_xm_that_fails_or_hangs_leaves_states_unknown_and_nothing_else() {
    let (node, xm) = node_with_xm().await;
    let machine = node.machine(0, 1, &[1 << 20]);
    let client = node.client().await;
    write_xm(&xm, "echo 'Error: no xend' >&2; exit 1");
    assert_eq!(state(&client, &machine.id).await, (Unknown, None));
    let warnings = client.node().await.unwrap().warnings;
    assert!(some_has(&warnings, &["no xend"]), "{warnings:#?}");

    let mark = node.path("hanging");
    write_xm(
        &xm,
        &format!("echo $$ > {}\nsleep 1000 &\nsleep 1000", mark.display()),
    );
    let begun = Instant::now();
    let vm = client.vm(&machine.id).await.unwrap();
    assert!(
        begun.elapsed() < Duration::from_secs(10),
        "{:?}",
        begun.elapsed()
    );
    assert_eq!((vm.state, vm.on_this_node), (Unknown, None));
    assert!(vm.snapshot_compatible);
    assert_eq!(vm.disks.len(), 2);
    // What hung is gone, and so is what it started.
    let group = fs::read_to_string(&mark).unwrap();
    crate::support::wait::until("the hanging xm is gone", || {
        let group = nix::unistd::Pid::from_raw(group.trim().parse().unwrap());
        nix::sys::signal::killpg(group, None).is_err()
    });
    // A snapshot needs no toolstack.
    write_xm(&xm, "sleep 1000");
    let begun = Instant::now();
    client.create_snapshot(&machine.id).await.unwrap();
    assert!(
        begun.elapsed() < Duration::from_secs(4),
        "{:?}",
        begun.elapsed()
    );
}
