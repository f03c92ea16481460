//! What a machine's disks hold, read from a snapshot.

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use super::super::cli::command::Desk;
use super::super::guest_disks::images::{Image, MIB, bios, uefi};
use crate::support::api::{Api, text};
use crate::support::node::{Kind, TestNode};
use crate::support::silent::Silent;

fn put(image: &Image, disk: &std::path::Path) {
    let mut copy = Command::new("cp");
    copy.arg("--sparse=always").arg(image.path()).arg(disk);
    assert!(copy.status().unwrap().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_of_a_snapshot_never_of_the_live_disk() {
    let node = TestNode::new(&[Kind::Xfs]).await;
    let machine = node.machine(0, 1, &[256 * MIB, 16 * MIB]);
    let api = Api::of(&node).await;
    let path = format!("/vms/{}/report", machine.id);
    let (_, details) = api.get(&path).await.error(404);
    assert!(details.contains("take one first"), "{details}");
    assert!(
        details.contains(&format!("/vms/{}/snapshots", machine.id)),
        "{details}"
    );

    put(&uefi(), &machine.disks[0]);
    put(
        &Image::made_by(16 * MIB, "mkswap", &["-L", "swap"]),
        &machine.disks[1],
    );
    let first = api.snapshot(&machine.id).await;
    put(&bios(), &machine.disks[0]);
    let report = api.json(&path).await;
    assert_eq!(report["snapshot"], first["id"]);
    assert_eq!(
        (&report["firmware"], &report["disks"][0]["table"]),
        (&"uefi".into(), &"gpt".into())
    );
    assert_eq!(report["boot_disk"], report["disks"][0]["name"]);
    assert_eq!(
        report["disks"][0]["partitions"][1]["content"]["label"],
        "root"
    );
    assert_eq!(report["disks"][1]["content"]["kind"], "swap");
    for disk in report["disks"].as_array().unwrap() {
        assert!(disk["bytes_read"].as_u64().unwrap() <= 16 << 20, "{disk}");
    }
    let extents: u64 = report["disks"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it["extents"].as_u64().unwrap())
        .sum();
    assert_eq!(report["extents"], extents);
    assert!(
        extents > 0 && report["expected_stall_ms"].as_u64().unwrap() > 0,
        "{report}"
    );
    assert!(
        text(&report["stall_source"]).contains("microseconds an extent"),
        "{report}"
    );
    let ids: Vec<&str> = report["checks"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| text(&it["id"]))
        .collect();
    assert!(
        ids.contains(&"fstab") && !ids.contains(&"bitlocker"),
        "{ids:?}"
    );

    // The latest one, unless another is named.
    let second = api.snapshot(&machine.id).await;
    let report = api.json(&format!("{path}/")).await;
    assert_eq!(
        (&report["snapshot"], &report["firmware"]),
        (&second["id"], &"bios".into())
    );
    assert_eq!(report["disks"][0]["boot_code"], "grub");
    let of_first = format!("{path}?snapshot={}", text(&first["id"]));
    assert_eq!(api.json(&of_first).await["firmware"], "uefi");

    let other = node.machine(0, 2, &[MIB]);
    api.get(&format!(
        "/vms/{}/report?snapshot={}",
        other.id,
        text(&first["id"])
    ))
    .await
    .error(409);
    api.get(&format!("{path}?snapshot=nonsense"))
        .await
        .error(404);
    api.get("/vms/no-such/report").await.error(404);
    let refused = [("authorization", "")];
    assert_eq!(
        api.send(reqwest::Method::GET, &path, &refused).await.status,
        401
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_of_rubbish_is_reported_all_the_same() {
    let node = TestNode::new(&[Kind::Btrfs]).await;
    let machine = node.machine(0, 1, &[MIB, 3 * 512 + 1]);
    let seed: u64 = rand::random();
    println!("seed {seed}");
    let mut random = <rand::rngs::StdRng as rand::SeedableRng>::seed_from_u64(seed);
    let mut rubbish = vec![0; 1 << 20];
    rand::RngExt::fill(&mut random, &mut rubbish[..]);
    rubbish[510..512].copy_from_slice(&[0x55, 0xaa]);
    fs::write(&machine.disks[0], &rubbish).unwrap();
    fs::write(&machine.disks[1], &rubbish[..3 * 512 + 1]).unwrap();
    let api = Api::of(&node).await;
    api.snapshot(&machine.id).await;
    let report = api.json(&format!("/vms/{}/report", machine.id)).await;
    assert_eq!(report["disks"].as_array().unwrap().len(), 2);
    assert_eq!(
        report["checks"].as_array().unwrap().len(),
        15,
        "nothing tells the system: {report}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn storage_that_hangs_is_answered_in_time() {
    let limit = "[snapshots]\nstorage_timeout = \"1s\"\n";
    let node = TestNode::with_config(&[Kind::Xfs], limit).await;
    let machine = node.machine(0, 1, &[MIB, MIB]);
    let api = Api::of(&node).await;
    let snapshot = api.snapshot(&machine.id).await;
    let name = text(&snapshot["disks"][1]["name"]);
    let folder = node.repositories[0].path().join("CoriolisSnapshots");
    let silent = Silent::new(&folder.join(text(&snapshot["id"])).join(name));
    let path = format!("/vms/{}/report", machine.id);
    let begun = Instant::now();
    let answer = api.get(&path).await;
    assert!(
        begun.elapsed() < Duration::from_secs(20),
        "{:?}",
        begun.elapsed()
    );
    let (_, details) = answer.error(503);
    let what = format!("reading disk {name} of snapshot {}", text(&snapshot["id"]));
    for part in [&what, "within 1 s", "Nothing was changed"] {
        assert!(details.contains(part), "{part}: {details}");
    }
    assert!(!answer.header("retry-after").is_empty());
    drop(silent);
    assert_eq!(api.json(&path).await["snapshot"], snapshot["id"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_shows_it_as_a_table_and_as_json() {
    let desk = Desk::set().await;
    put(&bios(), &desk.machine.disks[0]);
    let failed = desk.run(&["report", &desk.machine.id]).failed();
    assert!(failed.contains("take one first"), "{failed}");
    let api = Api::of(&desk.node).await;
    let snapshot = api.snapshot(&desk.machine.id).await;
    let shown = desk.run(&["report", &desk.machine.id]).done();
    for part in [
        "bios",
        "MBR, GRUB",
        "ext4 \"/boot\"",
        "fstab:",
        text(&snapshot["id"]),
    ] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    let named = [
        "report",
        &desk.machine.id,
        "--snapshot",
        text(&snapshot["id"]),
        "-f",
        "json",
    ];
    let json = desk.run(&named).json();
    let mut fields = json.as_object().unwrap().iter();
    let disks = fields
        .find(|(key, _)| key.eq_ignore_ascii_case("disks"))
        .unwrap();
    assert_eq!(disks.1[0]["partitions"][0]["content"]["label"], "/boot");
}
