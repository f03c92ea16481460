//! nginx, the usual way to serve a file over HTTPS.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::Context as _;
use nix::unistd::Pid;

use crate::process::Server;
use crate::stage::Stage;
use crate::transfer::CIPHER;

const PORT: u16 = 8443;

pub struct Nginx {
    server: Server,
}

impl Nginx {
    /// Serves `file` as `path`, with the daemon's own certificate. One process, whose CPU is all
    /// there is; one connection has no use for more.
    pub fn serve(stage: &Stage, path: &str, file: &Path) -> anyhow::Result<Nginx> {
        let folder = stage.file("nginx");
        fs::create_dir_all(&folder)?;
        let at = |name: &str| folder.join(name).display().to_string();
        let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .iter()
            .map(|kind| format!("  {kind}_temp_path {};\n", at(kind)))
            .collect();
        let configuration = at("nginx.conf");
        fs::write(
            &configuration,
            format!(
                "daemon off;\nmaster_process off;\npid {pid};\nerror_log {log};\nuser root;\n\
                 events {{ worker_connections 512; }}\n\
                 http {{\n{temporary}  access_log off;\n  sendfile on;\n  tcp_nopush on;\n\
                 \x20 keepalive_requests 1000000;\n\
                 \x20 server {{\n    listen 127.0.0.1:{PORT} ssl;\n\
                 \x20   ssl_certificate {certificate};\n    ssl_certificate_key {key};\n\
                 \x20   ssl_protocols TLSv1.3;\n    ssl_conf_command Ciphersuites {CIPHER};\n\
                 \x20   location = {path} {{ alias {file}; }}\n  }}\n}}\n",
                pid = at("pid"),
                log = at("error.log"),
                certificate = stage.file("srv-pub.pem").display(),
                key = stage.file("srv-key.pem").display(),
                file = file.display(),
            ),
        )?;
        let mut nginx = Command::new("nginx");
        nginx.args(["-e", &at("error.log"), "-c", &configuration]);
        // A user's path may not lead there.
        nginx.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        let server = Server::start(&mut nginx, PORT).with_context(|| {
            let log = fs::read_to_string(folder.join("error.log"));
            format!("nginx: {}", log.unwrap_or_default())
        })?;
        Ok(Nginx { server })
    }

    pub fn endpoint(&self) -> String {
        format!("https://127.0.0.1:{PORT}")
    }

    pub fn process(&self) -> anyhow::Result<Pid> {
        self.server.process()
    }
}
