//! A name server that knows one name.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use tokio::net::UdpSocket;
use tokio::task::JoinHandle;

/// Ends when dropped.
pub struct NameServer {
    task: JoinHandle<()>,
    answers: Arc<AtomicU32>,
}

impl NameServer {
    /// Answers for `name` with 127.0.0.1, on the port that resolv.conf means.
    pub async fn start(name: &str) -> NameServer {
        let socket = UdpSocket::bind("127.0.0.1:53").await.unwrap();
        let answers = Arc::new(AtomicU32::new(0));
        let count = answers.clone();
        let known = on_the_wire(name);
        let task = tokio::spawn(async move {
            let mut query = [0; 512];
            while let Ok((length, from)) = socket.recv_from(&mut query).await {
                let answer = answer(&query[..length], &known);
                count.fetch_add(answer.1, Ordering::SeqCst);
                socket.send_to(&answer.0, from).await.unwrap();
            }
        });
        NameServer { task, answers }
    }

    /// How often it gave the address.
    pub fn answers(&self) -> u32 {
        self.answers.load(Ordering::SeqCst)
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn on_the_wire(name: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for label in name.split('.') {
        bytes.push(u8::try_from(label.len()).unwrap());
        bytes.extend(label.as_bytes());
    }
    bytes.push(0);
    bytes
}

/// RFC 1035 section 4: a 12-byte header, then the name, then type and class.
fn answer(query: &[u8], known: &[u8]) -> (Vec<u8>, u32) {
    let name_end = 12 + query[12..].iter().position(|byte| *byte == 0).unwrap() + 1;
    let is_known = query[12..name_end].eq_ignore_ascii_case(known);
    let has_address = is_known && query[name_end..name_end + 2] == [0, 1];
    let mut answer = query[..2].to_vec();
    let status = if is_known { 0x80 } else { 0x83 };
    answer.extend([0x81, status, 0, 1, 0, u8::from(has_address), 0, 0, 0, 0]);
    answer.extend(&query[12..name_end + 4]);
    if has_address {
        answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 127, 0, 0, 1]);
    }
    (answer, u32::from(has_address))
}
