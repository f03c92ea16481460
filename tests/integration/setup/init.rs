//! `init`: what it writes works, and what is there stays.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use coriolis_ovm_exporter::client::{Client, Trust};
use coriolis_ovm_exporter::operations::demo::daemon::Daemon;
use openssl::ssl::{SslConnector, SslMethod};

use super::text;
use crate::support::counts::count;
use crate::support::daemon::{PROGRAM, run};
use crate::support::node::{Kind, PASSWORD, TestNode, USER};

/// The sample of the first generation's documentation.
const PUBLIC_SAMPLE: &str = "yoidthOcBauphFeykCotdidNorjAnAtGhonsabShegAtfexbavlyakPak4SletEd";
const FILES: [(&str, u32); 5] = [
    ("ca-key.pem", 0o600),
    ("ca-pub.pem", 0o644),
    ("config.toml", 0o600),
    ("srv-key.pem", 0o600),
    ("srv-pub.pem", 0o644),
];

fn init(directory: &Path, more: &[&str]) -> Output {
    let mut arguments: Vec<&OsStr> =
        ["init".as_ref(), "--dir".as_ref(), directory.as_os_str()].into();
    arguments.extend(more.iter().map(OsStr::new));
    run(&arguments)
}

fn check_config(directory: &Path) -> Output {
    let config = directory.join("config.toml");
    run(&[
        "-config".as_ref(),
        config.as_os_str(),
        "check-config".as_ref(),
    ])
}

/// Name, mode and content of all that is in a folder.
fn content(directory: &Path) -> BTreeMap<String, (u32, Vec<u8>)> {
    let items = fs::read_dir(directory).unwrap().map(Result::unwrap);
    // A running daemon has sockets there too.
    let files = items.filter(|item| item.file_type().unwrap().is_file());
    let items = files.map(|item| {
        let mode = item.metadata().unwrap().permissions().mode() & 0o777;
        let bytes = fs::read(item.path()).unwrap();
        (item.file_name().into_string().unwrap(), (mode, bytes))
    });
    items.collect()
}

#[test]
fn it_writes_what_is_needed_and_overwrites_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let directory = folder.path().join("new");
    let first = init(
        &directory,
        &["--name", "Backup.Example", "--address", "2001:db8::7"],
    );
    let said = text(&first);
    assert!(first.status.success(), "{said}");
    let mode = fs::metadata(&directory).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
    let made = content(&directory);
    let modes: Vec<_> = made
        .iter()
        .map(|(name, (mode, _))| (name.as_str(), *mode))
        .collect();
    assert_eq!(modes, FILES);

    let config = String::from_utf8(made["config.toml"].1.clone()).unwrap();
    let secret = config
        .lines()
        .find_map(|line| line.strip_prefix("secret = "))
        .unwrap();
    assert!(secret.len() >= 34, "{secret}");
    assert!(!config.contains(PUBLIC_SAMPLE));
    for hidden in [secret.trim_matches('"'), "PRIVATE KEY"] {
        assert!(!said.contains(hidden), "{said}");
    }
    let authority = String::from_utf8(made["ca-pub.pem"].1.clone()).unwrap();
    for told in [
        authority.trim(),
        "https://backup.example:5544",
        "SHA-256",
        "doctor",
        "curl -s --cacert",
        "--tlsv1.2",
    ] {
        assert!(said.contains(told), "no {told}: {said}");
    }
    let checked = check_config(&directory);
    assert!(checked.status.success(), "{}", text(&checked));

    let second = init(&directory, &["--days", "1"]);
    let said = text(&second);
    assert!(second.status.success(), "{said}");
    assert_eq!(content(&directory), made);
    assert!(!said.contains("made:"), "{said}");
    for (name, _) in FILES {
        let line = format!("left: {} was there", directory.join(name).display());
        assert!(said.contains(&line), "no {line:?}: {said}");
    }
    // Another node has another secret and other keys.
    let other = folder.path().join("other");
    assert!(init(&other, &[]).status.success());
    for (name, bytes) in content(&other) {
        assert_ne!(bytes, made[&name], "{name}");
    }
}

