//! What the README has people type, and what it says of answers, is what there is.

use std::collections::BTreeSet;

use coriolis_ovm_exporter::server;
use serde_json::Value;

const README: &str = include_str!("../../README.md");
const MAKEFILE: &str = include_str!("../../Makefile");

/// On a node goes what `make packages` makes, or the static binary from where `make release` puts it.
#[test]
fn what_is_installed_on_a_node_is_what_make_makes() {
    let variable = |name: &str| {
        let line = MAKEFILE.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|rest| rest.strip_prefix(" := ")).unwrap()
    };
    assert_eq!(variable("RELEASE"), "$(TARGET)/$(TRIPLE)/release");
    let path = format!(
        "target/{}/release/coriolis-ovm-exporter",
        variable("TRIPLE")
    );
    let (_, section) = README.split_once("## On a node\n").unwrap();
    let alone = format!("`install -m 0755 {path} /usr/local/bin/`\nafter `make release`");
    assert!(section.contains(&alone), "{alone}");

    assert_eq!(variable("PACKAGES"), "$(TARGET)/packages");
    assert!(section.contains("lie in `target/packages`"));
    let block = section.split("```").nth(1).unwrap();
    let mut lines = block.lines().skip(1);
    assert!(lines.next().unwrap().starts_with("make packages "));
    // scripts/test-packages.sh finds the packages under these names.
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(
        lines.next().unwrap(),
        format!(
            "rpm -U coriolis-ovm-exporter-{version}-1.x86_64.rpm   # or dpkg -i \
             coriolis-ovm-exporter_{version}-1_amd64.deb"
        )
    );
}

/// Its table of statuses has all that the document of the interface names, in their order, and that of
/// a method which no path has.
#[test]
fn every_status_of_an_error_is_explained() {
    let (_, rest) = README.split_once("| status | when |\n").unwrap();
    let rows = rest
        .lines()
        .skip(1)
        .take_while(|line| line.starts_with('|'));
    let statuses = rows.map(|row| row.split('|').nth(1).unwrap().trim());
    let explained: Vec<String> = statuses.map(str::to_owned).collect();
    let document: Value = serde_json::from_str(&server::openapi_document()).unwrap();
    let mut named = BTreeSet::from(["405".to_owned()]);
    for path in document["paths"].as_object().unwrap().values() {
        for operation in path.as_object().unwrap().values() {
            let answers = operation["responses"].as_object();
            named.extend(answers.into_iter().flat_map(|all| all.keys().cloned()));
        }
    }
    named.retain(|status| status.as_str() >= "400");
    assert!(named.len() > 10, "{named:?}");
    assert_eq!(explained, named.into_iter().collect::<Vec<_>>());
}
