//! The first day of a node: `init`, `doctor`, `token`, by the real program.

mod broken;
mod diagnosis;
mod init;
mod leftovers;
mod token;

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Output;

use serde_json::Value;

use crate::support::daemon::run;
use crate::support::node::{Kind, TestNode};

/// Long enough, and easy to find where it must not be.
const SECRET: &str = "a-secret-of-the-tests-that-nobody-may-ever-see-1234";

/// A node as an admin should keep it; its daemon is not started yet.
async fn node(kinds: &[Kind], more: &str) -> TestNode {
    let text = format!("{more}\n[jwt]\nsecret = \"{SECRET}\"\n");
    let node = TestNode::prepare(kinds, &text).await;
    for (name, mode) in [("", 0o700), ("config.toml", 0o600), ("srv-key.pem", 0o600)] {
        let mode = fs::Permissions::from_mode(mode);
        fs::set_permissions(node.path(name), mode).unwrap();
    }
    node
}

/// What the doctor has found.
struct Diagnosis {
    status: i32,
    report: Value,
}

impl Diagnosis {
    fn of(node: &TestNode, more: &[&str]) -> Diagnosis {
        let config = node.path("config.toml");
        let mut arguments: Vec<&OsStr> = ["-config".as_ref(), config.as_os_str()].into();
        arguments.extend(["doctor", "--json"].map(OsStr::new));
        arguments.extend(more.iter().map(OsStr::new));
        let output = run(&arguments);
        let text = text(&output);
        assert!(!text.contains(SECRET), "{text}");
        let report = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("{error}: {text}"));
        Diagnosis {
            status: output.status.code().unwrap(),
            report,
        }
    }

    fn findings(&self) -> &[Value] {
        self.report["findings"].as_array().unwrap()
    }

    /// Those that are not good. What starts the daemon is not this test's machine's business.
    fn trouble(&self) -> Vec<&Value> {
        let all = self.findings().iter();
        all.filter(|found| found["grade"] != "good" && found["check"] != "service")
            .collect()
    }

    /// The one finding of this grade in which all these words are, or a failure.
    #[track_caller]
    fn has(&self, check: &str, grade: &str, words: &[&str]) -> &Value {
        let found = self.findings().iter().find(|found| {
            let text = found.to_string();
            found["check"] == check
                && found["grade"] == grade
                && words.iter().all(|word| text.contains(word))
        });
        found.unwrap_or_else(|| panic!("no {grade} {check} {words:?}: {:#?}", self.findings()))
    }
}

/// Both streams.
fn text(output: &Output) -> String {
    [&output.stdout, &output.stderr]
        .map(|bytes| String::from_utf8_lossy(bytes).into_owned())
        .concat()
}
