//! What cannot be done with machines and snapshots that are there.

use std::process::Command;

use reqwest::Method;

use super::{Scene, file_of};
use crate::support::api::{Api, text};
use crate::support::disk;
use crate::support::node::{Kind, TestNode};

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_that_cannot_be_snapshotted_is_a_bad_request_that_names_the_disk() {
    let node = TestNode::new(&[Kind::Xfs, Kind::Ext4]).await;
    let api = Api::of(&node).await;
    let good = node.machine(0, 1, &[4096]);
    let good_disk = good.disks[0].display();
    let unclonable = node.machine(1, 2, &[4096]);
    for (vm, disks, named) in [
        ("lun", "'phy:/dev/mapper/3600a0b80,xvdb,w!'", "xvdb"),
        (
            "gone",
            "'file:/nowhere/gone.img,xvdc,w'",
            "/nowhere/gone.img",
        ),
        ("odd", "'whatever'", "whatever"),
    ] {
        let text = format!("name = '{vm}'\ndisk = ['file:{good_disk},xvda,w', {disks}]\n");
        node.vm_cfg(0, vm, &text);
        let path = format!("/vms/{vm}/snapshots");
        let (error, details) = api.send(Method::POST, &path, &[]).await.error(400);
        assert_eq!(error, "Bad Request");
        assert!(details.contains(named), "{details}");
        assert_eq!(
            api.json(&format!("/vms/{vm}")).await["snapshot_compatible"],
            false
        );
    }
    let path = format!("/vms/{}/snapshots", unclonable.id);
    let (_, details) = api.send(Method::POST, &path, &[]).await.error(400);
    assert!(
        details.contains("xvda") && details.contains("does not clone"),
        "{details}"
    );
    node.vm_cfg(0, "diskless", "name = 'diskless'\ndisk = []\n");
    let path = "/vms/diskless/snapshots";
    api.send(Method::POST, path, &[]).await.error(400);
    assert!(
        node.snapshot_files().is_empty(),
        "{:?}",
        node.snapshot_files()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_base_that_is_not_older_is_a_bad_request() {
    let scene = Scene::set().await;
    for (snapshot, base) in [
        (&scene.first, &scene.second),
        (&scene.first, &scene.first),
        (&scene.second, &scene.second),
    ] {
        let path = format!("{}?compareTo={}", scene.path(snapshot), text(&base["id"]));
        let (error, details) = scene.api.get(&path).await.error(400);
        assert_eq!(error, "Bad Request");
        assert!(details.contains(text(&base["id"])), "{details}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_belongs_to_another_machine_is_a_conflict() {
    let scene = Scene::set().await;
    let (api, other) = (&scene.api, &scene.other.id);
    let foreign = text(&scene.others["id"]);
    let path = format!("/vms/{}/snapshots/{foreign}", scene.vm.id);
    let disk = format!("{path}/disks/{}", text(&scene.others["disks"][0]["name"]));
    let with_base = format!("{}?compareTo={foreign}", scene.path(&scene.second));
    let other_way = format!(
        "/vms/{other}/snapshots/{foreign}?compareTo={}",
        text(&scene.first["id"])
    );
    for answer in [
        api.get(&path).await,
        api.get(&disk).await,
        api.get(&with_base).await,
        api.get(&other_way).await,
        api.delete(&path).await,
    ] {
        let (error, details) = answer.error(409);
        assert_eq!(error, "Conflict");
        assert!(details.contains("belongs to VM"), "{details}");
    }
    assert_eq!(api.head(&disk).await.status, 409);
    assert_eq!(api.head(&path).await.status, 409);
    // It is still there.
    api.json(&format!("/vms/{other}/snapshots/{foreign}")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_base_that_is_gone_is_not_found() {
    let scene = Scene::set().await;
    let base = text(&scene.first["id"]);
    let deleted = scene.api.delete(&scene.path(&scene.first)).await;
    assert_eq!(deleted.status, 200);
    for base in [base, "00000000-0000-4000-8000-000000000000", "nonsense"] {
        let path = format!("{}?compareTo={base}", scene.path(&scene.second));
        let (error, details) = scene.api.get(&path).await.error(404);
        assert_eq!(error, "Not Found");
        assert!(
            details.contains("base") && details.contains(base),
            "{details}"
        );
    }
}

fn run(command: &str, arguments: &[&std::path::Path]) {
    let (program, flags) = command.split_once(' ').unwrap_or((command, ""));
    let status = Command::new(program)
        .args(flags.split_whitespace())
        .args(arguments)
        .status()
        .unwrap();
    assert!(status.success(), "{command} {arguments:?}");
}

/// A file that root has put in the place of a sealed one may hold anything, also where its bytes
/// are the same today.
#[tokio::test(flavor = "multi_thread")]
async fn a_base_replaced_by_hand_is_a_conflict() {
    let scene = Scene::set().await;
    let file = file_of(&scene.first);
    let copy = file.with_extension("copy");
    run("chattr -i", &[&file]);
    run("cp -p", &[&file, &copy]);
    run("mv", &[&copy, &file]);
    let with_base = format!(
        "{}?compareTo={}",
        scene.path(&scene.second),
        text(&scene.first["id"])
    );
    for path in [
        with_base,
        scene.path(&scene.first),
        scene.disk(&scene.first),
    ] {
        let (error, details) = scene.api.get(&path).await.error(409);
        assert_eq!(error, "Conflict");
        assert!(
            details.contains("sealed") && details.contains(text(&scene.first["id"])),
            "{details}"
        );
    }
    // The other one is as good as before, and the bad one can be deleted.
    scene.api.json(&scene.path(&scene.second)).await;
    let deleted = scene.api.delete(&scene.path(&scene.first)).await;
    assert_eq!(deleted.status, 200, "{deleted:?}");
    scene.api.get(&scene.path(&scene.first)).await.error(404);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_file_that_was_written_to_is_a_conflict() {
    let scene = Scene::set().await;
    let file = file_of(&scene.first);
    run("chattr -i", &[&file]);
    disk::write(&file, 4096, b"x");
    let with_base = format!(
        "{}?compareTo={}",
        scene.path(&scene.second),
        text(&scene.first["id"])
    );
    scene.api.get(&with_base).await.error(409);
    scene.api.get(&scene.disk(&scene.first)).await.error(409);
}

#[tokio::test(flavor = "multi_thread")]
async fn too_little_free_space_refuses_a_snapshot() {
    let config = "[snapshots]\nmin_free = \"100%\"\n";
    let node = TestNode::with_config(&[Kind::Xfs], config).await;
    let vm = node.machine(0, 1, &[4096]);
    let api = Api::of(&node).await;
    let path = format!("/vms/{}/snapshots", vm.id);
    let (error, details) = api.send(Method::POST, &path, &[]).await.error(507);
    assert_eq!(error, "Insufficient Storage");
    assert!(details.contains("min_free"), "{details}");
    assert!(
        node.snapshot_files().is_empty(),
        "{:?}",
        node.snapshot_files()
    );
    assert_eq!(api.json(&path).await, serde_json::json!([]));
}
