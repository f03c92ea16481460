//! A SIGHUP while disks are on their way.

use std::fs::{self, File};
use std::io::Write as _;

use coriolis_ovm_exporter::operations::demo::certificates;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

use super::super::support::node::Kind;
use super::super::support::wait;
use super::scene::{Scene, assert_same, decode};

/// More than the sockets' buffers take.
const SIZE: usize = 40 << 20;

#[tokio::test(flavor = "multi_thread")]
async fn streams_go_on_with_the_certificate_that_they_began_with() {
    let scene = Scene::set(Kind::Xfs).await;
    let mut random = StdRng::seed_from_u64(7);
    let mut disk = File::create_new(&scene.disk).unwrap();
    for _ in 0..SIZE >> 20 {
        let mut bytes = vec![0u8; 1 << 20];
        random.fill(&mut bytes[..]);
        disk.write_all(&bytes).unwrap();
    }
    disk.sync_all().unwrap();
    let taken = scene.take().await;

    let mut streams = Vec::new();
    for read in ["", "delta"] {
        let url = format!(
            "{}/api/v1{}",
            scene.node.endpoint(),
            Scene::path(&taken, read, "")
        );
        let asked = scene.node.http().get(url).bearer_auth(&scene.api.token);
        let mut answer = asked.send().await.unwrap();
        assert_eq!(answer.status(), 200);
        let begun = answer.chunk().await.unwrap().unwrap().to_vec();
        streams.push((answer, begun));
    }

    let node = &scene.node;
    fs::remove_file(node.path("srv-key.pem")).unwrap();
    certificates::write(&node.path(".")).unwrap();
    let config = fs::read_to_string(node.path("config.toml")).unwrap();
    let changed = config.replace("\"debug\"", "\"info\"") + "[snapshots]\nlock_timeout = \"1s\"\n";
    fs::write(node.path("config.toml"), changed).unwrap();
    kill(
        Pid::from_raw(node.daemon_id().try_into().unwrap()),
        Signal::SIGHUP,
    )
    .unwrap();
    wait::until("it is taken up", || {
        node.log().contains("certificates taken up")
    });
    assert!(
        node.log()
            .contains("changed: log_level, snapshots.lock_timeout"),
        "{}",
        node.log()
    );
    // A new connection sees another authority.
    node.http().get(node.endpoint()).send().await.unwrap_err();

    let mut bodies = Vec::new();
    for (mut answer, mut body) in streams {
        while let Some(piece) = answer.chunk().await.unwrap() {
            body.extend_from_slice(&piece);
        }
        bodies.push(body);
    }
    assert_same(&bodies[0], &taken.bytes, "the disk");
    let delta = decode(&bodies[1], 1 << 20).unwrap();
    assert_same(&delta.apply(&vec![0; SIZE]), &taken.bytes, "the delta");
}
