//! What is said to qemu itself, in its own protocol (QMP).

use std::io::{BufRead, BufReader, Write};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixStream};
use std::time::Duration;

use anyhow::{Context as _, bail};
use serde_json::{Value, json};
use uuid::Uuid;

/// A machine's control socket. Its name is in no folder, whose path might be too long for it.
pub struct Control {
    name: String,
}

impl Control {
    pub fn new() -> Control {
        Control {
            name: format!("ocfs2-test-{}", Uuid::new_v4()),
        }
    }

    /// For qemu's command line.
    pub fn arguments(&self) -> [String; 4] {
        [
            "-chardev".to_owned(),
            format!(
                "socket,id=control,path={},abstract=on,server=on,wait=off",
                self.name
            ),
            "-mon".to_owned(),
            "chardev=control,mode=control".to_owned(),
        ]
    }

    /// Lets a disk do no more than one request a second from now on.
    pub fn slow_down(&self, drive: &str) -> anyhow::Result<()> {
        let limits = json!({
            "device": drive, "iops": 1, "iops_rd": 0, "iops_wr": 0, "bps": 0, "bps_rd": 0, "bps_wr": 0,
        });
        self.execute("block_set_io_throttle", limits)
    }

    fn execute(&self, command: &str, arguments: Value) -> anyhow::Result<()> {
        let address = SocketAddr::from_abstract_name(&self.name)?;
        let stream = UnixStream::connect_addr(&address).context("qemu's control socket")?;
        stream.set_read_timeout(Some(Duration::from_secs(20)))?;
        let mut said = BufReader::new(stream.try_clone()?).lines();
        let requests = [
            json!({"execute": "qmp_capabilities"}),
            json!({"execute": command, "arguments": arguments}),
        ];
        for request in requests {
            writeln!(&stream, "{request}")?;
            loop {
                let line = said.next().context("qemu says nothing more")??;
                let answer: Value = serde_json::from_str(&line)?;
                if answer.get("return").is_some() {
                    break;
                }
                if answer.get("error").is_some() {
                    bail!("qemu: {command}: {line}");
                }
                // A greeting, or an event.
            }
        }
        Ok(())
    }
}
