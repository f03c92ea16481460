//! `replicate --to-writer`: one disk to a worker over HTTPS, the other by a program.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::json;
use tempfile::TempDir;

use super::super::coriolis::worker::Worker;
use super::command::{Desk, Ran};

const DEVICE: &str = "/dev/disk/by-id/first=x";

/// A node, a worker with a volume, and a volume behind a program.
struct Scene {
    desk: Desk,
    worker: Worker,
    names: Vec<String>,
    /// What is written by the program.
    behind: PathBuf,
    folder: TempDir,
}

impl Scene {
    async fn set() -> Scene {
        let desk = Desk::set().await;
        let folder = tempfile::tempdir().unwrap();
        let devices = folder.path().join("devices");
        fs::create_dir(&devices).unwrap();
        let worker = Worker::start(&devices).await;
        let zeros = vec![0; 64 << 20];
        worker.attach(DEVICE, &zeros);
        let behind = folder.path().join("behind");
        fs::write(&behind, &zeros).unwrap();
        let keys = worker.authority.keys();
        for (name, pem) in [
            ("ca.pem", keys.authority),
            ("cert.pem", keys.certificate),
            ("key.pem", keys.key),
        ] {
            fs::write(folder.path().join(name), pem).unwrap();
        }
        Scene {
            names: desk.disk_names(),
            desk,
            worker,
            behind,
            folder,
        }
    }

    fn arguments(&self) -> Vec<String> {
        let file = |name: &str| self.folder.path().join(name).display().to_string();
        let script =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/integration/coriolis/write_data.py");
        let program = format!("python3 '{}' && exit 0", script.display());
        let https = format!("{}={}{DEVICE}", self.names[0], self.worker.endpoint());
        let messages = format!("{}={}", self.names[1], self.behind.display());
        [
            ("--state", file("state.json")),
            ("--to-writer", https),
            ("--to-writer", messages),
            ("--writer-ca", file("ca.pem")),
            ("--writer-cert", file("cert.pem")),
            ("--writer-key", file("key.pem")),
            ("--writer-command", program),
        ]
        .into_iter()
        .flat_map(|(flag, value)| [flag.to_owned(), value])
        .collect()
    }

    fn run(&self, arguments: &[String], more: &[&str]) -> Ran {
        let mut command = self.desk.command();
        command
            .args(["replicate", &self.desk.machine.id])
            .args(arguments);
        Ran::of(command.args(more).output().unwrap())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn disks_go_to_workers_and_are_kept_there() {
    let mut scene = Scene::set().await;
    let arguments = scene.arguments();
    let ran = scene.run(&arguments, &[]);
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.stderr.contains("--overwrite"), "{ran:?}");
    let volume = ["--volume-id".to_owned(), format!("{}=3f", scene.names[1])];
    let arguments = [&volume[..], &arguments[..]].concat();
    for (more, how) in [
        (&["--zeroed"][..], "full"),
        (&[], "incremental"),
        (&[], "incremental"),
    ] {
        let more = [more, &["--writer-packing", "always", "-f", "json"]].concat();
        let outcome = scene.run(&arguments, &more).json();
        let snapshot = outcome["snapshot"].as_str().unwrap();
        let truth = scene.desk.truth(snapshot);
        let of = |name: &str| &truth.iter().find(|(known, _)| known == name).unwrap().1;
        let (first, second) = (of(&scene.names[0]), of(&scene.names[1]));
        assert!(scene.worker.bytes(DEVICE)[..first.len()] == *first);
        assert!(fs::read(&scene.behind).unwrap()[..second.len()] == *second);
        for disk in outcome["disks"].as_array().unwrap() {
            assert_eq!(disk["how"], how, "{outcome}");
        }
        assert_eq!(scene.worker.held(), [""; 0]);
        scene.desk.scribble();
    }
    // Nobody can look at what lies behind the command.
    let ran = scene.run(&arguments[2..], &[]);
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.stderr.contains("--volume-id"), "{ran:?}");
    // Another command may lead to another volume of the same path.
    let mut elsewhere = arguments.clone();
    elsewhere.last_mut().unwrap().push_str(" # another");
    let outcome = scene.run(&elsewhere, &["--overwrite", "-f", "json"]).json();
    let disks = outcome["disks"].as_array().unwrap();
    let moved = disks
        .iter()
        .find(|disk| disk["name"] == json!(scene.names[1]));
    assert_eq!(moved.unwrap()["how"], "full", "{outcome}");
    // Alone, the one that makes checksums is verified.
    let alone = [&arguments[4..6], &arguments[8..14]].concat();
    let other = scene.folder.path().join("other.json");
    let more = [
        "--state",
        other.to_str().unwrap(),
        "--only",
        &scene.names[0],
    ];
    let more = [&more[..], &["--overwrite", "--verify", "-f", "json"]].concat();
    let outcome = scene.run(&alone, &more).json();
    assert_eq!(outcome["disks"][0]["checked"], true, "{outcome}");
    let state = fs::read_to_string(scene.folder.path().join("state.json")).unwrap();
    assert!(!state.contains("python3"), "{state}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_missing_or_wrong_is_said() {
    let scene = Scene::set().await;
    let whole = scene.arguments();
    let without = |flag: &str| {
        let at = whole.iter().position(|word| word == flag).unwrap();
        [&whole[..at], &whole[at + 2..]].concat()
    };
    let with = |words: [String; 2]| [&whole[..], &words[..]].concat();
    let name = scene.names[0].clone();
    for (arguments, said) in [
        (
            without("--writer-key"),
            "--writer-ca, --writer-cert and --writer-key",
        ),
        (without("--writer-command"), "--writer-command"),
        (
            with(["--to-writer".into(), format!("{name}=/dev/x")]),
            "give it once",
        ),
        (
            with(["--disk".into(), format!("{name}=/x")]),
            "give one of them",
        ),
        (
            with(["--to-writer".into(), "absent=/dev/x".into()]),
            "no disk of that name",
        ),
        (
            with(["--verify".into(), "--overwrite".into()]),
            "cannot be verified",
        ),
        (
            with(["--volume-id".into(), "absent=3f".into()]),
            "give --to-writer absent",
        ),
        (
            [
                whole.clone(),
                scene
                    .names
                    .iter()
                    .flat_map(|name| ["--volume-id".to_owned(), format!("{name}=3f")])
                    .collect(),
            ]
            .concat(),
            "two disks cannot go to one volume",
        ),
    ] {
        let ran = scene.run(&arguments, &["--zeroed", "-q"]);
        assert_eq!(ran.code, 1, "{ran:?}");
        assert!(ran.stderr.contains(said), "{said}: {ran:?}");
    }
    let ran = scene.run(&with(["--to-writer".into(), "a=http://w/x".into()]), &[]);
    assert_eq!(ran.code, 2, "{ran:?}");
    let key = scene.folder.path().join("key.pem");
    fs::write(&key, "-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n").unwrap();
    let line = scene.run(&whole, &["--zeroed", "-q"]).failed();
    assert!(
        line.contains("our key") && !line.contains("c2VjcmV0"),
        "{line}"
    );
}
