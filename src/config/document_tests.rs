use std::net::IpAddr;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::config::{LogLevel, MinFree, Toolstack};
use crate::protocol::Consistency;

const FILE: &str = "/etc/x.toml";

fn good(text: &str) -> Loaded {
    parse(text.as_bytes(), Path::new(FILE)).unwrap_or_else(|error| panic!("{text}\n{error}"))
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

/// The warnings, a line each.
fn shown(loaded: &Loaded) -> Vec<String> {
    loaded.warnings.iter().map(ToString::to_string).collect()
}

#[test]
fn an_empty_file_is_all_defaults() {
    for text in ["", "\n# nothing\n", "\u{feff}", "[api]\n[api.tls]\n"] {
        let loaded = good(text);
        assert_eq!(loaded.config, Config::default(), "{text:?}");
        assert_eq!(loaded.warnings, []);
    }
}

#[test]
fn a_file_of_the_first_generation_loads_and_says_what_never_had_an_effect() {
    let text = r#"
db_file = "/var/lib/exporter.db"
ovm_endpoint = "https://manager.example:7002"
log_file = "/var/log/coriolis-ovm-exporter.log"
[jwt]
secret = "0123456789abcdef0123456789abcdef"
time_to_live = "24h"
[api]
bind = "192.0.2.7"
port = 5545
    [api.tls]
    certificate = "/etc/e/srv-pub.pem"
    key = "/etc/e/srv-key.pem"
    ca_certificate = "/etc/e/ca-pub.pem"
"#;
    let loaded = good(text);
    assert_eq!(
        shown(&loaded),
        [
            "/etc/x.toml:14:22: api.tls.ca_certificate: has no effect: require_client_certificate is false, so no client certificate is asked for"
        ]
    );
    assert_eq!(loaded.warnings[0].severity, Severity::Warning);
    let config = &loaded.config;
    assert_eq!(config.db_file, Path::new("/var/lib/exporter.db"));
    assert_eq!(
        config.ovm_endpoint.as_deref(),
        Some("https://manager.example:7002")
    );
    assert_eq!(
        config.log_file.as_deref(),
        Some(Path::new("/var/log/coriolis-ovm-exporter.log"))
    );
    let secret = config.jwt.secret.as_ref().unwrap();
    assert_eq!(secret.expose(), "0123456789abcdef0123456789abcdef");
    assert_eq!(config.jwt.time_to_live, Duration::from_secs(86_400));
    assert_eq!(config.api.listen_address().to_string(), "192.0.2.7:5545");
    let identity = loaded.identity().unwrap();
    assert_eq!(identity.certificate, Path::new("/etc/e/srv-pub.pem"));
    assert_eq!(identity.key, Path::new("/etc/e/srv-key.pem"));
    assert_eq!(
        config.api.tls.ca_certificate.as_deref(),
        Some(Path::new("/etc/e/ca-pub.pem"))
    );
}

#[test]
fn every_other_key_reaches_its_setting() {
    let text = r#"
ovm_ca_certificate = "/m.pem"
ovm_legacy_tls = true
agent_db_dir = "/db"
toolstack = "/usr/sbin/xl"
log_level = "DEBUG"
api.bind = "::1"
api.tls = { ca_certificate = "/ca", require_client_certificate = true }
[api.limits]
max_connections = 0x10
max_body = 4_096
handshake_timeout = "1s"
header_timeout = "2s"
idle_timeout = "3s"
stall_timeout = "4s"
shutdown_grace = "0s"
[api.login]
max_failures = 7
slow_down = "1m"
[snapshots]
min_free = "2.5%"
immutable = false
lock_timeout = "5s"
max_snapshots_per_vm = 12
recover_interval = "1m"
consistency = "command"
max_pause = "2s"
before_snapshot = ["/bin/echo", "before"]
after_snapshot = ["/bin/echo"]
command_timeout = "7s"
"#;
    let Config {
        ovm_ca_certificate,
        ovm_legacy_tls,
        agent_db_dir,
        toolstack,
        log_level,
        api,
        snapshots,
        ..
    } = good(text).config;
    assert_eq!(ovm_ca_certificate.as_deref(), Some(Path::new("/m.pem")));
    assert!(ovm_legacy_tls);
    assert_eq!(agent_db_dir, Path::new("/db"));
    assert_eq!(toolstack, Toolstack::Program("/usr/sbin/xl".into()));
    assert_eq!(log_level, LogLevel::Debug);
    assert_eq!(api.bind, "::1".parse::<IpAddr>().unwrap());
    assert!(api.tls.require_client_certificate);
    assert_eq!(api.limits.max_connections, 16);
    assert_eq!(api.limits.max_body, 4096);
    assert_eq!(api.limits.handshake_timeout, Duration::from_secs(1));
    assert_eq!(api.limits.header_timeout, Duration::from_secs(2));
    assert_eq!(api.limits.idle_timeout, Duration::from_secs(3));
    assert_eq!(api.limits.stall_timeout, Duration::from_secs(4));
    assert_eq!(api.limits.shutdown_grace, Duration::ZERO);
    assert_eq!(api.login.max_failures, 7);
    assert_eq!(api.login.slow_down, Duration::from_secs(60));
    assert_eq!(snapshots.min_free, MinFree::HundredthsOfPercent(250));
    assert!(!snapshots.immutable);
    assert_eq!(snapshots.lock_timeout, Duration::from_secs(5));
    assert_eq!(snapshots.max_snapshots_per_vm, 12);
    assert_eq!(snapshots.recover_interval, Duration::from_secs(60));
    assert_eq!(snapshots.consistency, Consistency::Command);
    assert_eq!(snapshots.max_pause, Duration::from_secs(2));
    assert_eq!(snapshots.before_snapshot, ["/bin/echo", "before"]);
    assert_eq!(snapshots.after_snapshot, ["/bin/echo"]);
    assert_eq!(snapshots.command_timeout, Duration::from_secs(7));
}

#[test]
fn commands_are_whole_and_absolute() {
    let message = |text: &str| {
        let text = format!("[snapshots]\n{text}\n");
        match parse(text.as_bytes(), Path::new("c.toml")) {
            Ok(_) => String::new(),
            Err(error) => error.to_string(),
        }
    };
    for (text, expected) in [
        ("consistency = \"command\"", "before_snapshot is not set"),
        (
            "consistency = \"command\"\nbefore_snapshot = [\"/bin/true\"]",
            "after_snapshot is not set",
        ),
        ("before_snapshot = [\"bin/true\"]", "not an absolute path"),
        ("before_snapshot = [\"/bin/true\", 1]", "a list of texts"),
        ("after_snapshot = \"/bin/true\"", "a list of texts"),
        ("max_pause = \"0s\"", "too short"),
        ("command_timeout = \"0s\"", "too short"),
        (
            "consistency = \"Pause\"",
            "\"none\", \"pause\" or \"command\"",
        ),
    ] {
        let message = message(text);
        assert!(message.contains(expected), "{text}: {message}");
    }
    assert_eq!(message("consistency = \"pause\"\nbefore_snapshot = []"), "");
}

#[test]
fn an_empty_text_switches_an_optional_key_off() {
    let text = r#"
ovm_endpoint = ""
ovm_ca_certificate = ""
log_file = ""
jwt.secret = ""
api.tls = { certificate = "", key = "", ca_certificate = "" }
"#;
    assert_eq!(good(text).config, Config::default());
}

#[test]
fn all_problems_come_at_once_in_the_order_of_the_file() {
    let text = br#"
[snapshots]
immutable = "yes"
[api]
port = 99999
bind = 5
[jwt]
time_to_live = ""
"#;
    let lines: Vec<String> = errors(text)
        .iter()
        .map(|error| error.split(": ").take(2).collect::<Vec<_>>().join(" "))
        .collect();
    assert_eq!(
        lines,
        [
            "/etc/x.toml:3:13 snapshots.immutable",
            "/etc/x.toml:5:8 api.port",
            "/etc/x.toml:6:8 api.bind",
            "/etc/x.toml:8:16 jwt.time_to_live",
        ]
    );
}

#[test]
fn broken_toml_names_the_line_and_hides_the_text() {
    let table: [(&str, &[usize]); 12] = [
        ("[jwt]\nsecret = \"hunter2", &[2]),
        ("[jwt]\nsecret = hunter2\n", &[2]),
        ("[jwt]\nhunter2\n", &[2]),
        ("[jwt]\nsecret = \"hunter2\" hunter2", &[2]),
        ("[jwt]\nsecret = \"hunter2\\q\"", &[2]),
        ("\n[jwt\nsecret = \"hunter2\"", &[2]),
        ("[jwt]\nsecret = \"hunter2\"\nsecret = \"hunter2\"", &[3]),
        // Two broken lines, and a bad value on a third.
        ("a = \nb = [1,\n\n[api]\nport = 70000", &[1, 4, 5]),
        ("db_file = \nlog_level = \"hunter\"\n", &[1, 2]),
        // A text without an end takes in what stands behind it.
        ("api.bind = '''\n[jwt]\nsecret = \"hunter2\"\n", &[4]),
        ("[jwt]\ntime_to_live = '''\nsecret = \"hunter2\"", &[3]),
        (
            "toolstack = '''\n[jwt]\nsecret = \"hunter2\"\n[api]\nbind = '''\n::'''",
            &[1, 6],
        ),
    ];
    for (text, lines) in table {
        let errors = errors(text.as_bytes());
        for error in &errors {
            assert!(!error.contains("hunter2"), "{error}");
        }
        let found: BTreeSet<usize> = errors
            .iter()
            .map(|error| error.split(':').nth(1).unwrap().parse().unwrap())
            .collect();
        assert_eq!(
            found,
            lines.iter().copied().collect(),
            "{text:?}: {errors:#?}"
        );
    }
}

#[test]
fn a_slip_of_syntax_is_one_error_not_several() {
    // What the parser makes of the rest of the line, or of keys below a broken header, would
    // mislead: nobody wrote it.
    let table = [
        (
            "[jwt]\ntime_to_live = 168h",
            "/etc/x.toml:2:16: jwt.time_to_live: is not TOML: string values must be quoted, expected literal string",
        ),
        (
            "api.port = 55x4",
            "/etc/x.toml:1:12: api.port: is not TOML: string values must be quoted, expected literal string",
        ),
        (
            "ovm_legacy_tls = yes",
            "/etc/x.toml:1:18: ovm_legacy_tls: is not TOML: string values must be quoted, expected literal string",
        ),
        (
            "# a comment\nlog_level = info",
            "/etc/x.toml:2:13: log_level: is not TOML: invalid float, expected `inf`",
        ),
        (
            "api.bind = 0.0.0.0",
            "/etc/x.toml:1:15: api.bind: is not TOML: invalid float, expected nothing",
        ),
        (
            "[api.tls\nkey = \"/k\"\nrequire_client_certificate = true",
            "/etc/x.toml:1:9: is not TOML: unclosed table, expected `]`",
        ),
    ];
    for (text, expected) in table {
        assert_eq!(errors(text.as_bytes()), [expected], "{text}");
        // Nor does a warning hide in the draft.
        assert_eq!(draft(text.as_bytes(), Path::new(FILE)).problems.len(), 1);
    }
}

#[test]
fn text_that_is_not_utf8_names_the_line() {
    assert_eq!(
        errors(b"# one\nlog_file = \"\xff\""),
        ["/etc/x.toml:2:13: the file is not UTF-8 text from here on"]
    );
}

#[test]
fn nesting_without_end_is_refused_not_followed() {
    for text in [
        "a = ".to_owned() + &"[".repeat(200_000),
        "a.".repeat(100_000),
    ] {
        assert!(!errors(text.as_bytes()).is_empty());
    }
}

#[test]
fn unknown_keys_are_warnings_with_line_and_suggestion() {
    let text = r#"
db_flie = "/x"
port = 1
colour = "red"

[api]
prot = 5544
[api.tls]
certificat = "/c"
[apis]
a = 1
b = 2
"#;
    let loaded = good(text);
    let mut expected = Config::default();
    expected.api.port = 5544;
    assert_eq!(loaded.config, expected);
    assert_eq!(
        shown(&loaded),
        [
            "/etc/x.toml:2:1: db_flie: is not a known key and has no effect; did you mean db_file?",
            "/etc/x.toml:3:1: port: is not a known key and has no effect; did you mean api.port?",
            "/etc/x.toml:4:1: colour: is not a known key and has no effect",
            "/etc/x.toml:7:1: api.prot: is not a known key and has no effect; did you mean api.port?",
            "/etc/x.toml:9:1: api.tls.certificat: is not a known key and has no effect; did you mean api.tls.certificate?",
            "/etc/x.toml:10:2: apis: is not a known key and has no effect; did you mean api?",
        ]
    );
    assert!(
        loaded
            .warnings
            .iter()
            .all(|warning| warning.severity == Severity::Warning)
    );
}

/// Where it is used, where it is not set, and where what is wrong is something else.
#[test]
fn authorities_that_nobody_asks_for_are_a_warning_and_no_others_are() {
    for text in [
        "api.tls = { ca_certificate = \"/ca\", require_client_certificate = true }",
        "api.tls = { require_client_certificate = false }",
    ] {
        assert_eq!(shown(&good(text)), [""; 0], "{text}");
    }
    for asked in ["", ", require_client_certificate = false"] {
        let text = format!("prot = 1\n[api]\ntls = {{ ca_certificate = \"/ca\"{asked} }}\nx = 1\n");
        let shown = shown(&good(&text));
        assert_eq!(shown.len(), 3, "{shown:#?}");
        assert!(shown[1].starts_with("/etc/x.toml:3:26: api.tls.ca_certificate: has no effect"));
    }
    let text = "api.tls = { ca_certificate = \"/ca\", require_client_certificate = 1 }";
    let errors = errors(text.as_bytes());
    assert_eq!(errors.len(), 1, "{errors:#?}");
    assert!(errors[0].contains("require_client_certificate: found 1"));
}

#[test]
fn a_flood_of_problems_is_cut_short() {
    let text: String = (0..250).map(|n| format!("x{n} = 1\n")).collect();
    let warnings = good(&text).warnings;
    assert_eq!(warnings.len(), MOST_PROBLEMS + 1);
    assert_eq!(
        warnings[MOST_PROBLEMS].message,
        "150 more problems are not shown"
    );

    // An error behind the flood is still an error.
    let text = text + "log_level = 1";
    assert_eq!(
        errors(text.as_bytes()),
        ["/etc/x.toml: 151 more problems are not shown"]
    );
}

#[test]
fn what_serving_needs_is_named_when_it_is_missing() {
    let table: [(&str, &[&str]); 3] = [
        ("", &["api.tls.certificate", "api.tls.key"]),
        ("api.tls.key = \"/k\"", &["api.tls.certificate"]),
        ("api.tls.certificate = \"/c\"", &["api.tls.key"]),
    ];
    for (text, keys) in table {
        let error = good(text).identity().unwrap_err();
        let ConfigError::Invalid { problems } = &error else {
            panic!("{error}");
        };
        let found: Vec<&str> = problems
            .iter()
            .filter_map(|problem| problem.key.as_deref())
            .collect();
        assert_eq!(found, keys, "{text}");
        let shown = error.to_string();
        assert!(shown.starts_with("/etc/x.toml: api.tls."), "{shown}");
    }
}

#[test]
fn a_file_that_cannot_be_read_gives_path_and_reason() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("missing.toml");
    let error = load(&missing).unwrap_err().to_string();
    assert!(error.contains(missing.to_str().unwrap()), "{error}");
    assert!(error.contains("No such file"), "{error}");
    assert!(!error.contains("root"), "{error}");

    for other in [folder.path(), Path::new("/dev/zero")] {
        let error = load(other).unwrap_err().to_string();
        assert!(error.contains("not a regular file"), "{error}");
    }

    let large = folder.path().join("large.toml");
    let file = std::fs::File::create(&large).unwrap();
    file.set_len(LARGEST_FILE + 1).unwrap();
    let error = load(&large).unwrap_err().to_string();
    assert!(error.contains("larger than 1 MiB"), "{error}");
}

