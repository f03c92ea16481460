//! What the README has people type is what there is.

const README: &str = include_str!("../../README.md");
const MAKEFILE: &str = include_str!("../../Makefile");

/// On a node goes the static binary, from where `make release` puts it.
#[test]
fn what_is_installed_on_a_node_is_what_make_release_makes() {
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
    let block = section.split("```").nth(1).unwrap();
    let mut lines = block.lines().skip(1);
    assert_eq!(lines.next(), Some("make release"));
    let install = lines.next().unwrap();
    assert!(install.starts_with("install "), "{install}");
    assert_eq!(install.split(' ').nth_back(1), Some(path.as_str()));
}
