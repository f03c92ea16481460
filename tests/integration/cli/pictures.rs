//! What changed, in numbers and as a picture.

use std::fs::File;
use std::os::unix::fs::FileExt as _;

use serde_json::json;

use super::command::Desk;

#[tokio::test(flavor = "multi_thread")]
async fn changes_are_counted_and_drawn() {
    let desk = Desk::set().await;
    let vm = desk.machine.id.clone();
    let disk = File::options()
        .write(true)
        .open(&desk.machine.disks[0])
        .unwrap();
    disk.write_all_at(&vec![7; 2 << 20], 8 << 20).unwrap();
    let first = desk.snapshot();
    disk.write_all_at(&vec![8; 64 << 10], 8 << 20).unwrap();
    disk.write_all_at(&vec![8; 4 << 10], 9 << 20).unwrap();
    let second = desk.snapshot();

    for words in [&[first.as_str(), &second][..], &[&vm, &first, &second]] {
        let found = desk.run(&[&["diff", "-f", "json"], words].concat()).json();
        assert_eq!(found[0]["Ranges"], 2, "{found}");
        assert_eq!(found[0]["Data"], 68 << 10, "{found}");
        assert_eq!(found[0]["Zero"], 0, "{found}");
        assert_eq!(found[0]["Method"], "extents", "{found}");
        let largest = json!({"start": 8 << 20, "length": 64 << 10, "kind": "data"});
        assert_eq!(found[0]["Largest"][0], largest, "{found}");
        assert_eq!(found[1]["Ranges"], 0, "{found}");
    }
    let name = desk.disk_names()[0].clone();
    let one = ["diff", &first, &second, "--disk", &name, "--largest", "1"];
    let table = desk.run(&one).done();
    assert!(table.contains("64.0 KiB at 8388608"), "{table}");
    assert!(!table.contains(" 4.0 KiB at"), "{table}");

    let drawn = desk
        .run(&["map", &second, "--diff-from", &first, "--disk", &name])
        .done();
    assert!(drawn.contains("changed 68.0 KiB"), "{drawn}");
    let rows: Vec<&str> = drawn.lines().filter(|line| line.starts_with(" ")).collect();
    let picture: String = rows[..rows.len() - 1].iter().map(|row| &row[1..]).collect();
    // A third of the way, and nowhere else.
    let at = picture.find(['c', 'C']).unwrap();
    assert_eq!(at / 10, picture.len() / 3 / 10, "{drawn}");
    assert!(drawn.is_ascii(), "no terminal, so letters: {drawn}");

    let ran = desk.run(&["map", &second, "-f", "json"]);
    assert!(
        ran.code == 1 && ran.stderr.contains("diff -f json"),
        "{ran:?}"
    );

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("map.svg");
    let path = file.to_str().unwrap();
    let svg = ["map", &vm, &second, "--diff-from", &first, "--svg", path];
    assert_eq!(desk.run(&svg).done(), "");
    let written = std::fs::read_to_string(&file).unwrap();
    assert!(written.starts_with("<svg ") && written.ends_with("</svg>\n"));
    assert!(written.contains("class=\"changed\"") && written.contains(&name));
}
