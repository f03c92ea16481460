//! nbdkit and nbdcopy: a disk as a network block device, with TLS.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::process::{self, Server};
use crate::stage::Stage;
use crate::transfer::Transfer;

const PORT: u16 = 10809;

/// GnuTLS prefers AES-256: both sides are told not to have it. What is left of TLS 1.3 is
/// AES-128-GCM (`1301` in the ServerHello). To forbid TLS 1.2 as well leads this library to 1.1.
const CIPHERS: &str = "[overrides]\n\
    tls-disabled-cipher = AES-256-GCM\n\
    tls-disabled-cipher = CHACHA20-POLY1305\n";

pub struct Nbdkit {
    server: Server,
    /// Certificates, and which ciphers.
    folder: PathBuf,
    size: u64,
}

impl Nbdkit {
    /// Serves a file, with the daemon's own certificate.
    pub fn serve(stage: &Stage, file: &Path) -> anyhow::Result<Nbdkit> {
        let folder = stage.file("nbd");
        fs::create_dir_all(&folder)?;
        for (theirs, ours) in [
            ("ca-cert.pem", "ca-pub.pem"),
            ("server-cert.pem", "srv-pub.pem"),
            ("server-key.pem", "srv-key.pem"),
        ] {
            fs::copy(stage.file(ours), folder.join(theirs))?;
        }
        fs::write(folder.join("ciphers"), CIPHERS)?;
        let mut nbdkit = Command::new("nbdkit");
        nbdkit
            .args(["--foreground", "--exit-with-parent", "--readonly"])
            .args(["--ipaddr", "127.0.0.1", "--port", &PORT.to_string()])
            .arg("--tls=require")
            .arg(format!("--tls-certificates={}", folder.display()))
            .arg("file")
            .arg(file)
            .env("GNUTLS_SYSTEM_PRIORITY_FILE", folder.join("ciphers"));
        Ok(Nbdkit {
            server: Server::start(&mut nbdkit, PORT)?,
            folder,
            size: file.metadata()?.len(),
        })
    }

    /// Reads all of it over so many connections.
    pub fn read(&self, connections: u32) -> anyhow::Result<Transfer> {
        let server = self.server.process()?;
        let before = process::cpu(server)?;
        let mut nbdcopy = Command::new("nbdcopy");
        nbdcopy
            .arg(format!("--connections={connections}"))
            .arg(format!(
                "nbds://127.0.0.1:{PORT}/?tls-certificates={}",
                self.folder.display()
            ))
            .arg("null:")
            .env("GNUTLS_SYSTEM_PRIORITY_FILE", self.folder.join("ciphers"));
        let done = process::finish(&mut nbdcopy)?;
        Ok(Transfer {
            bytes: self.size,
            seconds: done.seconds,
            client: done.cpu,
            server: process::cpu(server)? - before,
            least_share: 1.0,
        })
    }
}
