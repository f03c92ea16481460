//! What the README has people type is what there is.

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
