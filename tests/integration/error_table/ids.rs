//! Unknown and malformed ids: not found, and never a file outside of what was asked for.

use reqwest::Method;

use super::Scene;
use crate::support::api::{Answer, text};
use crate::support::wire::{Dialler, Wire};

const ABSENT: &str = "00000000-0000-4000-8000-000000000000";

#[tokio::test(flavor = "multi_thread")]
async fn unknown_machines_snapshots_and_disks_are_not_found() {
    let scene = Scene::set().await;
    let api = &scene.api;
    let own = text(&scene.first["id"]);
    let vm = &scene.vm.id;
    for path in [
        "/vms/unknown".to_owned(),
        "/vms/unknown/snapshots".to_owned(),
        format!("/vms/unknown/snapshots/{ABSENT}"),
        format!("/vms/unknown/snapshots/{ABSENT}/disks/a.img"),
        format!("/vms/{vm}/snapshots/{ABSENT}"),
        format!("/vms/{vm}/snapshots/{ABSENT}?compareTo={own}"),
        format!("/vms/{vm}/snapshots/{ABSENT}/disks/a.img"),
        format!("/vms/{vm}/snapshots/{own}/disks/a.img"),
    ] {
        assert_eq!(api.get(&path).await.error(404).0, "Not Found", "{path}");
        assert_eq!(api.head(&path).await.status, 404, "{path}");
    }
    for method in [Method::POST, Method::DELETE] {
        let path = "/vms/unknown/snapshots";
        api.send(method, path, &[]).await.error(404);
    }
}

/// As they stand in the request line. With the first path segment they would be a path of the
/// node, if anybody joined them to one.
fn malformed() -> Vec<String> {
    let long = "x".repeat(8000);
    [
        ".",
        "..",
        "%2e",
        "%2e%2e",
        "..%2f..%2f..%2fetc%2fpasswd",
        "%2e%2e%2fcanary.img",
        "..%2fcanary.img",
        "..%2f..%2fVirtualDisks%2fcanary.img",
        "%2fetc%2fpasswd",
        "%5c..%5ccanary.img",
        "%00",
        "canary.img%00",
        "a%00b",
        "%0d%0aX-Injected:%20yes",
        "%ff%fe",
        "%",
        "%zz",
        "'",
        "'%20OR%20'1'='1",
        "%22;DROP%20TABLE%20snapshots;--",
        "%25s%25n",
        "*",
        "%F0%9F%92%BE",
        &long,
    ]
    .iter()
    .map(|id| (*id).to_owned())
    .collect()
}

async fn ask(wire: &mut Wire, token: &str, method: &str, path: &str) -> Answer {
    let headers = format!("Authorization: Bearer {token}\r\n");
    wire.ask(method, &format!("/api/v1{path}"), &headers)
        .await
        .unwrap_or_else(|error| panic!("{method} {path}: {error}"))
}

#[track_caller]
fn assert_harmless(answer: &Answer, what: &str) {
    assert!(!answer.headers.contains_key("x-injected"), "{what}");
    let body = String::from_utf8_lossy(&answer.body);
    assert!(!body.contains("THE CANARY"), "{what}: {body}");
    assert!(!body.contains("root:"), "{what}: {body}");
}

#[tokio::test(flavor = "multi_thread")]
async fn malformed_ids_find_nothing() {
    let scene = Scene::set().await;
    let root = scene.node.repositories[0].path();
    let shelf = root.join("CoriolisSnapshots");
    let snapshot = shelf.join(text(&scene.first["id"]));
    for folder in [
        &root,
        &root.join("VirtualDisks"),
        &root.join("VirtualMachines"),
        &shelf,
        &snapshot,
    ] {
        std::fs::write(folder.join("canary.img"), "THE CANARY").unwrap();
    }
    let before = scene.node.snapshot_files();
    let token = &scene.api.token;
    let (vm, own) = (&scene.vm.id, text(&scene.first["id"]));
    let mut wire = Dialler::of(&scene.node).open().await.unwrap();
    for id in malformed() {
        for path in [
            format!("/vms/{id}"),
            format!("/vms/{id}/snapshots"),
            format!("/vms/{vm}/snapshots/{id}"),
            format!("/vms/{vm}/snapshots/{id}/disks/canary.img"),
            format!("/vms/{vm}/snapshots/{own}/disks/{id}"),
        ] {
            let answer = ask(&mut wire, token, "GET", &path).await;
            assert_harmless(&answer, &path);
            assert_eq!(answer.error(404).0, "Not Found", "{path}");
            let answer = ask(&mut wire, token, "HEAD", &path).await;
            assert_eq!(answer.status, 404, "{path}");
        }
        // A snapshot that is there, of a machine that is not: it is another one's.
        let path = format!("/vms/{id}/snapshots/{own}/disks/canary.img");
        let answer = ask(&mut wire, token, "GET", &path).await;
        assert_harmless(&answer, &path);
        assert!([404, 409].contains(&answer.status), "{path}: {answer:?}");
        for method in ["POST", "DELETE"] {
            let path = format!("/vms/{id}/snapshots");
            let answer = ask(&mut wire, token, method, &path).await;
            assert_eq!(answer.error(404).0, "Not Found", "{path}");
        }
        // What is not there is deleted already, or cannot be named.
        let path = format!("/vms/{vm}/snapshots/{id}");
        let answer = ask(&mut wire, token, "DELETE", &path).await;
        assert!([200, 404].contains(&answer.status), "{path}: {answer:?}");
    }
    // Names of files that lie beside the disks in the snapshot's own folder.
    for name in [
        "canary.img",
        "manifest.json",
        ".manifest.json.new",
        "manifest.json%00.img",
    ] {
        let path = format!("/vms/{vm}/snapshots/{own}/disks/{name}");
        let answer = ask(&mut wire, token, "GET", &path).await;
        assert_harmless(&answer, &path);
        answer.error(404);
    }
    assert_eq!(scene.node.snapshot_files(), before, "nothing was removed");
    assert!(root.join("VirtualDisks/canary.img").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn malformed_bases_find_nothing() {
    let scene = Scene::set().await;
    let mut wire = Dialler::of(&scene.node).open().await.unwrap();
    let path = scene.path(&scene.second);
    for id in malformed() {
        let path = format!("{path}?compareTo={id}");
        let answer = ask(&mut wire, &scene.api.token, "GET", &path).await;
        assert_harmless(&answer, &path);
        let (error, details) = answer.error(404);
        assert_eq!(error, "Not Found", "{path}");
        assert!(details.contains("base"), "{details}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_paths_are_not_found() {
    let scene = Scene::set().await;
    let mut wire = Dialler::of(&scene.node).open().await.unwrap();
    for target in [
        "/",
        "/api",
        "/api/v1",
        "/api/v1/",
        "/api/v2/vms",
        "/api/v1/vms//",
        "/api/v1/vms//snapshots",
        "/api/v1/vms/a/b",
        "/api/v1/auth",
        "/api/v1/auth/logout",
        "/api/v1/auth/login/x",
        "//api/v1/vms",
        "/api/v1/../v1/vms",
        "/api/v1/vms/..%2f..",
        "/metrics/x",
        "/%00",
    ] {
        let headers = format!("Authorization: Bearer {}\r\n", scene.api.token);
        let answer = wire.ask("GET", target, &headers).await.unwrap();
        assert_eq!(answer.error(404).0, "Not Found", "{target}");
    }
}
