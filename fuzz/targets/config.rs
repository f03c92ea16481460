//! The text of a configuration, with mistakes. None may show the secret or loosen a limit.

#![no_main]

use std::path::Path;
use std::time::Duration;

use coriolis_ovm_exporter::config::{
    Config, ConfigError, Loaded, MinFree, Problem, Severity, Toolstack, parse,
};
use libfuzzer_sys::fuzz_target;

const FILE: &str = "config.toml";
const SECRET: &str = "Rmh0cHVRb3JkZXJsYW5kU2VjcmV0VGhhdE5vYm9keVNlZXM";

fuzz_target!(|bytes: &[u8]| {
    match parse(bytes, Path::new(FILE)) {
        Ok(loaded) => {
            check(&loaded.config);
            assert!(
                loaded
                    .warnings
                    .iter()
                    .all(|p| p.severity == Severity::Warning)
            );
            check_problems(&loaded.warnings, bytes);
        }
        Err(ConfigError::Invalid { problems }) => {
            assert!(!problems.is_empty());
            assert!(problems.iter().all(|p| p.severity == Severity::Error));
            check_problems(&problems, bytes);
        }
        Err(error) => panic!("nothing was opened: {error}"),
    }

    // Whatever stands before it, the secret is in no message.
    let with_secret = [
        bytes,
        format!("\n[jwt]\nsecret = \"{SECRET}\"\n").as_bytes(),
    ]
    .concat();
    let said = match parse(&with_secret, Path::new(FILE)) {
        Ok(Loaded {
            config, warnings, ..
        }) => format!("{config:?} {warnings:?}"),
        Err(error) => format!("{error} {error:?}"),
    };
    assert!(!said.contains(&SECRET[..8]), "{said}");
});

/// In the order of the file, inside it, and not too many to read.
fn check_problems(problems: &[Problem], bytes: &[u8]) {
    assert!(problems.len() <= 101, "{} problems", problems.len());
    let lines = bytes.split(|byte| *byte == b'\n').count();
    let places: Vec<_> = problems
        .iter()
        .filter_map(|problem| problem.place)
        .collect();
    assert!(places.is_sorted(), "{places:?}");
    assert!(places.iter().all(|place| (1..=lines).contains(&place.line)));
    assert!(places.iter().all(|place| place.column >= 1));
}

/// What the documentation of each setting says.
fn check(config: &Config) {
    assert!(!config.db_file.as_os_str().is_empty());
    assert!(!config.agent_db_dir.as_os_str().is_empty());
    if let Some(endpoint) = &config.ovm_endpoint {
        assert!(endpoint.starts_with("https://"), "{endpoint}");
        assert!(
            !endpoint.ends_with('/') && !endpoint.contains('#'),
            "{endpoint}"
        );
    }
    if let Toolstack::Program(path) = &config.toolstack {
        assert!(path.is_absolute(), "{path:?}");
    }
    assert!(config.jwt.time_to_live >= Duration::from_secs(1));

    let tls = &config.api.tls;
    assert!(tls.ca_certificate.is_some() || !tls.require_client_certificate);
    let limits = &config.api.limits;
    assert!((1..=1_000_000).contains(&limits.max_connections));
    assert!((1 << 10..=16 << 20).contains(&limits.max_body));
    for timeout in [
        limits.handshake_timeout,
        limits.header_timeout,
        limits.idle_timeout,
        limits.stall_timeout,
    ] {
        assert!(timeout >= Duration::from_millis(1), "{timeout:?}");
    }
    assert!(config.api.login.max_failures >= 1);

    assert!(config.snapshots.recover_interval >= Duration::from_secs(1));
    if let MinFree::HundredthsOfPercent(share) = config.snapshots.min_free {
        assert!(share <= 10_000, "{share}");
    }
}
