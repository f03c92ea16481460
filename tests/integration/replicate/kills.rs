//! SIGKILL at any moment, of the command and of the daemon.

use std::process::{Command, Stdio};
use std::time::Duration;

use coriolis_ovm_exporter::client::Client;
use coriolis_ovm_exporter::protocol::Refine;
use rand::RngExt as _;
use rand::rngs::StdRng;

use super::super::cli::command::bare;
use super::super::comparison::guest::Guest;
use super::super::comparison::seed::Seed;
use super::super::support::counts::count;
use super::super::support::node::{Kind, PASSWORD, USER};
use super::proxy::Proxy;
use super::scene::{MIB, Scene, VM};

fn guests(scene: &Scene, random: &mut StdRng) -> Vec<Guest> {
    let disks = scene.disks.iter();
    disks
        .map(|disk| Guest::new(Kind::Xfs, disk.clone(), Seed(random.random()).random()))
        .collect()
}

/// The command, with this scene's state and files.
fn command(scene: &Scene) -> Command {
    let mut command = bare();
    command
        .env("OVM_EXPORTER_ENDPOINT", scene.node.endpoint())
        .env("OVM_EXPORTER_USERNAME", USER)
        .env("OVM_EXPORTER_PASSWORD", PASSWORD)
        .env("OVM_EXPORTER_CAFILE", scene.node.path("ca-pub.pem"))
        .args(["replicate", VM, "--refine", "4096", "--to"])
        .arg(scene.replicas())
        .arg("--state")
        .arg(scene.state_path())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    command
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_is_killed_at_any_moment() {
    let seed = Seed::choose();
    println!("seed {}", seed.0);
    let mut random = seed.random();
    let scene = Scene::set(&["a.img", "b.img"]).await;
    let mut guests = guests(&scene, &mut random);
    // How long one takes that is not killed: the moments are spread over that.
    let begun = std::time::Instant::now();
    assert!(command(&scene).status().unwrap().success());
    let mut usual = begun.elapsed();
    let (mut kills, mut asked, mut written) = (0, 0, 0);
    while kills < count(8, 200) {
        for guest in &mut guests {
            guest.work(scene.base_file(guest.path()).as_deref());
        }
        let mut child = command(&scene).spawn().unwrap();
        let later = usual.mul_f64(random.random_range(0.0..1.1));
        tokio::time::sleep(later).await;
        let ended = child.try_wait().unwrap();
        child.kill().unwrap();
        let output = child.wait_with_output().unwrap();
        match ended {
            Some(status) => {
                let said = String::from_utf8_lossy(&output.stderr);
                assert!(status.success(), "{said}");
            }
            None => kills += 1,
        }
        let pending = scene.state().pending;
        asked += u32::from(pending.is_some());
        written += u32::from(pending.is_some_and(|pending| !pending.dirty.is_empty()));
        if random.random_bool(0.4) {
            let begun = std::time::Instant::now();
            let output = command(&scene).output().unwrap();
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{said}");
            usual = begun.elapsed();
            whole(&scene).await;
        }
    }
    println!("{kills} kills; {asked} of them after the key, {written} while targets were written");
    assert!(asked > 0, "none has hit anything");
    assert!(command(&scene).status().unwrap().success());
    whole(&scene).await;
}

/// The replica is its snapshot, and nothing else is left.
async fn whole(scene: &Scene) {
    let state = scene.state();
    let base = state.base.unwrap();
    assert!(state.pending.is_none() && state.to_drop.is_empty());
    assert_eq!(scene.snapshots().await, [base]);
    scene.check_files(base).await;
    let names = |folder: std::path::PathBuf| {
        let items = std::fs::read_dir(folder).unwrap();
        let mut names: Vec<_> = items.map(|item| item.unwrap().file_name()).collect();
        names.sort();
        names
    };
    assert_eq!(names(scene.replicas()), ["a.img", "b.img"]);
    let beside = names(scene.folder.path().to_owned());
    assert_eq!(beside, ["replicas", "state.json", "state.json.lock"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_daemon_is_killed_at_any_moment() {
    let seed = Seed::choose();
    println!("seed {}", seed.0);
    let mut random = seed.random();
    let mut scene = Scene::set(&["a.img", "b.img"]).await;
    let mut guests = guests(&scene, &mut random);
    let proxy = Proxy::to(scene.node.address(), u64::MAX, 0).await;
    let trust = scene.node.trust();
    let client = Client::login(&proxy.endpoint(), USER, PASSWORD, &trust)
        .await
        .unwrap();
    let (mut kills, mut resumed) = (0, 0);
    while kills < count(8, 200) {
        for guest in &mut guests {
            guest.work(None);
        }
        let run = scene
            .replication_from(client.clone())
            .refine(Refine::Blocks)
            .least_segment(MIB)
            .patience(Duration::from_secs(60));
        let running = tokio::spawn(run.run());
        tokio::time::sleep(Duration::from_micros(random.random_range(0..250_000))).await;
        if running.is_finished() {
            running.await.unwrap().unwrap();
            continue;
        }
        scene.node.kill();
        kills += 1;
        scene.node.start();
        proxy.goes_to(scene.node.address());
        let outcome = running.await.unwrap().unwrap();
        scene.client = scene.node.client().await;
        scene.check(&outcome).await;
        resumed += outcome.disks.iter().map(|disk| disk.resumed).sum::<u64>();
    }
    println!("{kills} kills, {resumed} streams were taken up again");
}
