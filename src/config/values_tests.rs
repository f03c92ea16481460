use std::path::Path;

use crate::config::{Config, ConfigError, MinFree, parse};

const FILE: &str = "/etc/x.toml";

fn good(text: &str) -> Config {
    let loaded = parse(text.as_bytes(), Path::new(FILE));
    loaded
        .unwrap_or_else(|error| panic!("{text}\n{error}"))
        .config
}

/// The errors of a text, a line each.
fn errors(text: &[u8]) -> Vec<String> {
    match parse(text, Path::new(FILE)) {
        Err(ConfigError::Invalid { problems }) => {
            problems.iter().map(ToString::to_string).collect()
        }
        other => panic!("{:?} gave {other:?}", String::from_utf8_lossy(text)),
    }
}

#[test]
fn spellings_of_free_space() {
    let table = [
        ("\"5%\"", MinFree::HundredthsOfPercent(500)),
        ("\"0%\"", MinFree::HundredthsOfPercent(0)),
        ("\"100 %\"", MinFree::HundredthsOfPercent(10_000)),
        ("\"0.05%\"", MinFree::HundredthsOfPercent(5)),
        ("\"20GiB\"", MinFree::Bytes(20 << 30)),
        ("1048576", MinFree::Bytes(1 << 20)),
        ("0", MinFree::Bytes(0)),
    ];
    for (value, expected) in table {
        let config = good(&format!("snapshots.min_free = {value}"));
        assert_eq!(config.snapshots.min_free, expected, "{value}");
    }
    for value in [
        "\"101%\"",
        "\"100.01%\"",
        "\"%\"",
        "\"-5%\"",
        "\"5.123%\"",
        "\"+5%\"",
        "\"5.%%\"",
        "\"1e1%\"",
        "5.0",
        "-1",
        "true",
        "\"\"",
        "\"99999%\"",
    ] {
        let errors = errors(format!("snapshots.min_free = {value}").as_bytes());
        assert_eq!(errors.len(), 1, "{value}");
        assert!(errors[0].contains("such as \"5%\""), "{value}: {errors:?}");
    }
}

#[test]
fn endpoints() {
    let table = [
        ("https://m:7002", "https://m:7002"),
        ("https://m:7002/", "https://m:7002"),
        ("HTTPS://M.Example", "https://m.example"),
        ("https://[2001:db8::1]:7002", "https://[2001:db8::1]:7002"),
        ("https://m/base/", "https://m/base"),
    ];
    for (given, expected) in table {
        let config = good(&format!("ovm_endpoint = {given:?}"));
        assert_eq!(config.ovm_endpoint.as_deref(), Some(expected), "{given}");
    }
    for (given, reason) in [
        ("http://m:7002", "it is not https"),
        ("m:7002", "it is not https"),
        ("manager.example", "relative URL"),
        ("https://", "empty host"),
        ("https://m:99999", "invalid port"),
        ("https://m?x=1", "query"),
        ("https://m#x", "fragment"),
        ("https://admin:hunter2@m", "user name"),
        ("https://admin:hunter2@m:port", "invalid port"),
    ] {
        let errors = errors(format!("ovm_endpoint = {given:?}").as_bytes());
        assert_eq!(errors.len(), 1, "{given}");
        assert!(errors[0].contains(reason), "{given}: {errors:?}");
        assert!(!errors[0].contains("hunter2"), "{errors:?}");
    }
}

