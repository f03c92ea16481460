//! One disk over HTTPS, and what that costs on either side.

use std::process::Command;

use anyhow::bail;
use coriolis_ovm_exporter::protocol::Snapshot;
use coriolis_ovm_exporter::protocol::delta::Compression;
use nix::unistd::Pid;

use crate::client::{Errand, Received, What};
use crate::process::{self, Finished};
use crate::stage::Stage;

/// The cipher of every transfer, as OpenSSL calls it.
pub const CIPHER: &str = "TLS_AES_128_GCM_SHA256";

/// What a transfer took.
#[derive(Debug, Clone, Copy)]
pub struct Transfer {
    pub bytes: u64,
    /// From before the connection was made to the last byte.
    pub seconds: f64,
    /// CPU of the client's process, seconds.
    pub client: f64,
    /// CPU that the server's process used meanwhile, seconds.
    pub server: f64,
    /// The slowest stream's share of what each would have got if all had got the same; 1 where there
    /// is one.
    pub least_share: f64,
}

impl Transfer {
    /// Millions of bytes in a second.
    pub fn rate(&self) -> f64 {
        self.bytes as f64 / self.seconds / 1e6
    }

    /// The server's CPU, seconds for each GiB.
    pub fn server_per_gib(&self) -> f64 {
        self.server / self.gib()
    }

    /// The client's.
    pub fn client_per_gib(&self) -> f64 {
        self.client / self.gib()
    }

    fn gib(&self) -> f64 {
        self.bytes as f64 / f64::from(1 << 30)
    }
}

/// A disk behind some server.
#[derive(Debug, Clone)]
pub struct Source {
    /// The server's process.
    pub server: Pid,
    errand: Errand,
}

impl Source {
    /// The only disk of a snapshot, at the daemon.
    pub fn of(stage: &Stage, snapshot: &Snapshot) -> anyhow::Result<Source> {
        let disk = &snapshot.disks[0];
        Ok(Source {
            server: stage.daemon()?,
            errand: Errand {
                endpoint: stage.endpoint(),
                token: stage.client.token(),
                authority: stage.authority()?,
                vm: snapshot.vm_id.clone(),
                snapshot: snapshot.id,
                disk: disk.name.clone(),
                size: disk.size,
                what: What::Disk,
                streams: 1,
            },
        })
    }

    /// The same path at another server.
    pub fn at(&self, endpoint: String, server: Pid) -> Source {
        let errand = Errand {
            endpoint,
            ..self.errand.clone()
        };
        Source { server, errand }
    }

    /// The same as a delta since nothing.
    pub fn as_delta(&self) -> Source {
        self.packed(Compression::None)
    }

    /// The same as a delta since nothing that is compressed.
    pub fn packed(&self, compression: Compression) -> Source {
        let mut source = self.clone();
        source.errand.what = What::Delta(compression);
        source
    }

    /// So much of it, from its beginning on.
    pub fn beginning(&self, size: u64) -> Source {
        let mut source = self.clone();
        source.errand.size = size.min(self.errand.size);
        source
    }

    /// So often at once.
    pub fn streams(&self, streams: u64) -> Source {
        let mut source = self.clone();
        source.errand.streams = streams;
        source
    }

    /// What comes after the host in the URL.
    pub fn path(&self) -> String {
        let Errand {
            vm, snapshot, disk, ..
        } = &self.errand;
        format!("/api/v1/vms/{vm}/snapshots/{snapshot}/disks/{disk}")
    }

    /// Reads it with the library's client.
    pub fn read(&self) -> anyhow::Result<Transfer> {
        let mut client = Command::new(std::env::current_exe()?);
        client
            .arg("client")
            .arg(serde_json::to_string(&self.errand)?);
        let (done, server) = self.watching(&mut client)?;
        let received: Received = serde_json::from_str(&done.output)?;
        Ok(Transfer {
            bytes: received.bytes,
            seconds: received.seconds,
            client: done.cpu,
            server,
            least_share: received.least_share,
        })
    }

    /// Reads it with curl.
    pub fn curl(&self, stage: &Stage) -> anyhow::Result<Transfer> {
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--show-error", "--fail", "--http1.1"])
            .args(["--tlsv1.3", "--tls13-ciphers", CIPHER, "--cacert"])
            .arg(stage.file("ca-pub.pem"))
            .arg("--header")
            .arg(format!("Authorization: Bearer {}", self.errand.token))
            .args(["--output", "/dev/null"])
            .args(["--write-out", "%{size_download} %{time_total}"])
            .arg(format!("{}{}", self.errand.endpoint, self.path()));
        let (done, server) = self.watching(&mut curl)?;
        let mut told = done.output.split_whitespace();
        let (bytes, seconds) = (told.next().unwrap_or(""), told.next().unwrap_or(""));
        let (bytes, seconds): (u64, f64) = (bytes.parse()?, seconds.parse()?);
        if bytes != self.errand.size {
            bail!("curl got {bytes} bytes of {}", self.errand.size);
        }
        Ok(Transfer {
            bytes,
            seconds,
            client: done.cpu,
            server,
            least_share: 1.0,
        })
    }

    /// Runs a client; with the CPU that the server used meanwhile.
    fn watching(&self, client: &mut Command) -> anyhow::Result<(Finished, f64)> {
        let before = process::cpu(self.server)?;
        let done = process::finish(client)?;
        Ok((done, process::cpu(self.server)? - before))
    }
}
