//! What a changed file changes: some settings at once, others with the next start.

use super::settings::{Api, Config, Jwt};

/// A key that has another value than before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Change {
    /// With its sections: `api.port`.
    pub key: &'static str,
    /// Only the next start takes it up.
    pub restart: bool,
}

/// The keys that differ.
#[must_use]
pub fn changes(old: &Config, new: &Config) -> Vec<Change> {
    table(old, new)
        .into_iter()
        .filter(|(_, differs, _)| *differs)
        .map(|(key, _, restart)| Change { key, restart })
        .collect()
}

/// What holds when a running daemon has taken up what it can.
#[must_use]
pub fn in_force(old: &Config, new: &Config) -> Config {
    Config {
        db_file: old.db_file.clone(),
        agent_db_dir: old.agent_db_dir.clone(),
        toolstack: old.toolstack.clone(),
        log_format: old.log_format,
        jwt: Jwt {
            secret: old.jwt.secret.clone(),
            ..new.jwt.clone()
        },
        api: Api {
            bind: old.api.bind,
            port: old.api.port,
            limits: old.api.limits,
            ..new.api.clone()
        },
        metrics: old.metrics.clone(),
        ..new.clone()
    }
}

const AT_ONCE: bool = false;
const RESTART: bool = true;

/// Every key, whether it differs, and whether it needs a restart.
fn table(old: &Config, new: &Config) -> Vec<(&'static str, bool, bool)> {
    let mut table = Vec::new();
    macro_rules! keys {
        ($when:ident: $($($name:ident).+),+ $(,)?) => {
            $({
                let key = concat!($(".", stringify!($name)),+).trim_start_matches('.');
                table.push((key, old.$($name).+ != new.$($name).+, $when));
            })+
        };
    }
    keys!(RESTART:
        db_file,
        agent_db_dir,
        toolstack,
        log_format,
        jwt.secret,
        api.bind,
        api.port,
        api.limits.max_connections,
        api.limits.max_body,
        api.limits.handshake_timeout,
        api.limits.header_timeout,
        api.limits.idle_timeout,
        api.limits.stall_timeout,
        api.limits.shutdown_grace,
        metrics.bind,
        metrics.token_file,
    );
    keys!(AT_ONCE:
        ovm_endpoint,
        ovm_ca_certificate,
        ovm_legacy_tls,
        log_file,
        log_level,
        log_max_size,
        log_max_files,
        log_max_age,
        jwt.time_to_live,
        api.tls.certificate,
        api.tls.key,
        api.tls.ca_certificate,
        api.tls.require_client_certificate,
        api.login.max_failures,
        api.login.slow_down,
        snapshots.min_free,
        snapshots.immutable,
        snapshots.lock_timeout,
        snapshots.storage_timeout,
        snapshots.max_snapshots_per_vm,
        snapshots.recover_interval,
        snapshots.consistency,
        snapshots.max_pause,
        snapshots.before_snapshot,
        snapshots.after_snapshot,
        snapshots.command_timeout,
    );
    table
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use toml::de::DeTable;

    use super::*;
    use crate::config::{keys, parse};

    /// Another value than the default for each key.
    const OTHER: &str = r#"
        db_file = "/x"
        agent_db_dir = "/x"
        toolstack = "/x"
        ovm_endpoint = "https://x:1"
        ovm_ca_certificate = "/x"
        ovm_legacy_tls = true
        log_file = "/x"
        log_level = "trace"
        log_format = "json"
        log_max_size = 0
        log_max_files = 0
        log_max_age = "0s"
        [jwt]
        secret = "another one"
        time_to_live = "1h"
        [api]
        bind = "127.0.0.1"
        port = 1
        [api.tls]
        certificate = "/x"
        key = "/x"
        ca_certificate = "/x"
        require_client_certificate = true
        [api.limits]
        max_connections = 1
        max_body = "1KiB"
        handshake_timeout = "1s"
        header_timeout = "1s"
        idle_timeout = "1s"
        stall_timeout = "1s"
        shutdown_grace = "1s"
        [api.login]
        max_failures = 1
        slow_down = "1s"
        [snapshots]
        min_free = "1KiB"
        immutable = false
        lock_timeout = "1s"
        storage_timeout = "1s"
        max_snapshots_per_vm = 1
        recover_interval = "1s"
        consistency = "command"
        max_pause = "1s"
        before_snapshot = ["/x"]
        after_snapshot = ["/x"]
        command_timeout = "1s"
        [metrics]
        bind = "127.0.0.1:1"
        token_file = "/x"
    "#;

    fn sorted(changes: &[Change]) -> Vec<&str> {
        let mut keys: Vec<&str> = changes.iter().map(|change| change.key).collect();
        keys.sort_unstable();
        keys
    }

    #[test]
    fn every_key_is_noticed_when_it_changes() {
        let document = DeTable::parse(OTHER).unwrap();
        let (_, notes) = keys::read(document.get_ref());
        let mut known: Vec<&str> = notes.known.iter().map(AsRef::as_ref).collect();
        known.sort_unstable();
        let other = parse(OTHER.as_bytes(), Path::new("other")).unwrap().config;
        let changes = changes(&Config::default(), &other);
        assert_eq!(sorted(&changes), known);
    }

    #[test]
    fn what_is_taken_up_is_in_force_and_the_rest_is_named_again() {
        let old = Config::default();
        let new = parse(OTHER.as_bytes(), Path::new("other")).unwrap().config;
        let held = in_force(&old, &new);
        let (restart, at_once): (Vec<_>, Vec<_>) =
            changes(&old, &new).into_iter().partition(|c| c.restart);
        assert_eq!(changes(&old, &held), at_once);
        assert_eq!(changes(&held, &new), restart);
        assert_eq!(changes(&new, &new), []);
    }
}
