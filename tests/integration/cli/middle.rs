//! What stands between the command and the daemon, and is not to be relied upon.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy};
use tokio::net::{TcpListener, TcpStream};

/// After so many bytes of the daemon's a connection is one that carries a disk.
const MUCH: u64 = 700_000;

/// What happens to connections that carry much.
#[derive(Debug, Clone, Copy)]
pub enum Cut {
    /// The first ones break; later ones do not.
    Broken { times: u64 },
    /// Nothing comes any more, and nobody says so.
    Stalled,
}

/// Passes connections on.
#[derive(Debug)]
pub struct Middle {
    address: SocketAddr,
    cuts: Arc<AtomicU64>,
}

impl Middle {
    pub async fn of(daemon: SocketAddr, cut: Cut) -> Middle {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let cuts = Arc::new(AtomicU64::new(0));
        let counter = cuts.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(pass(client, daemon, cut, counter.clone()));
            }
        });
        Middle { address, cuts }
    }

    pub fn endpoint(&self) -> String {
        format!("https://{}", self.address)
    }

    /// Connections that were cut up to now.
    pub fn cuts(&self) -> u64 {
        self.cuts.load(Ordering::SeqCst)
    }
}

async fn pass(client: TcpStream, daemon: SocketAddr, cut: Cut, cuts: Arc<AtomicU64>) {
    let Ok(daemon) = TcpStream::connect(daemon).await else {
        return;
    };
    let (mut from_client, mut to_client) = client.into_split();
    let (from_daemon, mut to_daemon) = daemon.into_split();
    let up = tokio::spawn(async move {
        let _ = copy(&mut from_client, &mut to_daemon).await;
    });
    let mut limited = from_daemon.take(MUCH);
    let _ = copy(&mut limited, &mut to_client).await;
    if limited.limit() == 0 {
        let earlier = cuts.fetch_add(1, Ordering::SeqCst);
        match cut {
            Cut::Stalled => std::future::pending().await,
            Cut::Broken { times } if earlier < times => {}
            Cut::Broken { .. } => {
                let _ = copy(&mut limited.into_inner(), &mut to_client).await;
            }
        }
    }
    let _ = to_client.shutdown().await;
    up.abort();
}
