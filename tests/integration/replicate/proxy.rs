//! Something between client and node.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// Passes TCP on, and breaks connections off.
pub struct Proxy {
    pub address: SocketAddr,
    /// Connections that were broken off.
    pub cuts: Arc<AtomicU64>,
    /// So many are broken off yet.
    pub left: Arc<AtomicU64>,
    node: Arc<Mutex<SocketAddr>>,
    task: JoinHandle<()>,
}

impl Proxy {
    /// To a node; each of the first `cuts` connections on which so many bytes came from it is
    /// broken off.
    pub async fn to(node: SocketAddr, after: u64, cuts: u64) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let left = Arc::new(AtomicU64::new(cuts));
        let done = Arc::new(AtomicU64::new(0));
        let (to_cut, cut) = (Arc::clone(&left), Arc::clone(&done));
        let node = Arc::new(Mutex::new(node));
        let known = Arc::clone(&node);
        let task = tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                let (to_cut, cut) = (Arc::clone(&to_cut), Arc::clone(&cut));
                let node = *known.lock().unwrap();
                tokio::spawn(async move {
                    if let Ok(server) = TcpStream::connect(node).await {
                        pass(client, server, after, &to_cut, &cut).await;
                    }
                });
            }
        });
        Proxy {
            address,
            cuts: done,
            left,
            node,
            task,
        }
    }

    /// The node has come back somewhere else.
    pub fn goes_to(&self, node: SocketAddr) {
        *self.node.lock().unwrap() = node;
    }

    pub fn endpoint(&self) -> String {
        format!("https://{}", self.address)
    }
}

async fn pass(
    client: TcpStream,
    server: TcpStream,
    after: u64,
    left: &AtomicU64,
    cuts: &AtomicU64,
) {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let up = async move {
        let _ = tokio::io::copy(&mut from_client, &mut to_server).await;
        let _ = to_server.shutdown().await;
    };
    let down = async move {
        let (mut buffer, mut passed) = (vec![0; 16 << 10], 0);
        loop {
            let count = match from_server.read(&mut buffer).await {
                Ok(count) if count > 0 => count,
                _ => return,
            };
            passed += count as u64;
            if passed > after
                && left
                    .fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1))
                    .is_ok()
            {
                cuts.fetch_add(1, SeqCst);
                return;
            }
            if to_client.write_all(&buffer[..count]).await.is_err() {
                return;
            }
        }
    };
    // Whichever ends first, both halves are closed.
    tokio::select! {
        () = up => {}
        () = down => {}
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}
