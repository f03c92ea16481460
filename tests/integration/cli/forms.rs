//! Tables and the other forms: those who read them since the first generation find what they did.

use serde_json::json;

use super::command::Desk;

#[tokio::test(flavor = "multi_thread")]
async fn machines_in_every_form() {
    let desk = Desk::set().await;
    let id = desk.machine.id.clone();
    let snapshot = desk.snapshot();

    let table = desk.run(&["vms", "list"]).done();
    let lines: Vec<&str> = table.lines().collect();
    assert!(
        lines[0].starts_with("+----") && lines[0].ends_with("-+"),
        "{table}"
    );
    let cells: Vec<&str> = lines[1].split('|').map(str::trim).collect();
    assert_eq!(cells[1..4], ["ID", "Friendly Name", "Snapshots"], "{table}");
    let cells: Vec<&str> = lines[3].split('|').map(str::trim).collect();
    assert_eq!(cells[1..4], [&id, "machine 1", &snapshot], "{table}");

    let list = desk.run(&["vms", "list", "-f", "json"]).json();
    assert_eq!(list.as_array().unwrap().len(), 1);
    assert_eq!(list[0]["ID"], json!(id));
    assert_eq!(list[0]["Friendly Name"], "machine 1");
    assert_eq!(list[0]["Snapshots"], json!(snapshot));
    assert_eq!(list[0]["Compatible"], true);
    // Programs that split lines see the columns that they know.
    assert_eq!(
        desk.run(&["vms", "list", "-f", "value"]).done(),
        format!("{id} machine 1 {snapshot}\n")
    );
    assert_eq!(
        desk.run(&[
            "vms",
            "list",
            "-f",
            "csv",
            "-c",
            "id",
            "-c",
            "friendly_name"
        ])
        .done(),
        format!("\"ID\",\"Friendly Name\"\n\"{id}\",\"machine 1\"\n")
    );
    let shown = desk.run(&["vms", "show", &id, "-f", "json"]).json();
    let names: Vec<&str> = shown["Disks"].as_str().unwrap().lines().collect();
    assert_eq!(names.len(), 3, "two disks and a CD: {shown}");
    assert_eq!(shown["Friendly name"], "machine 1");
    assert_eq!(
        shown["Disk details"][0]["size"],
        json!(super::command::SIZES[0])
    );
    let table = desk.run(&["vms", "show", &id]).done();
    assert!(
        table.lines().nth(1).unwrap().starts_with("| Field "),
        "{table}"
    );
    let shell = desk.run(&["vms", "show", &id, "-f", "shell"]).done();
    assert!(shell.contains("friendly_name='machine 1'\n"), "{shell}");
    let yaml = desk.run(&["vms", "list", "-f", "yaml"]).done();
    assert!(yaml.starts_with(&format!("- ID: \"{id}\"\n")), "{yaml}");
}

#[tokio::test(flavor = "multi_thread")]
async fn options_stand_before_and_after() {
    let desk = Desk::set().await;
    let endpoint = desk.node.endpoint();
    let authority = desk.node.path("ca-pub.pem");
    let authority = authority.to_str().unwrap();
    let rest = ["-u", "admin", "--ca-path", authority, "-f", "json"];
    let mut answers = Vec::new();
    for arguments in [
        [&["-e", &endpoint][..], &rest, &["vms", "list"]].concat(),
        [&["vms", "list", "--ovm-endpoint", &endpoint][..], &rest].concat(),
        [&rest[..], &["vms", "-e", &endpoint, "list"]].concat(),
        [&["--ovm-end", &endpoint, "vms", "list"][..], &rest].concat(),
    ] {
        let mut command = super::command::bare();
        command.env(
            "OVM_EXPORTER_PASSWORD",
            super::super::support::node::PASSWORD,
        );
        let output = command.args(&arguments).output().unwrap();
        answers.push(super::command::Ran::of(output).done());
    }
    assert!(answers[0].contains(&desk.machine.id));
    assert!(answers.iter().all(|answer| *answer == answers[0]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_goes_away_is_no_failure() {
    use std::process::Stdio;

    let desk = Desk::set().await;
    let (reader, writer) = std::io::pipe().unwrap();
    // Gone before a word is written.
    drop(reader);
    let output = desk
        .command()
        .args(["vms", "list"])
        .stdout(writer)
        .stderr(Stdio::piped())
        .output()
        .unwrap();
    let ran = super::command::Ran::of(output);
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_node_is_shown() {
    let desk = Desk::set().await;
    let shown = desk.run(&["node", "show", "-f", "json"]).json();
    assert_eq!(shown["Version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(shown["Repositories"][0]["state"], "mounted");
    let table = desk.run(&["node", "show"]).done();
    assert!(table.contains("can clone"), "{table}");
}
