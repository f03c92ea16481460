//! Figures: who gets them, that they can be read, and that they are right.

use std::collections::BTreeMap;
use std::fs;

use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use reqwest::Method;

use crate::support::api::{Answer, Api, text};
use crate::support::daemon::run;
use crate::support::node::{Kind, TestNode, USER};
use crate::support::wait::until_told;
use crate::support::wire::Dialler;

const TOKEN: &str = "0123456789abcdef-a-token-of-the-tests";

/// Every sample, by its name with labels. What breaks the format fails.
fn samples(answer: &Answer) -> BTreeMap<String, f64> {
    assert_eq!(answer.status, 200, "{answer:?}");
    let kind = answer.header("content-type");
    assert!(kind.starts_with("application/openmetrics-text"), "{kind}");
    let body = std::str::from_utf8(&answer.body).unwrap();
    let (lines, end) = body.trim_end().rsplit_once('\n').unwrap();
    assert_eq!(end, "# EOF");
    let mut found = BTreeMap::new();
    let mut family = String::new();
    for line in lines.lines() {
        if let Some(said) = line.strip_prefix("# ") {
            let mut words = said.split(' ');
            let (what, name) = (words.next().unwrap(), words.next().unwrap());
            assert!(["HELP", "TYPE", "UNIT"].contains(&what), "{line}");
            assert!(name.starts_with("ovm_exporter_"), "{line}");
            family = name.to_owned();
            continue;
        }
        assert!(line.starts_with(&family), "{line} stands in {family}");
        let (name, value) = line.rsplit_once(' ').unwrap();
        let before = found.insert(name.to_owned(), value.parse::<f64>().unwrap());
        assert!(before.is_none(), "{name} is there twice");
    }
    found
}

