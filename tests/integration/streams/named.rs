//! What is logged when the status line is sent already names its request.

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::process::Command;

use coriolis_ovm_exporter::protocol::delta::DeltaError;

use super::super::support::node::Kind;
use super::super::support::wait;
use super::scene::{Scene, decode};

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_breaks_off_names_its_request() {
    const SIZE: u64 = 96 << 20;
    let scene = Scene::set(Kind::Xfs).await;
    let disk = File::create_new(&scene.disk).unwrap();
    for at in 0..SIZE >> 20 {
        disk.write_all_at(&[9; 1 << 20], at << 20).unwrap();
    }
    disk.sync_all().unwrap();
    let taken = scene.take_unread().await;
    let mut streams = Vec::new();
    for (read, id) in [("", "of-a-disk"), ("delta", "of-a-delta")] {
        let url = format!(
            "{}/api/v1{}",
            scene.node.endpoint(),
            Scene::path(&taken, read, "")
        );
        let asked = scene.node.http().get(url).bearer_auth(&scene.api.token);
        let mut answer = asked.header("x-request-id", id).send().await.unwrap();
        assert_eq!(answer.status(), 200);
        let begun = answer.chunk().await.unwrap().unwrap().to_vec();
        streams.push((answer, begun));
    }
    // What no exporter does: the open file ends early.
    let status = Command::new("chattr").arg("-i").arg(&taken.file).status();
    assert!(status.unwrap().success());
    File::options()
        .write(true)
        .open(&taken.file)
        .unwrap()
        .set_len(4096)
        .unwrap();

    let mut bodies = Vec::new();
    for (mut answer, mut body) in streams {
        while let Ok(Some(piece)) = answer.chunk().await {
            body.extend_from_slice(&piece);
        }
        bodies.push(body);
    }
    let log = fs::read_to_string(scene.node.path("exporter.log")).unwrap();
    for (id, said) in [
        ("of-a-disk", "a download was cut off"),
        ("of-a-delta", "a delta cannot go on"),
    ] {
        wait::until(said, || scene.node.log().contains(said));
        let line = scene
            .node
            .log()
            .lines()
            .find(|line| line.contains(said))
            .unwrap()
            .to_owned();
        assert!(
            line.contains(&format!("request_id=\"{id}\"")),
            "{line} of {log}"
        );
    }
    match decode(&bodies[1], 1 << 20) {
        Err(DeltaError::GivenUp(error)) => {
            assert_eq!(error.request_id.as_deref(), Some("of-a-delta"))
        }
        other => panic!("{other:?}"),
    }
}
