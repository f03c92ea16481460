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

/// It is of a whole run: one of some figures would hide the others.
#[test]
fn the_picture_has_every_figure_that_has_to_reach_something() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let picture = fs::read_to_string(root.join("docs/performance.svg")).unwrap();
    for name in [
        "https_vs_nginx_throughput",
        "https_vs_nginx_server_cpu",
        "https_curl_vs_nginx_throughput",
        "https_curl_vs_nginx_server_cpu",
        "delta_vs_get_throughput",
        "client_cpu_vs_curl",
        "page_cache_left",
        "delta_vs_ranges",
        "compression_auto_50mbit",
        "compression_auto_1gbit",
        "compression_auto_loopback",
        "compare_vs_two_passes",
        "compare_vs_two_passes_sandwich",
        "rss_compare_1m",
        "incremental_vs_rsync",
        "incremental_vs_checksum",
        "incremental_wire_bytes",
        "create_vs_cp_1",
        "create_vs_cp_100k",
        "rss_64_streams",
        "fair_share_8_streams",
        "growth_compare_time",
        "growth_incremental_time",
        "growth_streams_memory",
        "growth_list_time",
    ] {
        let shown = format!(">{name}</text>");
        assert!(picture.contains(&shown), "no {name} in the picture");
    }
}
