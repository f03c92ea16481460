//! Which key fills which setting: the one list of all keys.

use std::time::Duration;

use toml::de::DeTable;

use super::section::{self, Notes};
use super::settings::Config;
use super::values::{
    boolean, command, consistency, duration, ip_address, log_format, log_level, manager_endpoint,
    min_free, number, optional, path, secret, size, size_or_none, socket_address, toolstack,
};
use crate::protocol::size::{KIB, MIB, TIB};

/// A timeout shorter than this would only ever fail.
const SHORTEST_TIMEOUT: Duration = Duration::from_millis(1);
/// Each look reads every repository's snapshot folder.
const SHORTEST_INTERVAL: Duration = Duration::from_secs(1);
/// A token carries its end in whole seconds.
const SHORTEST_TOKEN: Duration = Duration::from_secs(1);
/// Less would be rotated with every other line.
const SMALLEST_LOG: u64 = 4 * KIB;
const MAX_LOG: u64 = TIB;
/// More could not be served: the kernel's usual limit on descriptors is below.
const MOST_CONNECTIONS: usize = 1_000_000;

/// Fills a configuration from a document; what is wrong is noted and keeps its default.
pub(super) fn read(document: &DeTable<'_>) -> (Config, Notes) {
    let mut config = Config::default();
    let mut notes = Notes::default();
    section::walk(document, &mut notes, |top| {
        let c = &mut config;
        top.key("db_file", &mut c.db_file, path);
        top.key(
            "ovm_endpoint",
            &mut c.ovm_endpoint,
            optional(manager_endpoint),
        );
        top.key(
            "ovm_ca_certificate",
            &mut c.ovm_ca_certificate,
            optional(path),
        );
        top.key("ovm_legacy_tls", &mut c.ovm_legacy_tls, boolean);
        top.key("agent_db_dir", &mut c.agent_db_dir, path);
        top.key("toolstack", &mut c.toolstack, toolstack);
        top.key("log_file", &mut c.log_file, optional(path));
        top.key("log_level", &mut c.log_level, log_level);
        top.key("log_format", &mut c.log_format, log_format);
        top.key(
            "log_max_size",
            &mut c.log_max_size,
            size_or_none(SMALLEST_LOG, MAX_LOG),
        );
        top.key("log_max_files", &mut c.log_max_files, number(0, u32::MAX));
        top.key("log_max_age", &mut c.log_max_age, duration(Duration::ZERO));

        top.section("jwt", |jwt| {
            jwt.key("secret", &mut c.jwt.secret, optional(secret));
            jwt.key(
                "time_to_live",
                &mut c.jwt.time_to_live,
                duration(SHORTEST_TOKEN),
            );
        });

        top.section("api", |api| {
            api.key("bind", &mut c.api.bind, ip_address);
            api.key("port", &mut c.api.port, number(0, u16::MAX));

            api.section("tls", |tls| {
                let t = &mut c.api.tls;
                tls.key("certificate", &mut t.certificate, optional(path));
                tls.key("key", &mut t.key, optional(path));
                tls.key("ca_certificate", &mut t.ca_certificate, optional(path));
                tls.key(
                    "require_client_certificate",
                    &mut t.require_client_certificate,
                    boolean,
                );
            });

            api.section("limits", |limits| {
                let l = &mut c.api.limits;
                limits.key(
                    "max_connections",
                    &mut l.max_connections,
                    number(1, MOST_CONNECTIONS),
                );
                limits.key("max_body", &mut l.max_body, size(KIB, 16 * MIB));
                limits.key(
                    "handshake_timeout",
                    &mut l.handshake_timeout,
                    duration(SHORTEST_TIMEOUT),
                );
                limits.key(
                    "header_timeout",
                    &mut l.header_timeout,
                    duration(SHORTEST_TIMEOUT),
                );
                limits.key(
                    "idle_timeout",
                    &mut l.idle_timeout,
                    duration(SHORTEST_TIMEOUT),
                );
                limits.key(
                    "stall_timeout",
                    &mut l.stall_timeout,
                    duration(SHORTEST_TIMEOUT),
                );
                limits.key(
                    "shutdown_grace",
                    &mut l.shutdown_grace,
                    duration(Duration::ZERO),
                );
            });

            api.section("login", |login| {
                let l = &mut c.api.login;
                login.key("max_failures", &mut l.max_failures, number(1, u32::MAX));
                login.key("slow_down", &mut l.slow_down, duration(Duration::ZERO));
            });
        });

        top.section("snapshots", |snapshots| {
            let s = &mut c.snapshots;
            snapshots.key("min_free", &mut s.min_free, min_free);
            snapshots.key("immutable", &mut s.immutable, boolean);
            snapshots.key(
                "lock_timeout",
                &mut s.lock_timeout,
                duration(Duration::ZERO),
            );
            snapshots.key(
                "storage_timeout",
                &mut s.storage_timeout,
                duration(SHORTEST_TIMEOUT),
            );
            snapshots.key(
                "max_snapshots_per_vm",
                &mut s.max_snapshots_per_vm,
                number(0, u32::MAX),
            );
            snapshots.key(
                "recover_interval",
                &mut s.recover_interval,
                duration(SHORTEST_INTERVAL),
            );
            snapshots.key("consistency", &mut s.consistency, consistency);
            snapshots.key("max_pause", &mut s.max_pause, duration(SHORTEST_TIMEOUT));
            snapshots.key("before_snapshot", &mut s.before_snapshot, command);
            snapshots.key("after_snapshot", &mut s.after_snapshot, command);
            snapshots.key(
                "command_timeout",
                &mut s.command_timeout,
                duration(SHORTEST_TIMEOUT),
            );
        });

        top.section("metrics", |metrics| {
            let m = &mut c.metrics;
            metrics.key("bind", &mut m.bind, optional(socket_address));
            metrics.key("token_file", &mut m.token_file, optional(path));
        });
    });
    (config, notes)
}
