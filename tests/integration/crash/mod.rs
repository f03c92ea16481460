//! The daemon, or the demo, ends when nobody expected it: what is left, and what is not.

mod demo;
#[cfg(debug_assertions)]
mod faults;
#[cfg(debug_assertions)]
mod foreign;
mod hang_up;
mod index;
mod kill;
mod leftovers;
mod terminate;
#[cfg(debug_assertions)]
mod unmounted;

use std::fs;
use std::path::Path;

use super::support::node::TestNode;

/// Everything in the snapshot folders that a daemon in peace does not leave: what is hidden, and
/// manifests that say anything but ready.
fn half_made(node: &TestNode) -> Vec<String> {
    let mut found = Vec::new();
    for path in node.snapshot_files() {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let shown = path.display();
        if name.starts_with(".unfinished-")
            || name.starts_with(".probe-")
            || name.starts_with(".manifest")
        {
            found.push(format!("{shown}"));
        } else if name == "manifest.json" {
            match state(&path) {
                Some(state) if state == "ready" => {}
                other => found.push(format!("{shown} says {other:?}")),
            }
        } else if uuid::Uuid::try_parse(&name).is_ok() && !path.join("manifest.json").exists() {
            found.push(format!("{shown} has no manifest"));
        }
    }
    found
}

/// What a manifest says; None where it is gone by now.
fn state(manifest: &Path) -> Option<String> {
    let text = fs::read(manifest).ok()?;
    let json: serde_json::Value = serde_json::from_slice(&text).unwrap_or_default();
    Some(json["state"].as_str().unwrap_or("garbage").to_owned())
}
