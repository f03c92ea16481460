//! The whole life of snapshots, over HTTPS: what an orchestrator does, and the end of it.

use std::fs;
use std::path::Path;

use coriolis_ovm_exporter::client::{Client, Trust};
use coriolis_ovm_exporter::operations::demo::guest::Random;
use coriolis_ovm_exporter::operations::demo::machines::Machine;
use coriolis_ovm_exporter::operations::demo::replication::{self, Report};

use crate::node;

/// Lists, snapshots, full copy, changes, copy of the changes, deletes, purges. `scratch` is where
/// the replica goes.
pub async fn whole(
    endpoint: &str,
    authority: &str,
    machine: &Machine,
    scratch: &Path,
    random: &mut Random,
) {
    let client = login(endpoint, authority).await;
    let known = client.vms().await.unwrap();
    let vm = known.iter().find(|vm| vm.id == machine.id).unwrap();
    assert!(vm.snapshot_compatible, "{vm:?}");

    let mut report = Report::new(0);
    fs::create_dir_all(scratch).unwrap();
    replication::replicate(&client, machine, scratch, random, &mut report)
        .await
        .unwrap();
    print!("{report}");
    assert!(report.identical());
    assert_eq!(report.disks.len(), machine.disks.len());
    // Of a small disk the guest may have discarded all.
    assert!(report.disks.iter().any(|disk| disk.delta_bytes > 0));
    for (disk, path) in report.disks.iter().zip(&machine.disks) {
        assert!(disk.full_bytes > 0, "{disk:?}");
        // Nothing was written since: the disk itself is what the replica has to be.
        assert!(fs::read(scratch.join(&disk.disk)).unwrap() == fs::read(path).unwrap());
    }

    for _ in 0..2 {
        client.create_snapshot(&machine.id).await.unwrap();
    }
    assert_eq!(client.snapshots(&machine.id).await.unwrap().len(), 2);
    purge(endpoint, authority, &client, machine).await;
    assert_eq!(client.snapshots(&machine.id).await.unwrap(), []);
    let left: Vec<_> = fs::read_dir(node::repository().join("CoriolisSnapshots"))
        .unwrap()
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

pub async fn login(endpoint: &str, authority: &str) -> Client {
    let trust = Trust::Authority(authority.as_bytes().to_vec());
    Client::login(endpoint, node::USER, node::PASSWORD, &trust)
        .await
        .unwrap()
}

/// Deletes all snapshots in one request, which our own client has no use for.
async fn purge(endpoint: &str, authority: &str, client: &Client, machine: &Machine) {
    let http = reqwest::Client::builder()
        .tls_certs_only([reqwest::Certificate::from_pem(authority.as_bytes()).unwrap()])
        .build()
        .unwrap();
    let answer = http
        .delete(format!("{endpoint}/api/v1/vms/{}/snapshots", machine.id))
        .bearer_auth(client.token())
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 200);
}
