//! A certificate is replaced while clients work: by SIGHUP, in the real daemon.

use std::fs;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};

use coriolis_ovm_exporter::operations::demo::certificates;
use reqwest::Certificate;

use crate::support::api::{Api, text};
use crate::support::counts::count;
use crate::support::node::{Kind, TestNode};
use crate::support::wait::{until, until_told};

/// Believes these authorities, and opens a connection for each request.
fn client(authorities: &[&str]) -> reqwest::Client {
    let roots = authorities
        .iter()
        .map(|pem| Certificate::from_pem(pem.as_bytes()).unwrap());
    reqwest::Client::builder()
        .tls_certs_only(roots)
        .pool_max_idle_per_host(0)
        .build()
        .unwrap()
}

fn hang_up(node: &TestNode) {
    let id = node.daemon_id().to_string();
    let status = Command::new("kill").args(["-HUP", &id]).status();
    assert!(status.unwrap().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn no_request_fails_while_certificates_are_swapped() {
    let swaps = count(6, 100);
    let node = TestNode::new(&[Kind::Xfs]).await;
    let other = tempfile::tempdir().unwrap();
    let other_authority = certificates::write(other.path()).unwrap();
    let vm = node.machine(0, 1, &[32 << 20]);
    let api = Api::of(&node).await;
    let snapshot = api.snapshot(&vm.id).await;
    let disk = format!(
        "{}/api/v1/vms/{}/snapshots/{}/disks/{}",
        node.endpoint(),
        vm.id,
        text(&snapshot["id"]),
        text(&snapshot["disks"][0]["name"])
    );
    let vms = format!("{}/api/v1/vms", node.endpoint());
    let pairs = ["srv-pub.pem", "srv-key.pem"].map(|name| {
        (
            name,
            fs::read(node.path(name)).unwrap(),
            fs::read(other.path().join(name)).unwrap(),
        )
    });

    let (done, served) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicUsize::new(0)),
    );
    let believes = [node.authority.as_str(), &other_authority];
    let load: Vec<_> = (0..4)
        .map(|at| {
            let (done, served) = (done.clone(), served.clone());
            let (token, url) = (
                api.token.clone(),
                if at == 0 { &disk } else { &vms }.clone(),
            );
            // The last one keeps its connection.
            let http = if at == 3 {
                node.http()
            } else {
                client(&believes)
            };
            tokio::spawn(async move {
                while !done.load(Relaxed) {
                    let answer = http.get(&url).bearer_auth(&token).send().await.unwrap();
                    assert_eq!(answer.status(), 200);
                    let length = answer.content_length().unwrap();
                    assert_eq!(answer.bytes().await.unwrap().len() as u64, length);
                    served.fetch_add(1, Relaxed);
                }
            })
        })
        .collect();
    let only = [client(&believes[..1]), client(&believes[1..])];
    for swap in 1..=swaps {
        let wanted = served.load(Relaxed) + 10;
        until("load goes on", || {
            served.load(Relaxed) >= wanted || load.iter().any(|task| task.is_finished())
        });
        let second = swap % 2 == 1;
        for (name, first_pem, second_pem) in &pairs {
            let new = node.path("new.pem");
            fs::write(&new, if second { second_pem } else { first_pem }).unwrap();
            fs::rename(new, node.path(name)).unwrap();
        }
        hang_up(&node);
        until_told("new connections get the new one", async || {
            let ask = |http: &reqwest::Client| http.get(&vms).bearer_auth(&api.token).send();
            ask(&only[usize::from(second)]).await.is_ok()
                && ask(&only[usize::from(!second)]).await.is_err()
        })
        .await;
        if swap % 3 == 0 {
            // A torn key is refused, and the pair in use stays.
            let key = fs::read(node.path("srv-key.pem")).unwrap();
            fs::write(node.path("srv-key.pem"), "torn").unwrap();
            let refused = || {
                node.log()
                    .matches("the old certificate stays in use")
                    .count()
            };
            let before = refused();
            hang_up(&node);
            until("it is refused", || refused() > before);
            fs::write(node.path("srv-key.pem"), key).unwrap();
        }
    }
    done.store(true, Relaxed);
    for task in load {
        task.await.expect("no request fails");
    }
    println!("{} requests, {swaps} swaps", served.load(Relaxed));
}
