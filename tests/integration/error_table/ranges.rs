//! Byte ranges of a disk.

use coriolis_ovm_exporter::operations::demo::guest::Random;
use reqwest::Method;

use super::Scene;
use crate::support::api::Answer;

const SIZE: usize = 1 << 20;

#[tokio::test(flavor = "multi_thread")]
async fn every_form_of_one_range() {
    let scene = Scene::set().await;
    let (disk, bytes) = (scene.disk(&scene.second), scene.bytes(&scene.second));
    assert_eq!(bytes.len(), SIZE);
    for (range, first, last) in [
        ("bytes=0-0", 0, 0),
        ("bytes=0-4095", 0, 4095),
        ("bytes=1-4096", 1, 4096),
        ("bytes=262143-266241", 262_143, 266_241),
        ("bytes=786431-786433", 786_431, 786_433),
        ("bytes=1048575-1048575", SIZE - 1, SIZE - 1),
        ("bytes=1000000-", 1_000_000, SIZE - 1),
        ("bytes=0-", 0, SIZE - 1),
        ("bytes=-1", SIZE - 1, SIZE - 1),
        ("bytes=-300001", SIZE - 300_001, SIZE - 1),
        ("bytes=-99999999999", 0, SIZE - 1),
        ("bytes=1048000-99999999999", 1_048_000, SIZE - 1),
        ("bytes=5-18446744073709551615", 5, SIZE - 1),
    ] {
        for slash in ["", "/"] {
            let path = format!("{disk}{slash}");
            for method in [Method::GET, Method::HEAD] {
                let headers = [("range", range)];
                let answer = scene.api.send(method.clone(), &path, &headers).await;
                assert_eq!(answer.status, 206, "{range}");
                assert_eq!(
                    answer.header("content-range"),
                    format!("bytes {first}-{last}/{SIZE}"),
                    "{range}"
                );
                let length = (last - first + 1).to_string();
                assert_eq!(answer.header("content-length"), length, "{range}");
                let expected = match method {
                    Method::GET => &bytes[first..=last],
                    _ => &[],
                };
                assert!(answer.body == expected, "{method} {range}: wrong bytes");
            }
        }
    }
    // A header that is no range is ignored.
    for range in ["bytes=5-1", "bytes=x-y", "lines=0-1", "bytes", "bytes="] {
        let answer = scene
            .api
            .send(Method::GET, &disk, &[("range", range)])
            .await;
        assert_eq!(answer.status, 200, "{range}");
        assert!(answer.body == bytes);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_range_outside_is_not_satisfiable() {
    let scene = Scene::set().await;
    let disk = scene.disk(&scene.first);
    for range in [
        "bytes=1048576-",
        "bytes=1048576-1048577",
        "bytes=99999999999999999999-",
        "bytes=-0",
        "bytes=2000000-3000000,4000000-",
    ] {
        let headers = [("range", range)];
        let answer = scene.api.send(Method::GET, &disk, &headers).await;
        assert_eq!(answer.error(416).0, "Range Not Satisfiable");
        assert_eq!(answer.header("content-range"), format!("bytes */{SIZE}"));
        let answer = scene.api.send(Method::HEAD, &disk, &headers).await;
        assert_eq!(answer.status, 416);
        assert_eq!(answer.header("content-range"), format!("bytes */{SIZE}"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_disk_is_read_like_any_other() {
    let scene = Scene::set().await;
    let vm = scene.node.machine(0, 7, &[0]);
    let snapshot = scene.api.snapshot(&vm.id).await;
    let (id, name) = (&snapshot["id"], &snapshot["disks"][0]["name"]);
    let path = format!(
        "/vms/{}/snapshots/{}/disks/{}",
        vm.id,
        id.as_str().unwrap(),
        name.as_str().unwrap()
    );
    for method in [Method::GET, Method::HEAD] {
        let answer = scene.api.send(method.clone(), &path, &[]).await;
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("content-length"), "0");
        assert!(answer.body.is_empty());
        for range in ["bytes=0-", "bytes=0-0", "bytes=-1"] {
            let headers = [("range", range)];
            let answer = scene.api.send(method.clone(), &path, &headers).await;
            assert_eq!(answer.status, 416, "{range}");
            assert_eq!(answer.header("content-range"), "bytes */0");
        }
    }
}

/// The parts of a `multipart/byteranges` body: first and last byte, bytes.
fn parts(answer: &Answer) -> Vec<(usize, usize, Vec<u8>)> {
    let kind = answer.header("content-type");
    let boundary = kind
        .strip_prefix("multipart/byteranges; boundary=")
        .unwrap_or_else(|| panic!("{kind}"));
    let mut rest: &[u8] = &answer.body;
    let mut parts = Vec::new();
    let mut delimiter = format!("--{boundary}");
    loop {
        rest = rest
            .strip_prefix(delimiter.as_bytes())
            .expect("a delimiter");
        if let Some(end) = rest.strip_prefix(b"--") {
            assert!(end.is_empty() || end == b"\r\n", "{end:?}");
            return parts;
        }
        rest = rest.strip_prefix(b"\r\n").expect("a line's end");
        let head_end = rest.windows(4).position(|window| window == b"\r\n\r\n");
        let (head, body) = rest.split_at(head_end.expect("a part's head") + 4);
        let head = std::str::from_utf8(head).unwrap();
        let range = head
            .lines()
            .find_map(|line| line.strip_prefix("Content-Range: bytes "))
            .expect("Content-Range");
        let (range, size) = range.split_once('/').unwrap();
        assert_eq!(size, SIZE.to_string());
        let (first, last) = range.split_once('-').unwrap();
        let (first, last): (usize, usize) = (first.parse().unwrap(), last.parse().unwrap());
        assert!(head.contains("Content-Type: application/octet-stream"));
        let (bytes, after) = body.split_at(last - first + 1);
        parts.push((first, last, bytes.to_vec()));
        rest = after;
        delimiter = format!("\r\n--{boundary}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn several_ranges_come_as_parts() {
    let scene = Scene::set().await;
    let (disk, bytes) = (scene.disk(&scene.second), scene.bytes(&scene.second));
    let seed: u64 = rand::random();
    println!("seed {seed}");
    let mut random = Random::new(seed);
    for count in [2, 3, 50] {
        let wanted: Vec<(usize, usize)> = (0..count)
            .map(|_| {
                let first = usize::try_from(random.below(SIZE as u64)).unwrap();
                let length = usize::try_from(random.below((SIZE / 60) as u64)).unwrap();
                (first, (first + length).min(SIZE - 1))
            })
            .collect();
        let list: Vec<String> = wanted.iter().map(|(a, b)| format!("{a}-{b}")).collect();
        let range = format!("bytes={}", list.join(", "));
        let headers = [("range", range.as_str())];
        let answer = scene.api.send(Method::GET, &disk, &headers).await;
        assert_eq!(answer.status, 206, "seed {seed}");
        assert_eq!(
            answer.header("content-length"),
            answer.body.len().to_string()
        );
        assert_eq!(answer.header("content-range"), "");
        let expected: Vec<_> = wanted
            .iter()
            .map(|&(first, last)| (first, last, bytes[first..=last].to_vec()))
            .collect();
        assert!(parts(&answer) == expected, "seed {seed}: wrong parts");
        let head = scene.api.send(Method::HEAD, &disk, &headers).await;
        assert_eq!(head.status, 206);
        assert_eq!(
            head.header("content-length"),
            answer.header("content-length")
        );
    }
    // A suffix, an open one, one that is clamped, and one outside, which is left out.
    let headers = [("range", "bytes=0-1,-5,1048570-,1048000-2000000,1048576-")];
    let answer = scene.api.send(Method::GET, &disk, &headers).await;
    let found: Vec<_> = parts(&answer).into_iter().map(|(a, b, _)| (a, b)).collect();
    let end = SIZE - 1;
    assert_eq!(
        found,
        [(0, 1), (SIZE - 5, end), (1_048_570, end), (1_048_000, end)]
    );
    // One that is left over is no multipart.
    let headers = [("range", "bytes=3-9,1048576-")];
    let answer = scene.api.send(Method::GET, &disk, &headers).await;
    assert_eq!(answer.header("content-range"), format!("bytes 3-9/{SIZE}"));
    // Ranges that add up to more than the disk are answered with the disk.
    let headers = [("range", "bytes=0-,0-,0-")];
    let answer = scene.api.send(Method::GET, &disk, &headers).await;
    assert_eq!(answer.status, 200);
    assert!(answer.body == bytes);
}
