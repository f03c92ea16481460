//! Who took, changed and deleted a snapshot stands in the log, by the name that the manager knows.

use coriolis_ovm_exporter::server::tokens::TokenIssuer;
use serde_json::{Value, json};
use std::time::Duration;

use super::{patch, path_of, take};
use crate::support::api::{Api, text};
use crate::support::node::{Kind, TestNode, USER};

const SECRET: &str = "0123456789abcdef0123456789abcdef";
/// A name that would like to be a line of somebody else's.
const HOSTILE: &str =
    "eve\"\n2026-01-01T00:00:00.000000Z  INFO request{user=\"root\"}: snapshot deleted\u{1b}[2J";

/// What becomes of snapshots: by whom, which one, of which machine, and how it is told.
type Deed = (&'static str, &'static str, String, String);

/// Two users take, ask again, change, delete and purge. Gives what the log should say of it, in order.
async fn deeds(node: &TestNode) -> Vec<Deed> {
    let vm = node.machine(0, 1, &[4096]);
    let hostile = TokenIssuer::new(SECRET.as_bytes(), Duration::from_secs(600));
    let eve = Api::with_token(node, &hostile.issue(HOSTILE).unwrap());
    let admin = Api::of(node).await;
    let mut deeds = Vec::new();
    let mut done = |user, what, snapshot: &Value| {
        let id = text(&snapshot["id"]).to_owned();
        deeds.push((user, what, id, vm.id.clone()));
    };
    let key = json!({"idempotency_key": "once"});
    let first = take(&admin, &vm.id, key.clone()).await;
    done(USER, "snapshot taken", &first);
    assert_eq!(take(&eve, &vm.id, key).await["id"], first["id"]);
    done(HOSTILE, "snapshot answered again", &first);
    let second = take(&eve, &vm.id, json!({})).await;
    done(HOSTILE, "snapshot taken", &second);
    let changed = patch(&eve, &first, json!({"expires_in": "24h"})).await;
    assert_eq!(changed.status, 200, "{changed:?}");
    done(HOSTILE, "snapshot changed", &first);
    assert_eq!(eve.delete(&path_of(&first)).await.status, 200);
    done(HOSTILE, "snapshot deleted", &first);
    // What is gone is not said to be deleted once more.
    assert_eq!(admin.delete(&path_of(&first)).await.status, 200);
    let third = take(&admin, &vm.id, json!({})).await;
    done(USER, "snapshot taken", &third);
    let all = format!("/vms/{}/snapshots", vm.id);
    assert_eq!(admin.delete(&all).await.status, 200);
    done(USER, "snapshot deleted", &second);
    done(USER, "snapshot deleted", &third);
    // Nobody.
    let stranger = Api::with_token(node, "none");
    stranger.get(&path_of(&first)).await.error(401);
    deeds
}

#[tokio::test(flavor = "multi_thread")]
async fn who_did_what_is_in_the_log() {
    let node = TestNode::with_config(&[Kind::Xfs], &format!("[jwt]\nsecret = {SECRET:?}\n")).await;
    let deeds = deeds(&node).await;
    let log = node.log();
    let mut told: Vec<&str> = log.lines().collect();
    told.retain(|line| {
        deeds
            .iter()
            .any(|(_, what, ..)| line.contains(&format!(": {what} ")))
    });
    assert_eq!(told.len(), deeds.len(), "{told:#?}");
    for (line, (user, what, id, vm)) in told.iter().zip(&deeds) {
        // The name is quoted, on the line's own line, and has no escape of a terminal.
        for part in [
            &format!(" user={user:?}}}: {what} "),
            &format!("snapshot={id}"),
            &format!("vm={vm:?}"),
        ] {
            assert!(line.contains(part), "{part}: {line}");
        }
    }
    let mut lines = log.lines();
    assert!(!log.contains('\u{1b}'), "{log}");
    assert!(lines.all(|line| !line.contains("user=\"root\"")), "{log}");
    let refused = log.lines().find(|line| line.contains("401 Unauthorized"));
    assert!(!refused.unwrap().contains("user="), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_did_what_is_in_a_log_of_json() {
    let config = format!("log_format = \"json\"\n[jwt]\nsecret = {SECRET:?}\n");
    let node = TestNode::with_config(&[Kind::Xfs], &config).await;
    let deeds = deeds(&node).await;
    let log = node.log();
    let mut lines: Vec<Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect();
    let refused = lines
        .iter()
        .find(|line| line["status"] == "401 Unauthorized");
    assert_eq!(refused.unwrap()["span"]["user"], Value::Null);
    let expires: Vec<_> = lines
        .iter()
        .filter(|line| line["message"] == "snapshot changed")
        .map(|line| text(&line["expires_at"]).parse::<jiff::Timestamp>())
        .collect();
    assert!(matches!(expires[..], [Ok(_)]), "{expires:?}");
    lines.retain(|line| deeds.iter().any(|(_, what, ..)| line["message"] == *what));
    let told: Vec<Deed> = deeds
        .iter()
        .zip(&lines)
        .map(|((user, what, ..), line)| {
            assert_eq!(line["message"], *what, "{line}");
            assert_eq!(line["span"]["user"], *user, "{line}");
            assert!(!text(&line["span"]["request_id"]).is_empty(), "{line}");
            (
                *user,
                *what,
                text(&line["snapshot"]).to_owned(),
                text(&line["vm"]).to_owned(),
            )
        })
        .collect();
    assert_eq!(told, deeds);
    assert_eq!(lines.len(), deeds.len());
}
