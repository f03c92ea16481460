//! Forms of requests: methods, HEAD, query parameters, request ids.

use reqwest::Method;
use serde_json::{Value, json};

use super::Scene;
use crate::support::api::text;

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_method_is_told_the_right_ones() {
    let scene = Scene::set().await;
    let snapshots = format!("/vms/{}/snapshots", scene.vm.id);
    let reading = "GET,HEAD";
    for (path, allowed) in [
        ("/auth/login".to_owned(), "POST"),
        ("/node".to_owned(), reading),
        ("/snapshots".to_owned(), reading),
        ("/vms".to_owned(), reading),
        (format!("/vms/{}", scene.vm.id), reading),
        (snapshots, "DELETE,GET,HEAD,POST"),
        (scene.path(&scene.first), "DELETE,GET,HEAD,PATCH"),
        (scene.disk(&scene.first), reading),
    ] {
        for method in [
            Method::GET,
            Method::POST,
            Method::PUT,
            Method::DELETE,
            Method::PATCH,
            Method::OPTIONS,
        ] {
            if allowed.split(',').any(|allowed| allowed == method.as_str()) {
                continue;
            }
            for slash in ["", "/"] {
                let path = format!("{path}{slash}");
                let answer = scene.api.send(method.clone(), &path, &[]).await;
                assert_eq!(answer.error(405).0, "Method Not Allowed", "{method} {path}");
                let mut allow: Vec<&str> = answer.header("allow").split(',').collect();
                allow.sort_unstable();
                assert_eq!(allow.join(","), allowed, "{method} {path}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn head_answers_as_get_does_without_the_body() {
    let scene = Scene::set().await;
    for path in [
        "/node".to_owned(),
        "/vms".to_owned(),
        format!("/vms/{}", scene.vm.id),
        format!("/vms/{}/snapshots", scene.vm.id),
        scene.path(&scene.first),
        format!(
            "{}?compareTo={}",
            scene.path(&scene.second),
            text(&scene.first["id"])
        ),
        scene.disk(&scene.first),
    ] {
        for slash in ["", "/"] {
            let path = match path.split_once('?') {
                Some((path, query)) => format!("{path}{slash}?{query}"),
                None => format!("{path}{slash}"),
            };
            let (get, head) = (scene.api.get(&path).await, scene.api.head(&path).await);
            assert_eq!((get.status, head.status), (200, 200), "{path}");
            assert!(head.body.is_empty());
            for name in ["content-type", "content-length", "etag", "accept-ranges"] {
                assert_eq!(head.header(name), get.header(name), "{name} of {path}");
            }
            // The list is written as it is read: nobody knows its length before.
            let length = if path.trim_end_matches('/').ends_with("/snapshots") {
                String::new()
            } else {
                get.body.len().to_string()
            };
            assert_eq!(head.header("content-length"), length, "{path}");
        }
    }
}

fn chunks(snapshot: &Value) -> Vec<[u64; 3]> {
    let number = |chunk: &Value, name: &str| chunk[name].as_u64().unwrap();
    snapshot["disks"][0]["chunks"]
        .as_array()
        .unwrap()
        .iter()
        .map(|chunk| ["start", "length", "physical_start"].map(|name| number(chunk, name)))
        .collect()
}

/// Start, length and place of every extent, as `filefrag` of e2fsprogs prints them.
fn filefrag(file: &std::path::Path) -> Vec<[u64; 3]> {
    let output = std::process::Command::new("filefrag")
        .args(["-v", "-b512"])
        .arg(file)
        .output()
        .expect("filefrag cannot be started: install the package e2fsprogs");
    let text = String::from_utf8(output.stdout).unwrap();
    let rows = text.lines().filter_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        fields.first()?.trim().parse::<u32>().ok()?;
        let first = |field: &str| field.split("..").next()?.trim().parse::<u64>().ok();
        Some([first(fields[1])?, first(fields[3])?, first(fields[2])?].map(|n| n * 512))
    });
    rows.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn chunks_are_squashed_unless_any_spelling_of_false_says_otherwise() {
    let scene = Scene::set().await;
    let path = scene.path(&scene.second);
    let raw = filefrag(&super::file_of(&scene.second));
    assert!(raw.len() >= 3, "one write has split the extent: {raw:?}");
    let squashed = [[0, 768 << 10, raw[0][2]]];
    for spelling in ["", "True", "true", "TRUE", "t", "T", "1", "yes", "on"] {
        let answer = scene
            .api
            .json(&format!("{path}?squashChunks={spelling}"))
            .await;
        assert_eq!(chunks(&answer), squashed, "{spelling}");
    }
    assert_eq!(chunks(&scene.api.json(&path).await), squashed);
    for spelling in ["False", "false", "FALSE", "f", "F", "0", "no", "off"] {
        let answer = scene
            .api
            .json(&format!("{path}?squashChunks={spelling}"))
            .await;
        assert_eq!(chunks(&answer), raw, "{spelling}");
    }
    for spelling in ["2", "maybe", "truee", "null", "%00", "-1"] {
        let answer = scene
            .api
            .get(&format!("{path}?squashChunks={spelling}"))
            .await;
        let (error, details) = answer.error(400);
        assert_eq!(error, "Bad Request");
        assert!(details.contains("squashChunks"), "{details}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn query_parameters_that_mean_nothing_are_bad_requests() {
    let scene = Scene::set().await;
    let path = scene.path(&scene.second);
    let base = text(&scene.first["id"]);
    for query in [
        // A variable that was not set must not become a full copy.
        "compareTo=".to_owned(),
        format!("compareTo={base}&refine=maybe"),
        format!("compareTo={base}&refine=512"),
        "refine=x".to_owned(),
    ] {
        let answer = scene.api.get(&format!("{path}?{query}")).await;
        assert_eq!(answer.error(400).0, "Bad Request", "{query}");
    }
    // Which of the two is meant?
    for (query, name) in [
        (format!("compareTo={base}&compareTo={base}"), "compareTo"),
        (
            "squashChunks=true&squashChunks=false".to_owned(),
            "squashChunks",
        ),
        ("x=1&x=2&refine=auto&%72efine=auto".to_owned(), "refine"),
    ] {
        let (_, details) = scene.api.get(&format!("{path}?{query}")).await.error(400);
        assert_eq!(
            details,
            format!("the parameter {name} is there twice; give it once"),
            "{query}"
        );
    }
    for query in [
        format!("compareTo={base}&x=1&x=2"),
        format!("compareTo={base}&refine=none"),
        format!("compareTo={base}&refine=auto"),
        format!("compareTo={base}&refine=4096"),
        format!("compareTo={base}&unknown=1"),
    ] {
        let compared = scene.api.json(&format!("{path}?{query}")).await;
        let changed = &chunks(&compared)[0][..2];
        assert_eq!(changed, [256 << 10, 4096], "{query}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_has_the_id_of_its_request() {
    let scene = Scene::set().await;
    let disk = scene.disk(&scene.first);
    for path in ["/vms", "/vms/unknown", "/nowhere", &disk] {
        let headers = [("x-request-id", "orchestrator-7.a_b")];
        let answer = scene.api.send(Method::GET, path, &headers).await;
        assert_eq!(
            answer.header("x-request-id"),
            "orchestrator-7.a_b",
            "{path}"
        );
    }
    assert!(scene.node.log().contains("orchestrator-7.a_b"));
    let made = scene.api.get("/vms").await;
    let again = scene.api.get("/vms").await;
    assert_eq!(made.header("x-request-id").len(), 36);
    assert_ne!(made.header("x-request-id"), again.header("x-request-id"));
    let long = "x".repeat(200);
    for bad in ["two words", "a\"b", "a=b", long.as_str()] {
        let headers = [("x-request-id", bad)];
        let answer = scene.api.send(Method::GET, "/vms", &headers).await;
        assert_eq!(answer.header("x-request-id").len(), 36, "{bad}");
        assert!(!scene.node.log().contains(bad), "{bad}");
    }
    let refused = [("authorization", "x"), ("x-request-id", "mine")];
    let answer = scene.api.send(Method::GET, "/vms", &refused).await;
    assert_eq!(
        (answer.status, answer.header("x-request-id")),
        (401, "mine")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_without_snapshots_has_lists_and_no_nulls() {
    let scene = Scene::set().await;
    let vm = scene.node.machine(0, 9, &[0, 4096]);
    let shown = scene.api.json(&format!("/vms/{}", vm.id)).await;
    assert_eq!(shown["snapshots"], json!([]));
    let path = format!("/vms/{}/snapshots", vm.id);
    assert_eq!(scene.api.json(&path).await, json!([]));
    let snapshot = scene.api.snapshot(&vm.id).await;
    for disk in snapshot["disks"].as_array().unwrap() {
        assert_eq!(disk["chunks"], json!([]), "nothing is allocated");
    }
    let next = scene.api.snapshot(&vm.id).await;
    let compared = scene.api.compare(&vm.id, &next, &snapshot).await;
    for disk in compared["disks"].as_array().unwrap() {
        assert_eq!(disk["chunks"], json!([]), "nothing has changed");
    }
}
