//! What a client may say when it asks for a snapshot, and what the daemon makes of it.

mod disks;
mod keys;
mod list;
mod log;
mod report;
mod tampered;
mod terms;

use reqwest::Method;
use serde_json::Value;

use super::support::api::{Answer, Api, text};

/// Asks for a snapshot with this body.
async fn ask(api: &Api, vm: &str, body: Value) -> Answer {
    let path = format!("/vms/{vm}/snapshots");
    api.send_body(Method::POST, &path, body).await
}

/// The same, which succeeds.
async fn take(api: &Api, vm: &str, body: Value) -> Value {
    let answer = ask(api, vm, body.clone()).await;
    assert_eq!(answer.status, 200, "{body}: {answer:?}");
    answer.json()
}

/// Changes what is said of a snapshot.
async fn patch(api: &Api, snapshot: &Value, body: Value) -> Answer {
    let path = path_of(snapshot);
    api.send_body(Method::PATCH, &path, body).await
}

fn path_of(snapshot: &Value) -> String {
    let (vm, id) = (text(&snapshot["vm_id"]), text(&snapshot["id"]));
    format!("/vms/{vm}/snapshots/{id}")
}
