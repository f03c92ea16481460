//! Connections that break in the middle are taken up again from where they broke.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy};
use tokio::net::{TcpListener, TcpStream};

use super::command::{Desk, Ran};
use super::download::assert_holds;

/// Passes connections on, and breaks those that carry much until it has done so often enough.
async fn cutter(to: SocketAddr, after: u64, cuts: u64) -> (SocketAddr, Arc<AtomicU64>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let made = Arc::new(AtomicU64::new(0));
    let counter = made.clone();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            tokio::spawn(pass(client, to, after, cuts, counter.clone()));
        }
    });
    (address, made)
}

async fn pass(client: TcpStream, to: SocketAddr, after: u64, cuts: u64, made: Arc<AtomicU64>) {
    let Ok(daemon) = TcpStream::connect(to).await else {
        return;
    };
    let (mut from_client, mut to_client) = client.into_split();
    let (from_daemon, mut to_daemon) = daemon.into_split();
    let up = tokio::spawn(async move {
        let _ = copy(&mut from_client, &mut to_daemon).await;
    });
    let mut limited = from_daemon.take(after);
    let _ = copy(&mut limited, &mut to_client).await;
    let cut = limited.limit() == 0 && made.fetch_add(1, Ordering::SeqCst) < cuts;
    if !cut && limited.limit() == 0 {
        let mut rest = limited.into_inner();
        let _ = copy(&mut rest, &mut to_client).await;
    }
    let _ = to_client.shutdown().await;
    up.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_download_goes_on_where_its_connection_broke() {
    let mut desk = Desk::set().await;
    // Enough that every cut is in the middle.
    for _ in 0..20 {
        desk.scribble();
    }
    let snapshot = desk.snapshot();
    let (address, cuts) = cutter(desk.node.address(), 700_000, 3).await;
    let folder = tempfile::tempdir().unwrap();
    let mut command = desk.command_at(&format!("https://{address}"));
    command.args(["snapshot", "download", &snapshot, "--out-dir"]);
    command.arg(folder.path());
    let output = tokio::task::spawn_blocking(move || command.output().unwrap())
        .await
        .unwrap();
    let ran = Ran::of(output);
    assert!(cuts.load(Ordering::SeqCst) >= 3, "{ran:?}");
    assert_eq!(ran.stderr.matches("again in").count(), 3, "{ran:?}");
    ran.done();
    assert_holds(&desk, &snapshot, folder.path());
}