/// What is printed for a shell is taken by one as it is, whatever the folder is called.
#[test]
fn the_lines_for_a_shell_are_good_for_any_folder() {
    let folder = tempfile::tempdir().unwrap();
    let directory = folder.path().join("it's $HOME; a (new) one");
    fs::create_dir(&directory).unwrap();
    fs::set_permissions(&directory, fs::Permissions::from_mode(0o755)).unwrap();
    let said = text(&init(&directory, &[]));
    let line = |with: &str| {
        let found = said.lines().find(|line| line.contains(with));
        found.unwrap_or_else(|| panic!("no {with}: {said}")).trim()
    };
    let note = line("chmod 700");
    let chmod = &note[note.find("chmod").unwrap()..note.find(" keeps others out").unwrap()];
    let variables = line("CA=");
    let doctor = line("doctor").replace("coriolis-ovm-exporter --config", "printf '%s\n'");
    let shell = |lines: &str| {
        let output = Command::new("/bin/sh").args(["-ec", lines]).output();
        text(&output.unwrap())
    };
    assert_eq!(shell(chmod), "");
    let mode = fs::metadata(&directory).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
    let authority = directory.join("ca-pub.pem").display().to_string();
    let printed = shell(&format!("{variables}\nprintf %s \"$CA\""));
    assert_eq!(printed, authority);
    let config = directory.join("config.toml").display().to_string();
    assert_eq!(shell(&doctor).trim(), format!("{config}\ndoctor"));
    assert!(!said.contains("--cacert $CA"), "{said}");
}