#[test]
fn a_bad_value_names_file_line_column_key_found_and_accepted() {
    let table: [(&str, &str); 22] = [
        (
            "[api]\nport = 70000",
            "/etc/x.toml:2:8: api.port: found 70000; accepted: a whole number from 0 to 65535, without quotes",
        ),
        (
            "api.port = \"5544\"",
            "/etc/x.toml:1:12: api.port: found \"5544\"; accepted: a whole number from 0 to 65535, without quotes",
        ),
        (
            "api.port = -1",
            "/etc/x.toml:1:12: api.port: found -1; accepted: a whole number from 0 to 65535, without quotes",
        ),
        (
            "\n\n  [api]\n  bind = \"localhost\"",
            "/etc/x.toml:4:10: api.bind: found \"localhost\"; accepted: an IPv4 or IPv6 address in quotes such as \"0.0.0.0\" or \"::\"",
        ),
        (
            "[jwt]\ntime_to_live = \"7d\"",
            "/etc/x.toml:2:16: jwt.time_to_live: found \"7d\": it has an unknown unit; known are h, m, s, ms, us, ns; accepted: a duration in quotes such as \"168h\", \"1h30m\" or \"500ms\", at least 1s",
        ),
        (
            "[jwt]\ntime_to_live = 168",
            "/etc/x.toml:2:16: jwt.time_to_live: found 168; accepted: a duration in quotes such as \"168h\", \"1h30m\" or \"500ms\", at least 1s",
        ),
        (
            "[jwt]\ntime_to_live = \"-168h\"",
            "/etc/x.toml:2:16: jwt.time_to_live: found \"-168h\": it is negative; accepted: a duration in quotes such as \"168h\", \"1h30m\" or \"500ms\", at least 1s",
        ),
        (
            "api.limits.idle_timeout = \"0s\"",
            "/etc/x.toml:1:27: api.limits.idle_timeout: found \"0s\": it is too short; accepted: a duration in quotes such as \"168h\", \"1h30m\" or \"500ms\", at least 1ms",
        ),
        (
            "api.limits.max_connections = 0",
            "/etc/x.toml:1:30: api.limits.max_connections: found 0; accepted: a whole number from 1 to 1000000, without quotes",
        ),
        (
            "api.limits.max_body = \"1GiB\"",
            "/etc/x.toml:1:23: api.limits.max_body: found \"1GiB\": it is out of bounds; accepted: a whole number of bytes, or with a unit as in \"64KiB\", \"20G\" (K, M, G, T or KiB, MiB, GiB, TiB: powers of 1024); from 1KiB to 16MiB",
        ),
        (
            "api.limits.max_body = -5",
            "/etc/x.toml:1:23: api.limits.max_body: found -5; accepted: a whole number of bytes, or with a unit as in \"64KiB\", \"20G\" (K, M, G, T or KiB, MiB, GiB, TiB: powers of 1024); from 1KiB to 16MiB",
        ),
        (
            "log_level = \"verbose\"",
            "/etc/x.toml:1:13: log_level: found \"verbose\"; accepted: \"error\", \"warn\", \"info\", \"debug\" or \"trace\"",
        ),
        (
            "log_level = 1.5",
            "/etc/x.toml:1:13: log_level: found 1.5; accepted: \"error\", \"warn\", \"info\", \"debug\" or \"trace\"",
        ),
        (
            "toolstack = \"xm\"",
            "/etc/x.toml:1:13: toolstack: found \"xm\"; accepted: \"auto\", or the absolute path of xm or xl",
        ),
        (
            "ovm_legacy_tls = \"true\"",
            "/etc/x.toml:1:18: ovm_legacy_tls: found \"true\"; accepted: true or false, without quotes",
        ),
        (
            "db_file = \"\"",
            "/etc/x.toml:1:11: db_file: found \"\"; accepted: a path in quotes",
        ),
        (
            "db_file = \"a\\u0000b\"",
            "/etc/x.toml:1:11: db_file: found \"a\\0b\"; accepted: a path in quotes",
        ),
        (
            "log_file = [\"a\"]",
            "/etc/x.toml:1:12: log_file: found a list; accepted: a path in quotes",
        ),
        (
            "log_file = 1979-05-27",
            "/etc/x.toml:1:12: log_file: found 1979-05-27; accepted: a path in quotes",
        ),
        (
            "[log_file]",
            "/etc/x.toml:1:1: log_file: found a section; accepted: a path in quotes",
        ),
        (
            "jwt = \"x\"",
            "/etc/x.toml:1:7: jwt: found a value; accepted: a section, [jwt]",
        ),
        (
            "[api.tls]\n\nrequire_client_certificate = true",
            "/etc/x.toml:3:30: api.tls.require_client_certificate: found true, but api.tls.ca_certificate is not set; it must name the authorities that client certificates come from",
        ),
    ];
    for (text, expected) in table {
        assert_eq!(errors(text.as_bytes()), [expected], "{text}");
    }
}

#[test]
fn a_long_value_is_cut_short() {
    let errors = errors(format!("toolstack = \"{}\"", "x".repeat(5000)).as_bytes());
    assert!(errors[0].len() < 200, "{}", errors[0]);
    let errors = self::errors(format!("api.port = {}", "9".repeat(5000)).as_bytes());
    assert!(errors[0].len() < 200, "{}", errors[0]);
}
