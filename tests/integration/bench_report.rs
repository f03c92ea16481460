//! The pure part of `make bench`: its own tests, which that program has no harness for.

use std::fs;
use std::path::Path;

// What only the bench itself uses.
#[allow(dead_code, unused_imports, clippy::cast_precision_loss)]
#[path = "../../benches/bench/report/mod.rs"]
mod report;

#[test]
fn the_readme_shows_a_picture_with_machine_and_date() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let readme = fs::read_to_string(root.join("README.md")).unwrap();
    assert!(readme.contains("](docs/performance.svg)"));
    let picture = fs::read_to_string(root.join("docs/performance.svg")).unwrap();
    for part in [
        "<svg ",
        " cores, ",
        "Linux ",
        " UTC",
        "load ",
        " bars met</title>",
    ] {
        assert!(picture.contains(part), "no {part:?} in the picture");
    }
}