#[test]
fn a_folder_that_it_may_not_open_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let directory = folder.path().join("others");
    fs::create_dir(&directory).unwrap();
    for (path, mode) in [(folder.path(), 0o711), (directory.as_path(), 0o700)] {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }
    let refused = Command::new(PROGRAM)
        .args(["init", "--dir"])
        .arg(&directory)
        .uid(65534)
        .output()
        .unwrap();
    let said = text(&refused);
    assert!(!refused.status.success(), "{said}");
    assert!(said.contains(&directory.display().to_string()), "{said}");
    assert!(said.contains("ermission denied"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_starts_with_it_and_its_certificate_can_be_renewed() {
    let node = TestNode::prepare(&[Kind::Xfs], "").await;
    let directory = node.path("init");
    let made = init(&directory, &[]);
    assert!(made.status.success(), "{}", text(&made));
    let config = fs::read_to_string(directory.join("config.toml")).unwrap();
    let with = |key: &str, value: String| {
        let line = config
            .lines()
            .find(|line| line.starts_with(&format!("#{key} = ")));
        (line.unwrap().to_owned(), format!("{key} = {value}"))
    };
    let changed = [
        with("agent_db_dir", format!("{:?}", node.path("agent-db"))),
        with("ovm_endpoint", format!("{:?}", node.manager.endpoint())),
        with("toolstack", "\"/bin/false\"".to_owned()),
        with("log_file", format!("{:?}", directory.join("exporter.log"))),
        with("bind", "\"127.0.0.1\"".to_owned()),
        with("port", "0".to_owned()),
    ];
    let config = changed
        .iter()
        .fold(config.clone(), |text, (old, new)| text.replace(old, new));
    fs::write(directory.join("config.toml"), config).unwrap();

    // What was printed, as it would be pasted.
    let said = String::from_utf8(made.stdout).unwrap();
    let begin = said.find("-----BEGIN CERTIFICATE-----").unwrap();
    let authority = said[begin..]
        .split_inclusive("-----END CERTIFICATE-----")
        .next()
        .unwrap();
    let authority = authority.to_owned();
    let before = content(&directory);
    for renewed in [false, true] {
        if renewed {
            for name in ["srv-pub.pem", "srv-key.pem"] {
                fs::remove_file(directory.join(name)).unwrap();
            }
            let again = init(&directory, &[]);
            assert!(again.status.success(), "{}", text(&again));
            let after = content(&directory);
            for name in ["ca-key.pem", "ca-pub.pem", "config.toml"] {
                assert_eq!(after[name], before[name]);
            }
            for name in ["srv-key.pem", "srv-pub.pem"] {
                assert_eq!(after[name].0, before[name].0);
                assert_ne!(after[name].1, before[name].1);
            }
        }
        let daemon = Daemon::start(Path::new(PROGRAM), &directory).unwrap();
        let log = fs::read_to_string(directory.join("exporter.log")).unwrap();
        assert!(!log.contains("JWT"), "{log}");
        for host in ["127.0.0.1", "localhost"] {
            let endpoint = format!("https://{host}:{}", daemon.address().port());
            let trust = Trust::Authority(authority.clone().into_bytes());
            let client = Client::login(&endpoint, USER, PASSWORD, &trust)
                .await
                .unwrap();
            assert_eq!(client.node().await.unwrap().repositories.len(), 1);
        }
        openssl_accepts(&directory.join("ca-pub.pem"), daemon.address());
    }
}

/// Another library than the daemon's, which old clients use.
fn openssl_accepts(authority: &Path, address: std::net::SocketAddr) {
    let mut connector = SslConnector::builder(SslMethod::tls_client()).unwrap();
    connector.set_ca_file(authority).unwrap();
    let tcp = TcpStream::connect(address).unwrap();
    connector.build().connect("localhost", tcp).unwrap();
}

#[test]
fn half_of_a_pair_is_refused_and_nothing_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let directory = folder.path().join("half");
    assert!(init(&directory, &[]).status.success());
    for gone in ["srv-key.pem", "srv-pub.pem"] {
        let kept = fs::read(directory.join(gone)).unwrap();
        for name in [gone, "config.toml"] {
            fs::rename(directory.join(name), folder.path().join(name)).unwrap();
        }
        let before = content(&directory);
        let refused = init(&directory, &[]);
        let said = text(&refused);
        assert!(!refused.status.success(), "{said}");
        assert!(
            said.contains(gone) && said.contains("Nothing was written"),
            "{said}"
        );
        assert_eq!(content(&directory), before);
        for name in [gone, "config.toml"] {
            fs::rename(folder.path().join(name), directory.join(name)).unwrap();
        }
        assert_eq!(fs::read(directory.join(gone)).unwrap(), kept);
    }
    // The key of another authority.
    let other = folder.path().join("other");
    assert!(init(&other, &[]).status.success());
    fs::copy(other.join("ca-key.pem"), directory.join("ca-key.pem")).unwrap();
    for name in ["srv-key.pem", "srv-pub.pem"] {
        fs::remove_file(directory.join(name)).unwrap();
    }
    let before = content(&directory);
    let refused = init(&directory, &[]);
    assert!(!refused.status.success());
    assert!(
        text(&refused).contains("is not the key of"),
        "{}",
        text(&refused)
    );
    assert_eq!(content(&directory), before);
}

#[test]
fn one_that_is_killed_leaves_nothing_that_the_next_one_cannot_use() {
    let folder = tempfile::tempdir().unwrap();
    for round in 0..count(12, 200) {
        let directory = folder.path().join(round.to_string());
        let mut child = Command::new(PROGRAM)
            .args(["init", "--dir"])
            .arg(&directory)
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(round as u64 % 40));
        let _ = child.kill();
        child.wait().unwrap();
        // A configuration is the last file: it never names one that is not there.
        if directory.join("config.toml").exists() {
            assert!(check_config(&directory).status.success());
        }
        let again = init(&directory, &[]);
        assert!(again.status.success(), "round {round}: {}", text(&again));
        let modes: Vec<_> = content(&directory)
            .iter()
            .map(|(name, (mode, _))| (name.clone(), *mode))
            .collect();
        assert_eq!(modes, FILES.map(|(name, mode)| (name.to_owned(), mode)));
        assert!(check_config(&directory).status.success());
    }
}