async fn figures(api: &Api, node: &TestNode) -> BTreeMap<String, f64> {
    let mut wire = Dialler::of(node).open().await.unwrap();
    let token = format!("Authorization: Bearer {}\r\n", api.token);
    samples(&wire.ask("GET", "/metrics", &token).await.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_happened_is_counted() {
    let node = TestNode::new(&[Kind::Xfs]).await;
    let vm = node.machine(0, 1, &[1 << 20]);
    let api = Api::of(&node).await;
    assert_eq!(api.login(USER, "wrong").await.status, 401);
    let snapshot = api.snapshot(&vm.id).await;
    let id = text(&snapshot["id"]);
    let disk = text(&snapshot["disks"][0]["name"]);
    let path = format!("/vms/{}/snapshots/{id}/disks/{disk}", vm.id);
    let part = [("range", "bytes=0-99999")];
    let answer = api.send(Method::GET, &path, &part).await;
    assert_eq!(answer.body.len(), 100_000);
    let delta = api.get(&format!("{path}/delta")).await;
    api.get("/nowhere/at-all").await;

    let found = figures(&api, &node).await;
    let route = "/api/v1/vms/{vm}/snapshots/{snapshot}/disks/{disk}";
    let repository = &node.repositories[0].id;
    for (name, value) in [
        (r#"logins_total{outcome="accepted"}"#.to_owned(), 1),
        (r#"logins_total{outcome="refused"}"#.to_owned(), 1),
        (r#"logins_total{outcome="slowed"}"#.to_owned(), 0),
        (r#"sent_bytes_total{kind="disk"}"#.to_owned(), 100_000),
        (
            r#"sent_bytes_total{kind="delta"}"#.to_owned(),
            delta.body.len(),
        ),
        (r#"snapshots{state="ready"}"#.to_owned(), 1),
        (r#"snapshots{state="broken"}"#.to_owned(), 0),
        (
            format!(r#"requests_total{{route="{route}",method="GET",status="206"}}"#),
            1,
        ),
        (
            r#"requests_total{route="none",method="GET",status="404"}"#.to_owned(),
            1,
        ),
        (
            format!(r#"request_duration_seconds_count{{route="{route}",method="GET"}}"#),
            1,
        ),
        (
            format!(r#"repository_mounted{{repository="{repository}"}}"#),
            1,
        ),
        (r#"operations_running{kind="disk"}"#.to_owned(), 0),
        ("streams".to_owned(), 0),
        ("buffers_bytes".to_owned(), 0),
        ("ready".to_owned(), 1),
    ] {
        let value = f64::from(u32::try_from(value).unwrap());
        let name = format!("ovm_exporter_{name}");
        assert_eq!(found.get(&name), Some(&value), "{name} of {found:#?}");
    }
    let free = format!(r#"ovm_exporter_repository_free_bytes{{repository="{repository}"}}"#);
    assert!(found[&free] > 1e9, "{}", found[&free]);
    assert!(found["ovm_exporter_connections"] >= 1.0);
    let build = format!(
        r#"ovm_exporter_build_info{{version="{}"}}"#,
        env!("CARGO_PKG_VERSION")
    );
    assert!(found.contains_key(&build), "{found:#?}");
    // The alerts that the README proposes are about figures that there are.
    let readme = include_str!("../../../README.md");
    let words = readme.split(|c: char| !(c.is_ascii_lowercase() || c == '_'));
    let alerts: Vec<&str> = words
        // What the command leaves for node_exporter has a name of its own.
        .filter(|word| word.starts_with("ovm_exporter_") && *word != "ovm_exporter_")
        .filter(|word| !word.starts_with("ovm_exporter_replica_"))
        .collect();
    assert!(alerts.len() > 3, "{alerts:?}");
    for alert in alerts {
        let name = format!(r#"{alert}{{repository="{repository}"}}"#);
        assert!(found.contains_key(&name), "{name} of {found:#?}");
    }
    // Names of machines, disks and users are nobody's business here.
    for name in found.keys() {
        assert!(!name.contains(&vm.id) && !name.contains(USER), "{name}");
    }
}

/// A client that takes nothing: the stream runs, and holds memory of the pool.
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_runs_is_seen() {
    let node = TestNode::new(&[Kind::Xfs]).await;
    let vm = node.machine(0, 1, &[256 << 20]);
    let api = Api::of(&node).await;
    let snapshot = api.snapshot(&vm.id).await;
    let (id, disk) = (text(&snapshot["id"]), text(&snapshot["disks"][0]["name"]));
    let mut wire = Dialler::of(&node).open().await.unwrap();
    wire.send(format!(
        "GET /api/v1/vms/{}/snapshots/{id}/disks/{disk} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\n\r\n",
        vm.id, api.token
    ))
    .await
    .unwrap();
    let at = |found: &BTreeMap<String, f64>, name: &str| found[&format!("ovm_exporter_{name}")];
    until_told("it runs", async || {
        let found = figures(&api, &node).await;
        at(&found, r#"operations_running{kind="disk"}"#) == 1.0
            && at(&found, "streams") == 1.0
            && at(&found, "buffers_bytes") > 0.0
            && at(&found, r#"sent_bytes_total{kind="disk"}"#) > 0.0
    })
    .await;
    drop(wire);
    until_told("it has ended, and nothing is held", async || {
        let found = figures(&api, &node).await;
        at(&found, r#"operations_running{kind="disk"}"#) == 0.0
            && at(&found, "streams") == 0.0
            && at(&found, "buffers_bytes") == 0.0
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn figures_want_a_token_on_the_interfaces_address() {
    let mut node = TestNode::prepare(&[], "").await;
    let file = node.path("metrics-token");
    node.configure(&format!("[metrics]\ntoken_file = {:?}\n", file.display()));
    fs::write(&file, format!("{TOKEN}\n")).unwrap();
    node.start();
    let api = Api::of(&node).await;
    let ask = async |authorization: &str| {
        let mut wire = Dialler::of(&node).open().await.unwrap();
        let header = match authorization {
            "" => String::new(),
            value => format!("Authorization: {value}\r\n"),
        };
        wire.ask("GET", "/metrics", &header).await.unwrap()
    };
    for good in [TOKEN, &api.token] {
        samples(&ask(&format!("Bearer {good}")).await);
    }
    let almost = &TOKEN[..TOKEN.len() - 1];
    let bad = [
        String::new(),
        TOKEN.to_owned(),
        "Bearer".to_owned(),
        "Bearer ".to_owned(),
        format!("Bearer {almost}"),
        format!("Bearer {TOKEN}x"),
        format!("Basic {TOKEN}"),
    ];
    for bad in &bad {
        assert_eq!(
            ask(bad).await.error(401).0,
            "Authentication failed",
            "{bad}"
        );
    }
    // It opens nothing else.
    let headers = [("authorization", format!("Bearer {TOKEN}"))];
    let headers = headers
        .each_ref()
        .map(|(name, value)| (*name, value.as_str()));
    assert_eq!(api.send(Method::GET, "/vms", &headers).await.status, 401);
    // Replaced while the daemon runs; what is too short, gone or several words lets nobody in.
    // Within a second or so.
    let another = "another-token-of-the-tests";
    let comes = async |status: u16| {
        until_told("it is looked at", async || {
            ask(&format!("Bearer {another}")).await.status == status
        })
        .await;
    };
    fs::write(&file, another).unwrap();
    comes(200).await;
    assert_eq!(ask(&format!("Bearer {TOKEN}")).await.status, 401);
    for useless in ["short", "", "two words that are long enough"] {
        fs::write(&file, useless).unwrap();
        comes(401).await;
        assert_eq!(ask(&format!("Bearer {useless}")).await.status, 401);
        fs::write(&file, another).unwrap();
        comes(200).await;
    }
    fs::remove_file(&file).unwrap();
    comes(401).await;
    let log = node.log();
    assert!(log.contains("token_file"), "{log}");
    assert!(!log.contains("token-of-the-tests"), "{log}");
}

/// Hundreds of strangers, where there is a pipe: nobody waits for whoever would write there.
#[tokio::test(flavor = "multi_thread")]
async fn strangers_open_no_pipe() {
    let mut node = TestNode::prepare(&[], "").await;
    let file = node.path("metrics-token");
    node.configure(&format!("[metrics]\ntoken_file = {:?}\n", file.display()));
    mkfifo(&file, Mode::S_IRWXU).unwrap();
    node.start();
    let api = Api::of(&node).await;
    let threads = format!("/proc/{}/task", node.daemon_id());
    let count = || fs::read_dir(&threads).unwrap().count();
    let before = count();
    let strangers = (0..100).map(|_| async {
        let mut wire = Dialler::of(&node).open().await.unwrap();
        let header = format!("Authorization: Bearer {TOKEN}\r\n");
        wire.ask("GET", "/metrics", &header).await.unwrap().status
    });
    let answers = futures_util::future::join_all(strangers).await;
    assert!(answers.iter().all(|status| *status == 401), "{answers:?}");
    assert!(count() < before + 20, "{before}, then {}", count());
    figures(&api, &node).await;
    let log = node.log();
    assert_eq!(log.matches("it is not a regular file").count(), 1, "{log}");
    // Put right, it is taken up by itself.
    fs::remove_file(&file).unwrap();
    fs::write(&file, TOKEN).unwrap();
    until_told("it is taken up", async || {
        let mut wire = Dialler::of(&node).open().await.unwrap();
        let header = format!("Authorization: Bearer {TOKEN}\r\n");
        wire.ask("GET", "/metrics", &header).await.unwrap().status == 200
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn figures_have_an_address_of_their_own_where_one_is_configured() {
    let node = TestNode::with_config(&[], "[metrics]\nbind = \"127.0.0.1:0\"\n").await;
    let log = node.log();
    let (_, rest) = log.split_once("figures at /metrics").unwrap();
    let address = rest.split("address=").nth(1).unwrap();
    let address = address.split_whitespace().next().unwrap();
    let http = node.http();
    let ask = async |method: Method, path: &str| {
        let url = format!("http://{address}{path}");
        let response = http.request(method, url).send().await.unwrap();
        Answer {
            status: response.status().as_u16(),
            headers: response.headers().clone(),
            body: response.bytes().await.unwrap(),
        }
    };
    samples(&ask(Method::GET, "/metrics").await);
    assert_eq!(ask(Method::HEAD, "/metrics").await.status, 200);
    let wrong = ask(Method::POST, "/metrics").await;
    wrong.error(405);
    assert!(wrong.header("allow").contains("GET"));
    for path in ["/", "/api/v1/vms", "/health/live"] {
        ask(Method::GET, path).await.error(404);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_is_taken_is_said_at_the_start() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let config = format!("[metrics]\nbind = \"{address}\"\n");
    let mut node = TestNode::prepare(&[], &config).await;
    let error = node.start_with(&[]).unwrap_err().to_string();
    assert!(error.contains(&address.to_string()), "{error}");
    assert!(error.contains("[metrics] bind"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn check_config_knows_what_is_wrong_with_them() {
    let node = TestNode::prepare(&[], "").await;
    for (line, said) in [
        ("bind = \"9549\"", "an address and a port in quotes"),
        (
            "bind = \"localhost:9549\"",
            "an address and a port in quotes",
        ),
        ("token_file = \"/nowhere/token\"", "/nowhere/token"),
    ] {
        node.configure(&format!("[metrics]\n{line}\n"));
        let config = node.path("config.toml");
        let output = run(&[
            "-config".as_ref(),
            config.as_os_str(),
            "check-config".as_ref(),
        ]);
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(text.contains(said) && text.contains("metrics."), "{text}");
        assert!(!output.status.success(), "{text}");
    }
}
