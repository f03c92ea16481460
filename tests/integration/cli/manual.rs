//! Completions and man pages of both programs.

use std::process::Command;

use super::command::PROGRAM;

const DAEMON: &str = env!("CARGO_BIN_EXE_coriolis-ovm-exporter");

#[test]
fn completions_are_scripts_that_know_the_subcommands() {
    for (program, word) in [(PROGRAM, "replicate"), (DAEMON, "check-config")] {
        for shell in ["bash", "zsh", "fish"] {
            let output = Command::new(program)
                .args(["completions", shell])
                .output()
                .unwrap();
            assert!(output.status.success(), "{output:?}");
            let script = String::from_utf8(output.stdout).unwrap();
            assert!(script.contains(word), "{program} {shell}");
        }
    }
}

#[test]
fn a_man_page_for_every_subcommand() {
    let folder = tempfile::tempdir().unwrap();
    for program in [PROGRAM, DAEMON] {
        let output = Command::new(program)
            .arg("man")
            .arg(folder.path())
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
    }
    for page in [
        "ovm-exporter.1",
        "ovm-exporter-snapshot-download.1",
        "ovm-exporter-replicate.1",
        "coriolis-ovm-exporter.1",
        "coriolis-ovm-exporter-purge.1",
    ] {
        let text = std::fs::read_to_string(folder.path().join(page)).unwrap();
        assert!(text.contains(".TH ") && text.contains(".SH NAME"), "{page}");
    }
}
