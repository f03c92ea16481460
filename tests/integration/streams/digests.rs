//! Digests are those of the plain bytes.

use std::fs;

use super::super::comparison::guest::Guest;
use super::super::comparison::house::{must, text};
use super::super::comparison::seed::Seed;
use super::super::support::node::Kind;
use super::scene::Scene;

fn of(algorithm: &str, bytes: &[u8]) -> String {
    match algorithm {
        "blake3" => blake3::hash(bytes).to_hex().to_string(),
        "xxh3" => format!("{:032x}", xxhash_rust::xxh3::xxh3_128(bytes)),
        _ => {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("bytes");
            fs::write(&path, bytes).unwrap();
            must("sha256sum", &[text(&path)])[..64].to_owned()
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn digests_are_those_of_the_plain_bytes() {
    let seed = Seed::choose();
    for kind in [Kind::Xfs, Kind::BtrfsCompressed] {
        let scene = Scene::set(kind).await;
        let mut guest = Guest::new(kind, scene.disk.clone(), seed.random());
        let first = scene.take().await;
        guest.work(None);
        let second = scene.take().await;
        for algorithm in ["sha256", "blake3", "xxh3"] {
            for (taken, block) in [(&first, 1 << 20), (&second, 65_536 + 4096)] {
                let size = taken.bytes.len();
                let query = format!("algorithm={algorithm}&block={block}");
                let answer = scene.get(taken, "digests", &query).await.json();
                assert_eq!(answer["algorithm"], algorithm);
                assert_eq!(answer["size"], size);
                assert_eq!(answer["block"], block);
                assert_eq!(answer["whole"], of(algorithm, &taken.bytes), "{algorithm}");
                let digests = answer["digests"].as_array().unwrap();
                assert_eq!(digests.len(), size.div_ceil(block));
                for at in [0, digests.len() / 2, digests.len().saturating_sub(1)] {
                    let Some(found) = digests.get(at) else {
                        continue;
                    };
                    let bytes = &taken.bytes[at * block..size.min((at + 1) * block)];
                    assert_eq!(*found, of(algorithm, bytes), "block {at}");
                }
            }
        }
        let query = format!("compareTo={}", first.id);
        let answer = scene.get(&second, "digests", &query).await.json();
        assert_eq!(answer["algorithm"], "sha256", "where none is named");
        assert_eq!(answer["whole"], of("sha256", &second.bytes));
        assert_eq!(answer["digests"].as_array().unwrap().len(), 0);
        assert_eq!(answer["block"], serde_json::Value::Null);
    }
}
