//! Commands of the configuration in place of a pause.

use std::fs;
use std::process::Command;

use nix::sys::signal::Signal;

use super::answers::{ask, warnings};
use super::xm::{Pausing, guards_of, signal, until};
use crate::support::api::Api;
use crate::support::wait;

/// Scripts `before` and `after` in the stand-in's folder; each notes in `notes` that it ran.
struct Commands {
    pausing: Pausing,
}

impl Commands {
    async fn new(before: &str, after: &str, more: &str) -> Commands {
        let pausing = Pausing::prepare("").await;
        for (name, script) in [("before", before), ("after", after)] {
            let notes = pausing.path("notes");
            let text = format!(
                "#!/bin/sh\necho {name} $1 $CORIOLIS_VM_ID $CORIOLIS_VM_NAME >> {notes:?}\n{script}\n"
            );
            let draft = pausing.path("draft");
            fs::write(&draft, text).unwrap();
            let mut install = Command::new("install");
            install
                .args(["-m", "755"])
                .arg(&draft)
                .arg(pausing.path(name));
            assert!(install.status().unwrap().success());
        }
        let mut commands = Commands { pausing };
        commands.configure(more);
        commands.pausing.node.start();
        commands
    }

    fn configure(&mut self, more: &str) {
        let (before, after) = (self.pausing.path("before"), self.pausing.path("after"));
        self.pausing.configure(&format!(
            "before_snapshot = [{before:?}, \"argument\"]\nafter_snapshot = [{after:?}]\n{more}\n"
        ));
    }

    fn notes(&self) -> Vec<String> {
        let text = fs::read_to_string(self.pausing.path("notes")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn they_run_around_the_clones_and_know_the_machine() {
    let commands = Commands::new("", "", "consistency = \"command\"").await;
    let machine = commands.pausing.machine(1);
    let api = Api::of(&commands.pausing.node).await;
    let snapshot = api.snapshot(&machine.id).await;
    assert_eq!(snapshot["consistency"], "command");
    assert!(snapshot["pause_ms"].as_f64().unwrap() > 0.0);
    assert_eq!(warnings(&snapshot), "");
    let id = &machine.id;
    assert_eq!(
        commands.notes(),
        [
            format!("before argument {id} {id}"),
            format!("after {id} {id}")
        ]
    );
    // Nothing is paused for it.
    assert_eq!(commands.pausing.calls(&machine), [""; 0]);
    commands.pausing.until_no_record_is_left().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_runs_also_when_before_fails_or_does_not_end() {
    for (script, said) in [
        (
            "echo; echo the database is busy >&2; exit 3",
            "the database is busy",
        ),
        ("sleep 60", "did not end"),
    ] {
        let commands = Commands::new(script, "", "command_timeout = \"1s\"").await;
        let machine = commands.pausing.machine(1);
        let api = Api::of(&commands.pausing.node).await;
        let (_, details) = ask(&api, &machine, "command").await.error(503);
        assert!(details.contains(said), "{details}");
        assert_eq!(commands.notes().len(), 2, "{:?}", commands.notes());
        let listed = api.json(&format!("/vms/{}/snapshots", machine.id)).await;
        assert_eq!(listed.as_array().unwrap().len(), 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_after_that_fails_is_told_and_the_snapshot_stays() {
    let commands = Commands::new("", "echo cannot thaw >&2; exit 1", "").await;
    let machine = commands.pausing.machine(1);
    let api = Api::of(&commands.pausing.node).await;
    let answer = ask(&api, &machine, "command").await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let snapshot = answer.json();
    assert_eq!(snapshot["consistency"], "command");
    assert!(warnings(&snapshot).contains("cannot thaw"), "{snapshot:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn after_runs_when_the_daemon_or_both_are_killed() {
    for both in [false, true] {
        // The word is waited for while before runs, too.
        let mut commands = Commands::new("sleep 2", "", "").await;
        let machine = commands.pausing.machine(1);
        let api = Api::of(&commands.pausing.node).await;
        let asked = {
            let machine = machine.clone();
            tokio::spawn(async move { api.post_quietly(&machine.id, "command").await })
        };
        until(|| !commands.notes().is_empty()).await;
        let guards = guards_of(commands.pausing.node.daemon_id());
        assert_eq!(guards.len(), 1);
        if both {
            signal(guards[0], Signal::SIGKILL);
        }
        commands.pausing.node.kill();
        let _ = asked.await;
        if both {
            commands.pausing.node.start();
        }
        wait::until("after has run", || commands.notes().len() > 1);
        commands.pausing.until_no_record_is_left().await;
        // Once more where the daemon was killed while it ran it in its guard's place.
        let notes = commands.notes();
        assert!(
            notes[1..].iter().all(|note| note.starts_with("after")),
            "{notes:?}"
        );
        assert!(notes.len() == 2 || both && notes.len() == 3, "{notes:?}");
    }
}