#[test]
fn a_file_on_disk_loads() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config.toml");
    std::fs::write(&file, "api.port = 1\n").unwrap();
    let loaded = load(&file).unwrap();
    assert_eq!(loaded.config.api.port, 1);
    assert_eq!(loaded.file, file);
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes: Vec<u8>, text: String) {
        let _ = parse(&bytes, Path::new(FILE));
        let _ = parse(text.as_bytes(), Path::new(FILE));
    }

    /// Known keys with arbitrary values, and pieces of TOML around them: closer to what breaks.
    #[test]
    fn arbitrary_settings_never_panic(
        lines in proptest::collection::vec(
            ("(db_file|ovm_endpoint|toolstack|log_level|secret|time_to_live|bind|port|key|min_free|max_body|idle_timeout|\\[api\\]|\\[api.tls\\]|\\[jwt\\]|\\[snapshots\\]|\\[\\[api\\]\\])",
             "( = )?",
             "(\".*\"|[-+0-9.eE_x]{0,30}|true|\\[.{0,5}|\\{.{0,5}|\"https://.{0,20}\"|\"[0-9.]{1,5}%\"|\"\"\".{0,9})"),
            0..12),
    ) {
        let text: String = lines.iter().map(|(key, equals, value)| format!("{key}{equals}{value}\n")).collect();
        if let Err(error) = parse(text.as_bytes(), Path::new(FILE)) {
            prop_assert!(error.to_string().starts_with(FILE), "{}", error);
        }
    }
}
