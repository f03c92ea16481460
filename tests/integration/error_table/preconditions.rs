//! `ETag`, `If-None-Match`, `If-Range`.

use reqwest::Method;

use super::Scene;

#[tokio::test(flavor = "multi_thread")]
async fn each_disk_of_each_snapshot_has_a_strong_tag_of_its_own() {
    let mut scene = Scene::set().await;
    let (first, second) = (scene.disk(&scene.first), scene.disk(&scene.second));
    let tag = scene.api.head(&first).await.header("etag").to_owned();
    assert!(tag.starts_with('"') && tag.ends_with('"'), "strong: {tag}");
    assert_ne!(scene.api.head(&second).await.header("etag"), tag);
    let vm = scene.node.machine(0, 8, &[4096, 4096]);
    let two = scene.api.snapshot(&vm.id).await;
    let mut tags = Vec::new();
    for disk in two["disks"].as_array().unwrap() {
        let path = format!(
            "/vms/{}/snapshots/{}/disks/{}",
            vm.id,
            two["id"].as_str().unwrap(),
            disk["name"].as_str().unwrap()
        );
        tags.push(scene.api.head(&path).await.header("etag").to_owned());
    }
    assert_ne!(tags[0], tags[1]);
    // A restart changes nothing about the bytes.
    scene.node.stop();
    scene.node.start();
    let api = crate::support::api::Api::of(&scene.node).await;
    assert_eq!(api.head(&first).await.header("etag"), tag);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_client_has_already_is_not_modified() {
    let scene = Scene::set().await;
    let disk = scene.disk(&scene.first);
    let tag = scene.api.head(&disk).await.header("etag").to_owned();
    let listed = format!("\"x\", {tag}");
    for (held, expected) in [
        (tag.as_str(), 304),
        ("*", 304),
        (listed.as_str(), 304),
        ("\"another\"", 200),
    ] {
        for method in [Method::GET, Method::HEAD] {
            let headers = [("if-none-match", held)];
            let answer = scene.api.send(method.clone(), &disk, &headers).await;
            assert_eq!(answer.status, expected, "{method} {held}");
            assert_eq!(answer.header("etag"), tag);
            assert_eq!(answer.body.is_empty(), expected == 304 || method == "HEAD");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_range_goes_on_only_in_the_same_bytes() {
    let scene = Scene::set().await;
    let (disk, bytes) = (scene.disk(&scene.first), scene.bytes(&scene.first));
    let (tag, weak, other) = {
        let tag = scene.api.head(&disk).await.header("etag").to_owned();
        let other = scene.api.head(&scene.disk(&scene.second)).await;
        (
            tag.clone(),
            format!("W/{tag}"),
            other.header("etag").to_owned(),
        )
    };
    let date = "Fri, 01 Jan 2100 00:00:00 GMT";
    for (held, expected) in [
        (tag.as_str(), 206),
        (weak.as_str(), 200),
        (other.as_str(), 200),
        (date, 200),
    ] {
        let headers = [("range", "bytes=100-199"), ("if-range", held)];
        let answer = scene.api.send(Method::GET, &disk, &headers).await;
        assert_eq!(answer.status, expected, "{held}");
        let all = expected == 200;
        let right = if all { &bytes[..] } else { &bytes[100..200] };
        assert!(answer.body == right, "{held}: wrong bytes");
    }
    // Outside, but of other bytes: the whole.
    let headers = [("range", "bytes=99999999-"), ("if-range", other.as_str())];
    let answer = scene.api.send(Method::GET, &disk, &headers).await;
    assert_eq!(answer.status, 200);
}
