//! Proof that `config.toml.example` tells the truth.

use std::path::{Path, PathBuf};

use toml::de::DeTable;

use super::document::parse;
use super::keys;
use super::settings::{Config, MinFree};

const EXAMPLE: &str = include_str!("../../config.toml.example");
const FILE: &str = "config.toml.example";

/// Keys without a default; the example shows what they may look like.
const NO_DEFAULT: [&str; 12] = [
    "ovm_endpoint",
    "ovm_ca_certificate",
    "log_file",
    "jwt.secret",
    "api.tls.certificate",
    "api.tls.key",
    "api.tls.ca_certificate",
    "snapshots.min_free",
    "snapshots.before_snapshot",
    "snapshots.after_snapshot",
    "metrics.bind",
    "metrics.token_file",
];

/// The example with every commented key switched on.
fn switched_on() -> String {
    EXAMPLE
        .lines()
        .map(|line| match line.strip_prefix('#') {
            Some(rest) if rest.starts_with(|c: char| c.is_ascii_lowercase()) => rest,
            _ => line,
        })
        .collect::<Vec<_>>()
        .join("\n")
}

/// The configuration without the settings that have no default.
fn only_defaults(mut config: Config) -> Config {
    config.ovm_endpoint = None;
    config.ovm_ca_certificate = None;
    config.log_file = None;
    config.jwt.secret = None;
    config.api.tls.certificate = None;
    config.api.tls.key = None;
    config.api.tls.ca_certificate = None;
    config.snapshots.min_free = MinFree::Auto;
    config.snapshots.before_snapshot = Vec::new();
    config.snapshots.after_snapshot = Vec::new();
    config.metrics.bind = None;
    config.metrics.token_file = None;
    config
}

#[test]
fn as_shipped_it_is_the_defaults_with_a_certificate() {
    let loaded = parse(EXAMPLE.as_bytes(), Path::new(FILE)).unwrap();
    assert_eq!(loaded.warnings, []);
    let mut expected = Config::default();
    let folder = PathBuf::from("/etc/coriolis-ovm-exporter");
    expected.api.tls.certificate = Some(folder.join("srv-pub.pem"));
    expected.api.tls.key = Some(folder.join("srv-key.pem"));
    assert_eq!(loaded.config, expected);
    loaded.identity().unwrap();
}

#[test]
fn every_default_shown_is_the_default() {
    let loaded = parse(switched_on().as_bytes(), Path::new(FILE)).unwrap();
    // The one key that is of use only where another one has not its default.
    let keys: Vec<_> = loaded.warnings.iter().map(|one| &one.key).collect();
    assert_eq!(keys, [&Some("api.tls.ca_certificate".to_owned())]);
    assert_eq!(only_defaults(loaded.config), Config::default());
}

#[test]
fn every_key_is_shown_and_every_one_without_a_default_says_so() {
    let text = switched_on();
    let document = DeTable::parse(&text).unwrap();
    let (_, notes) = keys::read(document.get_ref());
    let shown: Vec<&String> = notes.offsets.keys().collect();
    let mut known: Vec<&String> = notes.known.iter().collect();
    known.sort();
    assert_eq!(shown, known);
    assert!(known.len() > 25, "{known:?}");

    for key in NO_DEFAULT {
        assert!(known.iter().any(|known| *known == key), "{key}");
        // The comment is what stands above the key, up to an empty line.
        let before = &text[..notes.offsets[key]];
        let comment = before.rsplit("\n\n").next().unwrap();
        let says_so = comment.contains("No default") || comment.contains("Required");
        assert!(says_so, "{key}: {comment}");
    }
}

#[test]
fn the_defaults_themselves_are_the_documented_ones() {
    // Against a slip in both the example and the code: the figures of the first generation.
    let config = Config::default();
    assert_eq!(
        config.db_file,
        Path::new("/etc/coriolis-ovm-exporter/exporter.db")
    );
    assert_eq!(config.jwt.time_to_live.as_secs(), 7 * 24 * 3600);
    assert_eq!(config.api.listen_address().to_string(), "0.0.0.0:5544");
}

#[test]
fn the_public_sample_secret_is_not_shipped() {
    assert!(!EXAMPLE.contains("yoidthOcBauph"));
}
