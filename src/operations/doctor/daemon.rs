//! Whether the daemon answers, and shows the certificate that it should. Nothing secret is sent.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::Duration;

use openssl::ssl::{SslConnector, SslMethod, SslVerifyMode};

use super::certificate::first;
use super::finding::Finding;
use super::port::{Listener, listener};
use super::round::Notes;
use crate::config::Api;

const CHECK: &str = "daemon";
/// Each step on the loopback.
const PATIENCE: Duration = Duration::from_secs(30);
const ADVICE: &str = "look at its log, then start it again";

pub(super) fn check(notes: &Notes, api: &Api) {
    if api.port == 0 {
        let message = "not asked: api.port = 0 does not tell where it listens";
        return notes.found(Finding::good(CHECK, message));
    }
    match listener(api) {
        Some(Listener::Ours(_)) => {}
        // The port's own finding.
        Some(Listener::Other(_)) => return,
        None => {
            let advice = "start it: systemctl start coriolis-ovm-exporter, or with upstart: start \
                          coriolis-ovm-exporter";
            return notes.found(Finding::warning(CHECK, "it does not run", advice));
        }
    }
    if api.tls.require_client_certificate {
        let message = "it listens; more is told only to clients with a certificate";
        return notes.found(Finding::good(CHECK, message));
    }
    notes.doing("asking the daemon");
    notes.found(match ask(api) {
        Err(error) => {
            let message = format!("it listens, but does not answer: {error:#}");
            Finding::bad(CHECK, message, ADVICE)
        }
        Ok((certificate, status)) => judge(api, &certificate, &status),
    });
}

fn judge(api: &Api, certificate: &[u8], status: &str) -> Finding {
    let file = api.tls.certificate.as_deref();
    let message = format!("asked whether it is ready, it answers {status:?}");
    match status.split(' ').nth(1) {
        Some("200") => {}
        Some("503") => return Finding::warning(CHECK, message, "it starts, or stops: wait"),
        Some("404") => {
            let advice = "it is of an older release than this program: restart it";
            return Finding::warning(CHECK, message, advice);
        }
        _ => return Finding::bad(CHECK, message, ADVICE),
    }
    match file.and_then(first) {
        Some(own) if *own != *certificate => Finding::warning(
            CHECK,
            "it answers, with another certificate than api.tls.certificate holds",
            "reload it (SIGHUP)",
        ),
        _ => Finding::good(CHECK, "it answers"),
    }
}

/// The certificate that it shows, in DER, and the first line of its answer.
fn ask(api: &Api) -> anyhow::Result<(Vec<u8>, String)> {
    let ip = match api.bind {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    let tcp = TcpStream::connect_timeout(&SocketAddr::new(ip, api.port), PATIENCE)?;
    tcp.set_read_timeout(Some(PATIENCE))?;
    tcp.set_write_timeout(Some(PATIENCE))?;
    let mut connector = SslConnector::builder(SslMethod::tls_client())?;
    // Its bytes are compared instead.
    connector.set_verify(SslVerifyMode::NONE);
    let connection = connector.build().configure()?.verify_hostname(false);
    let mut stream = connection
        .connect("localhost", tcp)
        .map_err(|error| anyhow::anyhow!("no TLS: {error}"))?;
    let certificate = stream.ssl().peer_certificate();
    let certificate = certificate.map(|shown| shown.to_der()).transpose()?;
    // What everybody may ask, so that no refusal is left in the daemon's log.
    stream
        .write_all(b"GET /health/ready HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut status = String::new();
    BufReader::new(std::io::Read::take(stream, 4096)).read_line(&mut status)?;
    Ok((certificate.unwrap_or_default(), status.trim().to_owned()))
}
