//! The README's Rust, run at a node. `cargo test --doc` compiles the README itself, with names that are
//! nobody's; here stands the same with a node's.

use std::fs;

use coriolis_ovm_exporter::client::replicate::{Replication, StateFile};
use coriolis_ovm_exporter::client::{Client, Trust};

use super::block;
use crate::support::node::{Kind, PASSWORD, TestNode};

/// What is somebody's own: how the README writes it, and how [`keep`] does.
const OWN: [(&str, &str); 6] = [
    ("\"ca-pub.pem\"", "own.authority"),
    ("\"https://ovs1.example:5544\"", "own.endpoint"),
    ("\"password\"", "PASSWORD"),
    ("\"0004fb0000060000ccaf98a0baa2c186\"", "own.machine"),
    ("\"/var/lib/replicas/web.json\"", "own.state"),
    ("\"/replicas/web\"", "own.replica"),
];

struct Own<'a> {
    authority: &'a str,
    endpoint: &'a str,
    machine: &'a str,
    state: &'a str,
    replica: &'a str,
}

// The README's, from here
async fn keep(own: &Own<'_>) -> Result<(), Box<dyn std::error::Error>> {
    let trust = Trust::Authority(std::fs::read(own.authority)?);
    let node = Client::login(own.endpoint, "admin", PASSWORD, &trust).await?;
    let outcome = Replication::of(own.machine)
        .from(node) // again for nodes that share the repository: they share the work
        .state(StateFile::open(own.state)?)
        .to_files(own.replica) // or block devices, Coriolis's workers, whatever implements `Target`
        .verified()
        .run()
        .await?;
    println!("{outcome}");
    Ok(())
}
// to here.

/// Words and signs, without comments, hidden lines' marks and line ends.
fn code(text: &str) -> String {
    let lines = text.lines().map(|line| {
        let line = line.trim_start().trim_start_matches("# ");
        line.split(" // ").next().unwrap_or_default()
    });
    lines.flat_map(str::split_whitespace).collect()
}

#[test]
fn it_is_what_the_readme_has() {
    let (_, rest) = include_str!("replica.rs")
        .split_once("from here\n")
        .unwrap();
    let (mut kept, _) = rest
        .split_once("// to here.")
        .map(|(own, rest)| (own.to_owned(), rest))
        .unwrap();
    kept = kept.replace("own: &Own<'_>", "");
    for (theirs, ours) in OWN {
        assert!(kept.contains(ours), "{ours}");
        kept = kept.replace(ours, theirs);
    }
    let readme = block("README.md", "Keeping a replica");
    let (_, readme) = readme.split_once("\n\n").unwrap();
    assert_eq!(code(readme), code(&kept));
}

#[tokio::test(flavor = "multi_thread")]
async fn it_keeps_a_replica() {
    let node = TestNode::new(&[Kind::Xfs]).await;
    let machine = node.machine(0, 1, &[4 << 20]);
    let (authority, state, replica) = (
        node.path("ca-pub.pem"),
        node.path("web.json"),
        node.path("web"),
    );
    fs::create_dir(&replica).unwrap();
    let endpoint = node.endpoint();
    let own = Own {
        authority: authority.to_str().unwrap(),
        endpoint: &endpoint,
        machine: &machine.id,
        state: state.to_str().unwrap(),
        replica: replica.to_str().unwrap(),
    };
    let disk = &machine.disks[0];
    for round in 1..=2 {
        fs::write(disk, vec![round; 4 << 20]).unwrap();
        keep(&own).await.unwrap();
        let copy = replica.join(disk.file_name().unwrap());
        assert!(
            fs::read(copy).unwrap() == vec![round; 4 << 20],
            "round {round}"
        );
    }
}
