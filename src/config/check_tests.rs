use std::fs::Permissions;

use rcgen::{CertificateParams, KeyPair};

use super::*;

/// A folder with everything that a good configuration names.
struct Node {
    folder: tempfile::TempDir,
}

impl Node {
    fn new() -> Self {
        let node = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        fs::create_dir(node.path("agent")).unwrap();
        let key = KeyPair::generate().unwrap();
        node.write("key.pem", &key.serialize_pem(), 0o600);
        node.write("cert.pem", &node.certificate(&key, 2020, 2099), 0o644);
        node.write("ca.pem", &node.certificate(&key, 2020, 2099), 0o644);
        node
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, content: &str, mode: u32) {
        fs::write(self.path(name), content).unwrap();
        fs::set_permissions(self.path(name), Permissions::from_mode(mode)).unwrap();
    }

    fn certificate(&self, key: &KeyPair, from: i32, until: i32) -> String {
        let mut params = CertificateParams::new(vec!["node".to_owned()]).unwrap();
        params.not_before = rcgen::date_time_ymd(from, 1, 1);
        params.not_after = rcgen::date_time_ymd(until, 1, 1);
        params.self_signed(key).unwrap().pem()
    }

    /// The text of a good configuration: line 1 is the database, line 4 the secret, line 6 the
    /// certificate, line 7 the key, line 8 the authority, line 9 what makes it of use.
    fn text(&self) -> String {
        let folder = self.folder.path().display();
        format!(
            "db_file = \"{folder}/exporter.db\"\n\
             agent_db_dir = \"{folder}/agent\"\n\
             [jwt]\n\
             secret = \"0123456789abcdef0123456789abcdef\"\n\
             [api.tls]\n\
             certificate = \"{folder}/cert.pem\"\n\
             key = \"{folder}/key.pem\"\n\
             ca_certificate = \"{folder}/ca.pem\"\n\
             require_client_certificate = true\n"
        )
    }

    /// Checks a configuration; a line for each problem, with the folder left out.
    fn check(&self, text: &str) -> Vec<String> {
        self.write("config.toml", text, 0o600);
        self.lines()
    }

    fn lines(&self) -> Vec<String> {
        let report = check(&self.path("config.toml"));
        let folder = format!("{}/", self.folder.path().display());
        let shown = report.to_string().replace(&folder, "");
        assert_eq!(report.has_errors(), shown.contains("error: "));
        shown.lines().map(str::to_owned).collect()
    }
}

