//! The life of a snapshot, by command.

use serde_json::{Value, json};

use super::command::Desk;

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_is_taken_listed_shown_changed_and_deleted() {
    let desk = Desk::set().await;
    let vm = desk.machine.id.as_str();
    let create = [
        "snapshot",
        "create",
        vm,
        "--label",
        "the first",
        "--expires-in",
        "36h",
        "--idempotency-key",
        "k",
        "--consistency",
        "none",
        "-f",
        "json",
    ];
    let taken = desk.run(&create).json();
    let id = taken["Snapshot ID"].as_str().unwrap();
    assert_eq!(taken["VM ID"], json!(vm));
    assert_eq!(taken["Disks"].as_str().unwrap().lines().count(), 2);
    // The same request again is the same snapshot.
    assert_eq!(desk.run(&create).json()["Snapshot ID"], json!(id));

    // The one column that the first generation had, alone on its line.
    let listed = desk.run(&["snapshot", "list", vm, "-f", "value"]).done();
    assert_eq!(listed, format!("{id}\n"));
    let listed = desk.run(&["snapshot", "list", vm, "-f", "json"]).json();
    assert_eq!(listed[0]["Label"], "the first");
    for all in [&["snapshot", "list"][..], &["snapshot", "list", "--all"]] {
        let all = desk.run(&[all, &["-f", "json"]].concat()).json();
        assert_eq!(all[0]["Snapshot ID"], json!(id));
        assert_eq!(all[0]["VM ID"], json!(vm));
        assert_eq!(all[0]["State"], "ready");
    }
    for words in [&[vm, id][..], &[id]] {
        let show = [&["snapshot", "show", "-f", "json"], words].concat();
        let shown = desk.run(&show).json();
        assert_eq!(shown["Label"], "the first");
        assert_eq!(shown["Disk details"][0]["size"], json!(24 << 20));
    }

    let update = [
        "snapshot",
        "update",
        id,
        "--label",
        "another",
        "--no-expiry",
        "-f",
        "json",
    ];
    let changed = desk.run(&update).json();
    assert_eq!(changed["Label"], "another");
    assert_eq!(changed["Expires"], Value::Null);
    // What was not looked at is not said to be empty.
    let disk = &changed["Disk details"][0];
    assert_eq!(disk["size"], json!(24 << 20));
    assert_eq!(
        (&disk["data"], &disk["chunks"]),
        (&Value::Null, &Value::Null)
    );
    let change = [
        "snapshot",
        "change",
        vm,
        id,
        "--no-label",
        "--expires-in",
        "60",
        "-f",
        "json",
    ];
    let changed = desk.run(&change).json();
    assert_eq!(changed["Label"], Value::Null);
    assert!(changed["Expires"].is_string());

    for _ in 0..2 {
        assert_eq!(desk.run(&["snapshot", "delete", vm, id]).done(), "");
    }
    let (_, _) = (desk.snapshot(), desk.snapshot());
    assert_eq!(desk.run(&["snapshot", "purge", vm]).done(), "");
    assert_eq!(
        desk.run(&["snapshot", "list", vm, "-f", "json"]).json(),
        json!([])
    );
    assert_eq!(desk.node.snapshot_files(), Vec::<std::path::PathBuf>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn one_disk_of_several() {
    let desk = Desk::set().await;
    let name = desk.disk_names()[1].clone();
    let create = [
        "snapshot",
        "create",
        &desk.machine.id,
        "--disk",
        &name,
        "-f",
        "json",
    ];
    assert_eq!(desk.run(&create).json()["Disks"], json!(name));
}
