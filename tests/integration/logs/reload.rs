//! SIGHUP takes up what is on disk. What is bad is refused, and the old one stays.

use std::fs;

use coriolis_ovm_exporter::operations::demo::certificates;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rcgen::{CertificateParams, KeyPair};

use super::super::support::api::Api;
use super::super::support::daemon::{Daemon, Site};
use super::super::support::node::{PASSWORD, TestNode, USER};
use super::super::support::wait;

/// Sends SIGHUP and waits until this has been logged once more; gives what was logged since.
fn hang_up(node: &TestNode, until: &str) -> String {
    let before = node.log().len();
    let id = i32::try_from(node.daemon_id()).unwrap();
    kill(Pid::from_raw(id), Signal::SIGHUP).unwrap();
    wait::until(until, || node.log()[before..].contains(until));
    node.log()[before..].to_owned()
}

const ALL: &str = "SIGHUP: configuration, log file and certificates taken up";

/// Changes the configuration.
fn edit(node: &TestNode, old: &str, new: &str) {
    let file = node.path("config.toml");
    let text = fs::read_to_string(&file).unwrap();
    assert!(text.contains(old), "{old}: {text}");
    fs::write(file, text.replace(old, new)).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_level_changes_at_once_and_what_cannot_is_named() {
    let mut node = TestNode::prepare(&[], "").await;
    edit(&node, "\"debug\"", "\"info\"");
    node.start();
    let api = Api::of(&node).await;
    api.get("/vms").await;
    assert!(!node.log().contains("DEBUG"));
    assert!(!hang_up(&node, ALL).contains("changed"), "{}", node.log());

    edit(&node, "\"info\"", "\"debug\"");
    edit(&node, "port = 0", "port = 1");
    edit(&node, "[api]", "[api.limits]\nmax_body = \"2KiB\"\n[api]");
    let said = hang_up(&node, ALL);
    assert!(said.contains("SIGHUP: changed: log_level\n"), "{said}");
    let later = "only a restart takes it up: api.port, api.limits.max_body\n";
    assert!(said.contains(later), "{said}");
    assert_eq!(api.get("/vms").await.status, 200, "on the same port");
    assert!(node.log().contains("DEBUG"));

    // It is not forgotten.
    let again = hang_up(&node, ALL);
    assert!(
        again.contains(later) && !again.contains("log_level"),
        "{again}"
    );
    edit(&node, "port = 1", "port = 0");
    edit(&node, "2KiB", "64KiB");
    assert!(!hang_up(&node, ALL).contains("changed"), "{}", node.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_configuration_is_refused_and_the_certificate_is_renewed_all_the_same() {
    let node = TestNode::new(&[]).await;
    let api = Api::of(&node).await;
    let file = node.path("config.toml");
    let good = fs::read_to_string(&file).unwrap();
    fs::remove_file(node.path("srv-key.pem")).unwrap();
    let authority = certificates::write(&node.path(".")).unwrap();
    let refused = "the configuration is refused; the old one stays in use";
    for (bad, told) in [
        (
            good.replace("\"debug\"", "\"loud\"")
                .replace("port = 0", "port = \"x\""),
            &["log_level", "api.port"][..],
        ),
        ("log_level = [".to_owned(), &["config.toml"]),
        (good.replace("certificate =", "#"), &["api.tls.certificate"]),
        (
            good.replace("https://", "http://"),
            &["ovm_endpoint", "passwords go there"],
        ),
        (String::new(), &["api.tls.certificate"]),
    ] {
        fs::write(&file, &bad).unwrap();
        let said = hang_up(&node, refused);
        for part in told {
            assert!(said.contains(part), "{part}: {said}");
        }
        assert!(!said.contains("SIGHUP: changed"), "{said}");
        let before = node.log().len();
        assert_eq!(api.login(USER, PASSWORD).await.status, 200);
        assert!(node.log()[before..].contains("DEBUG"), "the old level");
    }
    fs::remove_file(&file).unwrap();
    hang_up(&node, refused);
    let renewed = reqwest::Client::builder()
        .tls_certs_only([reqwest::Certificate::from_pem(authority.as_bytes()).unwrap()])
        .build()
        .unwrap();
    let asked = renewed.get(node.endpoint()).send();
    assert_eq!(asked.await.unwrap().status(), 404, "{}", node.log());
    fs::write(&file, good).unwrap();
    hang_up(&node, ALL);
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_of_tokens_logins_and_the_manager_hold_from_then_on() {
    let node = TestNode::with_config(&[], "[jwt]\ntime_to_live = \"1h\"\n").await;
    let api = Api::of(&node).await;
    edit(&node, "\"1h\"", "\"1s\"\n[api.login]\nmax_failures = 1");
    let said = hang_up(&node, ALL);
    assert!(
        said.contains("changed: jwt.time_to_live, api.login.max_failures"),
        "{said}"
    );
    let short = Api::of(&node).await;
    wait::until_told("the new one ends", async || {
        short.get("/vms").await.status == 401
    })
    .await;
    assert_eq!(api.get("/vms").await.status, 200, "the old one goes on");
    api.login(USER, "wrong").await.error(401);
    assert_eq!(api.login(USER, "wrong").await.status, 429);

    // Nobody listens there.
    let manager = node.manager.endpoint();
    edit(&node, &manager, "https://127.0.0.1:1");
    edit(&node, "max_failures = 1", "max_failures = 100");
    assert!(hang_up(&node, ALL).contains("changed: ovm_endpoint"));
    wait::until_told("it is asked", async || {
        api.login(USER, PASSWORD).await.status == 502
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_that_are_no_good_are_refused() {
    let node = TestNode::new(&[]).await;
    let (certificate, key) = (node.path("srv-pub.pem"), node.path("srv-key.pem"));
    let good = [&certificate, &key].map(|file| fs::read(file).unwrap());
    let pair = |from: i32, until: i32| {
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        params.not_before = rcgen::date_time_ymd(from, 1, 1);
        params.not_after = rcgen::date_time_ymd(until, 1, 1);
        let key = KeyPair::generate().unwrap();
        (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
    };
    let stays = "the old certificate stays in use";
    let (expired, early, fresh) = (pair(2001, 2002), pair(3001, 3002), pair(2001, 3000));
    for ((certificate_pem, key_pem), why) in [
        (expired.clone(), "expired at"),
        (early, "valid only from"),
        ((fresh.0.clone(), expired.1), "is not the key of"),
        ((fresh.0.clone(), "torn".to_owned()), "has no PEM section"),
    ] {
        fs::write(&certificate, certificate_pem).unwrap();
        fs::write(&key, key_pem).unwrap();
        let said = hang_up(&node, stays);
        assert!(said.contains(why), "{why}: {said}");
        // The client believes the first authority only.
        Api::of(&node).await;
    }
    fs::write(&certificate, &fresh.0).unwrap();
    fs::write(&key, &fresh.1).unwrap();
    hang_up(&node, ALL);
    node.http().get(node.endpoint()).send().await.unwrap_err();

    // Other files, by their keys.
    fs::write(node.path("other.pem"), &good[0]).unwrap();
    fs::write(node.path("other.key"), &good[1]).unwrap();
    edit(&node, "srv-pub.pem", "other.pem");
    let said = hang_up(&node, "not in force");
    assert!(said.contains("is not the key of"), "{said}");
    let refused = "ERROR SIGHUP: not in force, for the reasons above: api.tls.certificate\n";
    assert!(said.contains(refused), "{said}");
    assert!(!said.contains("SIGHUP: changed"), "{said}");
    node.http().get(node.endpoint()).send().await.unwrap_err();
    edit(&node, "srv-key.pem", "other.key");
    let said = hang_up(&node, ALL);
    assert!(
        said.contains("changed: api.tls.certificate, api.tls.key"),
        "{said}"
    );
    Api::of(&node).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_protects_less_than_before_is_told_as_a_warning() {
    let mut node = TestNode::prepare(&[], "").await;
    let asks = "require_client_certificate = true\n";
    let authority = format!("ca_certificate = {:?}\n", node.path("ca-pub.pem"));
    edit(
        &node,
        "[api.tls]\n",
        &format!("[api.tls]\n{authority}{asks}"),
    );
    node.start();
    let ask = || node.http().get(node.endpoint()).send();
    ask().await.unwrap_err();

    // A part that is refused weakens nothing.
    let certificate = node.path("srv-pub.pem");
    let good = fs::read(&certificate).unwrap();
    fs::write(&certificate, "torn").unwrap();
    edit(&node, asks, "");
    let refused = "not in force, for the reasons above: api.tls.require_client_certificate\n";
    let said = hang_up(&node, refused);
    assert!(
        !said.contains("changed") && !said.contains("protects less"),
        "{said}"
    );
    assert!(
        said.contains("api.tls.ca_certificate: has no effect"),
        "{said}"
    );
    fs::write(&certificate, good).unwrap();
    ask().await.unwrap_err();

    // It is told although warnings are not, from then on.
    edit(&node, "\"debug\"", "\"error\"");
    let said = hang_up(&node, ALL);
    for told in [
        "WARN SIGHUP: api.tls.require_client_certificate protects less than before: clients are not asked",
        "WARN SIGHUP: log_level protects less than before",
        "INFO SIGHUP: changed: log_level, api.tls.require_client_certificate\n",
    ] {
        assert!(said.contains(told), "{told}: {said}");
    }
    assert_eq!(ask().await.unwrap().status(), 404);
    edit(&node, "\"error\"", "\"debug\"");
    edit(&node, &authority, &format!("{authority}{asks}"));
    let said = hang_up(&node, ALL);
    assert!(!said.contains("protects less"), "{said}");
    ask().await.unwrap_err();
}

/// Nobody sends a second signal: the next lines try again.
#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_cannot_be_opened_yet_is_taken_up_later() {
    let node = TestNode::new(&[]).await;
    let api = Api::of(&node).await;
    let later = node.path("later/exporter.log");
    let old = node.path("exporter.log");
    edit(&node, old.to_str().unwrap(), later.to_str().unwrap());
    edit(&node, "log_level", "log_max_size = \"64KiB\"\nlog_level");
    let said = hang_up(&node, ALL);
    assert!(said.contains("the old file stays in use"), "{said}");
    assert!(
        said.contains("not in force, for the reasons above: log_file, log_max_size\n"),
        "{said}"
    );
    assert!(!said.contains("SIGHUP: changed"), "{said}");
    fs::create_dir(later.parent().unwrap()).unwrap();
    let told = || fs::read_to_string(&later).unwrap_or_default();
    wait::until_told("it is taken up", async || {
        api.get("/vms").await;
        told().contains("this log could be opened only now")
    })
    .await;
    // No line between the two.
    let id = api.get("/vms").await.header("x-request-id").to_owned();
    assert!(told().contains(&id));
    let daemon = i32::try_from(node.daemon_id()).unwrap();
    kill(Pid::from_raw(daemon), Signal::SIGHUP).unwrap();
    wait::until("it is in force", || told().contains(ALL));
    assert!(!told().contains("SIGHUP: changed"), "{}", told());
}

#[test]
fn it_works_with_the_configuration_of_the_first_generation() {
    let mut site = Site::new();
    site.unset("agent_db_dir");
    site.set("ovm_endpoint", "\"https://manager.example:7002\"");
    site.set("jwt.secret", "\"0123456789abcdef0123456789abcdef\"");
    site.set("jwt.time_to_live", "\"24h\"");
    let authority = site.path("ca-pub.pem");
    site.set("api.tls.ca_certificate", format!("{authority:?}"));
    let mut daemon = Daemon::start(site);
    // Its clients were never asked for a certificate, and are not now.
    let idle = "api.tls.ca_certificate: has no effect";
    assert_eq!(daemon.site.log().matches(idle).count(), 1);
    daemon.signal(Signal::SIGHUP);
    wait::until("it is taken up", || daemon.site.log().contains(ALL));
    assert!(
        !daemon.site.log().contains("changed"),
        "{}",
        daemon.site.log()
    );
    daemon.site.set("log_level", "\"trace\"");
    daemon.site.write_config();
    daemon.signal(Signal::SIGHUP);
    wait::until("it changes", || {
        daemon.site.log().contains("SIGHUP: changed: log_level")
    });
    daemon.signal(Signal::SIGTERM);
    assert_eq!(daemon.wait().code(), Some(0));
}