#[test]
fn a_good_configuration_is_called_good() {
    let node = Node::new();
    assert_eq!(node.check(&node.text()), ["config.toml: good"]);
    // Nothing was made on the way.
    let mut names: Vec<_> = fs::read_dir(node.folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    names.sort();
    assert_eq!(
        names,
        ["agent", "ca.pem", "cert.pem", "config.toml", "key.pem"]
    );
}

#[test]
fn an_unknown_key_is_an_error_here() {
    let node = Node::new();
    let text = node.text() + "keys = 1\n";
    assert_eq!(
        node.check(&text),
        [
            "error: config.toml:10:1: api.tls.keys: is not a known key and has no effect; did you mean api.tls.key?"
        ]
    );
}

/// As the first generation had it.
#[test]
fn authorities_that_nobody_asks_for_are_no_mistake() {
    let node = Node::new();
    let text = node
        .text()
        .replace("require_client_certificate = true\n", "");
    assert_eq!(
        node.check(&text),
        [
            "warning: config.toml:8:18: api.tls.ca_certificate: has no effect: require_client_certificate is false, so no client certificate is asked for"
        ]
    );
}

#[test]
fn everything_wrong_comes_at_once() {
    let node = Node::new();
    let folder = node.folder.path().display();
    let text = format!(
        "db_file = \"{folder}/none/exporter.db\"\n\
         log_file = \"relative/x.log\"\n\
         agent_db_dir = \"{folder}/none\"\n\
         toolstack = \"{folder}/cert.pem\"\n\
         ovm_ca_certificate = \"{folder}/key.pem\"\n\
         ovm_endpoint = \"http://manager\"\n\
         [api]\n\
         bind = \"here\"\n\
         [api.tls]\n\
         key = \"{folder}/cert.pem\"\n\
         ca_certificate = \"{folder}/missing.pem\"\n\
         [jwt]\n\
         secret = \"short-but-secret\"\n"
    );
    assert_eq!(
        node.check(&text),
        [
            "error: config.toml:1:11: db_file: the folder none does not exist; make it",
            "warning: config.toml:2:12: log_file: relative/x.log is relative to the folder that the daemon is started in; an absolute path is safer",
            "error: config.toml:2:12: log_file: the folder relative does not exist; make it",
            "error: config.toml:3:16: agent_db_dir: cannot read none: No such file or directory (os error 2)",
            "error: config.toml:4:13: toolstack: cert.pem is not an executable file",
            "error: config.toml:5:22: ovm_ca_certificate: key.pem has no certificate in PEM form (a block that begins with \"-----BEGIN\"; keys with a password are not supported)",
            "error: config.toml:6:16: ovm_endpoint: found \"http://manager\": it is not https, and passwords go there; accepted: \"https://HOST:PORT\" (usually port 7002)",
            "error: config.toml:8:8: api.bind: found \"here\"; accepted: an IPv4 or IPv6 address in quotes such as \"0.0.0.0\" or \"::\"",
            "error: config.toml:10:7: api.tls.key: cert.pem has no private key in PEM form (a block that begins with \"-----BEGIN\"; keys with a password are not supported)",
            "warning: config.toml:11:18: api.tls.ca_certificate: has no effect: require_client_certificate is false, so no client certificate is asked for",
            "error: config.toml:11:18: api.tls.ca_certificate: cannot read missing.pem: No such file or directory (os error 2)",
            "warning: config.toml:13:10: jwt.secret: is shorter than 32 bytes, so it can be guessed; the daemon uses a random secret kept in none/jwt-secret instead, and warns at each start (set it to the output of `openssl rand -base64 48`)",
            "error: config.toml: api.tls.certificate: is not set; it must name the PEM file with the server certificate",
        ]
    );
}

#[test]
fn commands_must_be_there() {
    let node = Node::new();
    let folder = node.folder.path().display();
    let text = format!(
        "{}\n[snapshots]\nconsistency = \"command\"\nbefore_snapshot = [\"{folder}/none\"]\n\
         after_snapshot = [\"{folder}/cert.pem\"]\n",
        node.text()
    );
    let lines = node.check(&text).join("\n");
    for expected in [
        "snapshots.before_snapshot: cannot read none",
        "snapshots.after_snapshot: cert.pem is not an executable file",
    ] {
        assert!(lines.contains(expected), "{lines}");
    }
}

#[test]
fn a_refused_certificate_is_not_also_missing() {
    let node = Node::new();
    let text = node.text().replace("certificate = \"", "certificate = 5 #");
    let lines = node.check(&text);
    assert_eq!(lines.len(), 2, "{lines:#?}");
    assert!(lines[0].starts_with("error: config.toml:6:15: api.tls.certificate: found 5;"));
    assert!(lines[1].starts_with("error: config.toml:8:18: api.tls.ca_certificate: found 5;"));
}

#[test]
fn broken_toml_is_not_called_incomplete() {
    let node = Node::new();
    let lines = node.check(&node.text().replace("[api.tls]", "[api.tls"));
    assert!(
        lines
            .iter()
            .any(|line| line.starts_with("error: config.toml:5:")),
        "{lines:#?}"
    );
    assert!(
        !lines
            .iter()
            .any(|line| line.contains("is not set; it must")),
        "{lines:#?}"
    );
}

#[test]
fn a_key_of_another_certificate_is_found_out() {
    let node = Node::new();
    let other = KeyPair::generate().unwrap();
    node.write("key.pem", &other.serialize_pem(), 0o600);
    assert_eq!(
        node.check(&node.text()),
        [
            "error: config.toml:7:7: api.tls.key: the key does not belong to the certificate in api.tls.certificate"
        ]
    );
}

#[test]
fn rsa_keys_are_understood() {
    let node = Node::new();
    let rsa = openssl::rsa::Rsa::generate(2048).unwrap();
    let pkcs8 = openssl::pkey::PKey::from_rsa(rsa.clone())
        .unwrap()
        .private_key_to_pem_pkcs8()
        .unwrap();
    let pkcs8 = String::from_utf8(pkcs8).unwrap();
    let key = KeyPair::from_pem_and_sign_algo(&pkcs8, &rcgen::PKCS_RSA_SHA256).unwrap();
    node.write("cert.pem", &node.certificate(&key, 2020, 2099), 0o644);
    node.write("key.pem", &pkcs8, 0o600);
    assert_eq!(node.check(&node.text()), ["config.toml: good"]);

    // The older form that `openssl genrsa` of an old node writes.
    let pkcs1 = String::from_utf8(rsa.private_key_to_pem().unwrap()).unwrap();
    assert!(pkcs1.contains("BEGIN RSA PRIVATE KEY"));
    node.write("key.pem", &pkcs1, 0o600);
    assert_eq!(node.check(&node.text()), ["config.toml: good"]);

    let locked = rsa
        .private_key_to_pem_passphrase(openssl::symm::Cipher::aes_256_cbc(), b"hunter2")
        .unwrap();
    node.write("key.pem", &String::from_utf8(locked).unwrap(), 0o600);
    let lines = node.check(&node.text());
    assert_eq!(lines.len(), 1, "{lines:#?}");
    assert!(lines[0].contains("api.tls.key:"), "{lines:#?}");
}

#[test]
fn a_certificate_of_version_1_is_told_with_what_to_do() {
    let node = Node::new();
    let rsa = openssl::rsa::Rsa::generate(2048).unwrap();
    let key = openssl::pkey::PKey::from_rsa(rsa).unwrap();
    let days = |days| openssl::asn1::Asn1Time::days_from_now(days).unwrap();
    let mut made = openssl::x509::X509Builder::new().unwrap();
    made.set_pubkey(&key).unwrap();
    made.set_not_before(&days(0)).unwrap();
    made.set_not_after(&days(300)).unwrap();
    made.sign(&key, openssl::hash::MessageDigest::sha256())
        .unwrap();
    let text = |pem: Vec<u8>| String::from_utf8(pem).unwrap();
    let pem = text(made.build().to_pem().unwrap());
    // An authority may be of any version.
    for name in ["cert.pem", "ca.pem"] {
        node.write(name, &pem, 0o644);
    }
    let key = text(key.private_key_to_pem_pkcs8().unwrap());
    node.write("key.pem", &key, 0o600);
    let lines = node.check(&node.text());
    assert_eq!(lines.len(), 1, "{lines:#?}");
    for part in [
        "error: config.toml:6:15: api.tls.certificate: cert.pem: its certificate for",
        "is of X.509 version 1, and TLS needs version 3",
    ] {
        assert!(lines[0].contains(part), "no {part}: {lines:#?}");
    }
}

#[test]
fn an_expired_server_certificate_is_an_error_and_an_expired_authority_a_warning() {
    let node = Node::new();
    let key = KeyPair::generate().unwrap();
    let expired = node.certificate(&key, 2019, 2020);
    node.write("key.pem", &key.serialize_pem(), 0o600);
    node.write("cert.pem", &expired, 0o644);
    node.write("ca.pem", &expired, 0o644);
    let lines = node.check(&node.text());
    assert_eq!(lines.len(), 2, "{lines:#?}");
    assert!(
        lines[0].starts_with(
            "error: config.toml:6:15: api.tls.certificate: cert.pem: its certificate for"
        ),
        "{lines:#?}"
    );
    assert!(lines[0].contains("expired at"), "{lines:#?}");
    assert!(
        lines[1].starts_with("warning: config.toml:8:18: api.tls.ca_certificate: ca.pem:"),
        "{lines:#?}"
    );
}

#[test]
fn files_that_every_user_can_read_are_warned_about() {
    let node = Node::new();
    assert_eq!(node.check(&node.text()), ["config.toml: good"]);
    let open = Permissions::from_mode(0o644);
    fs::set_permissions(node.path("key.pem"), open.clone()).unwrap();
    fs::set_permissions(node.path("config.toml"), open).unwrap();
    assert_eq!(
        node.lines(),
        [
            "warning: config.toml:4:10: jwt.secret: the secret can be read by every user of this node; chmod 600 config.toml",
            "warning: config.toml:7:7: api.tls.key: key.pem can be read by every user of this node; chmod 600 key.pem",
        ]
    );
}

#[test]
fn damaged_pem_is_told_without_quoting_it() {
    let node = Node::new();
    let key = fs::read_to_string(node.path("key.pem")).unwrap();
    let body = key.lines().nth(1).unwrap().to_owned();
    node.write("key.pem", &key.replace(&body, &format!("!{body}")), 0o600);
    let lines = node.check(&node.text());
    assert_eq!(
        lines,
        ["error: config.toml:7:7: api.tls.key: key.pem is not a valid PEM file"]
    );
}

#[test]
fn a_missing_configuration_is_one_error() {
    let node = Node::new();
    let lines = node.lines();
    assert_eq!(
        lines,
        ["error: config.toml: cannot read config.toml: No such file or directory (os error 2)"]
    );
}

#[test]
fn a_default_folder_of_the_agent_that_is_missing_is_only_a_warning() {
    let node = Node::new();
    let text = node.text().replace("agent_db_dir", "#agent_db_dir");
    let lines = node.check(&text);
    if Path::new("/etc/ovs-agent/db").is_dir() {
        assert_eq!(lines, ["config.toml: good"]);
    } else {
        assert_eq!(lines.len(), 1, "{lines:#?}");
        assert!(
            lines[0]
                .starts_with("warning: config.toml: agent_db_dir: cannot read /etc/ovs-agent/db"),
            "{lines:#?}"
        );
    }
}
