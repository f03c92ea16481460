use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Instant;

use super::super::DomainState;
use super::*;

const TABLE: &str = "cat <<'END'
Name                                        ID   Mem VCPUs      State   Time(s)
Domain-0                                     0   834     4     r-----   9301.7
0004fb0000060000ccaf98a0baa2c186             3  2048     2     --p---    120.4
END
";

/// A folder with stand-in programs.
struct Node {
    folder: tempfile::TempDir,
}

impl Node {
    fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
        }
    }

    /// A child writes the script: were this process to hold it open for writing while another
    /// thread forks, running it could fail with "text file busy".
    fn with(self, name: &str, script: &str) -> Self {
        let mut child = Command::new("/bin/sh")
            .args(["-c", "cat > \"$0\" && chmod 755 \"$0\""])
            .arg(self.path(name))
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let text = format!("#!/bin/sh\n{script}");
        child
            .stdin
            .take()
            .unwrap()
            .write_all(text.as_bytes())
            .unwrap();
        assert!(child.wait().unwrap().success());
        self
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn toolstack(&self, limit: Duration) -> Toolstack {
        Toolstack::in_folders(ToolChoice::Auto, vec![self.folder.path().to_owned()], limit)
    }

    async fn domains(&self) -> Domains {
        self.toolstack(TIME_LIMIT).domains().await
    }
}

fn is_known(domains: &Domains) -> bool {
    domains.state("0004fb0000060000ccaf98a0baa2c186") == DomainState::Paused
        && domains.state("other") == DomainState::Off
        && domains.doubt().is_none()
}

#[tokio::test]
async fn either_program_is_asked() {
    assert!(is_known(&Node::new().with("xm", TABLE).domains().await));
    assert!(is_known(&Node::new().with("xl", TABLE).domains().await));
    let node = Node::new().with("any", TABLE);
    let choice = ToolChoice::Program(node.path("any"));
    assert!(is_known(
        &Toolstack::in_folders(choice, Vec::new(), TIME_LIMIT)
            .domains()
            .await
    ));
}

#[tokio::test]
async fn xl_answers_where_xm_fails() {
    let node = Node::new()
        .with("xm", "echo 'Error: no xend' >&2; exit 1")
        .with("xl", TABLE);
    assert!(is_known(&node.domains().await));
    let node = Node::new()
        .with("xm", "echo 'Error: no xend' >&2; exit 1")
        .with("xl", "exit 3");
    let domains = node.domains().await;
    assert_eq!(domains.state("any"), DomainState::Unknown);
    let doubt = domains.doubt().unwrap();
    assert!(
        doubt.contains("xm list failed (exit status: 1): Error: no xend"),
        "{doubt}"
    );
    assert!(doubt.contains("xl list failed (exit status: 3)"), "{doubt}");
}

#[tokio::test]
async fn no_program_is_unknown_with_the_reason() {
    let domains = Node::new().domains().await;
    assert_eq!(domains.state("any"), DomainState::Unknown);
    assert!(domains.doubt().unwrap().contains("neither xm nor xl"));
    // A folder or a file that cannot be run is not a program.
    let node = Node::new();
    std::fs::create_dir(node.path("xm")).unwrap();
    std::fs::write(node.path("xl"), "text").unwrap();
    assert!(matches!(
        node.toolstack(TIME_LIMIT).list().await,
        Err(DomainsError::NoTool)
    ));
    let choice = ToolChoice::Program(node.path("absent"));
    let error = Toolstack::in_folders(choice, Vec::new(), TIME_LIMIT)
        .list()
        .await
        .unwrap_err();
    assert!(matches!(error, DomainsError::Start { .. }), "{error}");
}

#[tokio::test]
async fn a_program_that_hangs_is_killed_with_all_it_started() {
    let node = Node::new();
    let note = node.path("children");
    let script = format!("sleep 600 & echo $$ $! > {}; wait", note.display());
    let node = node.with("xm", &script);
    let begin = Instant::now();
    let error = node
        .toolstack(Duration::from_secs(1))
        .list()
        .await
        .unwrap_err();
    assert!(matches!(error, DomainsError::TimedOut { .. }), "{error}");
    assert!(
        begin.elapsed() < Duration::from_secs(4),
        "{:?}",
        begin.elapsed()
    );
    let note = std::fs::read_to_string(note).unwrap();
    let ids: Vec<&str> = note.split_whitespace().collect();
    assert_eq!(ids.len(), 2, "{note:?}");
    for id in ids {
        wait_until_gone(id).await;
    }
}

/// A process is gone when it has no entry, or is a zombie that its new parent has not collected.
async fn wait_until_gone(id: &str) {
    for _ in 0..100 {
        let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
        if stat.is_empty() || stat.contains(") Z ") {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("process {id} still runs");
}

#[tokio::test]
async fn output_is_bounded() {
    let node = Node::new().with("xm", "exec cat /dev/zero");
    let error = node.toolstack(TIME_LIMIT).list().await.unwrap_err();
    assert!(matches!(error, DomainsError::TooMuch { .. }), "{error}");
    // Much on standard error neither blocks the program nor reaches the message.
    let script = format!("head -c 300000 /dev/zero | tr '\\0' x >&2\n{TABLE}exit 1");
    let error = Node::new()
        .with("xm", &script)
        .toolstack(TIME_LIMIT)
        .list()
        .await
        .unwrap_err();
    assert!(matches!(error, DomainsError::Failed { .. }), "{error}");
    assert!(error.to_string().len() < 500, "{error}");
}

#[tokio::test]
async fn garbage_is_no_table() {
    for script in ["echo hello", "head -c 10000 /dev/urandom", ":"] {
        let error = Node::new()
            .with("xm", script)
            .toolstack(TIME_LIMIT)
            .list()
            .await
            .unwrap_err();
        assert!(
            matches!(error, DomainsError::NoTable { .. }),
            "{script}: {error}"
        );
    }
}

#[tokio::test]
async fn the_program_sees_a_clean_environment_and_no_input() {
    let script = format!(
        "[ \"$1\" = list ] && [ \"$LANG\" = C ] && [ -z \"$HOME$CARGO_MANIFEST_DIR\" ] && ! read line || exit 9\n{TABLE}"
    );
    assert!(std::env::var_os("CARGO_MANIFEST_DIR").is_some());
    assert!(is_known(&Node::new().with("xm", &script).domains().await));
}
