use std::time::Duration;

use reqwest::Certificate;

use super::ClientError;

/// Which server certificates are believed.
#[derive(Debug, Clone)]
pub enum Trust {
    /// Those that the platform's authorities have signed.
    Platform,
    /// Those that these authorities (PEM) have signed, and no others.
    Authority(Vec<u8>),
    /// Any. For tests on a machine of one's own.
    Anything,
}

/// How long a node may take to accept a connection.
const CONNECT: Duration = Duration::from_secs(10);
/// A silent connection is asked for a sign of life that often.
const KEEPALIVE: Duration = Duration::from_secs(20);
/// And given up where sent bytes are not acknowledged for so long: the node, or the way, is dead.
const DEAD: Duration = Duration::from_secs(60);

impl Trust {
    /// Connections that believe in this. No limit for a whole answer: some are disks.
    pub(super) fn connections(&self) -> Result<reqwest::Client, ClientError> {
        let builder = reqwest::Client::builder()
            .connect_timeout(CONNECT)
            .tcp_keepalive(KEEPALIVE)
            .tcp_user_timeout(DEAD)
            .https_only(true)
            .redirect(reqwest::redirect::Policy::none());
        let builder = match self {
            Trust::Platform => builder,
            Trust::Authority(pem) => builder.tls_certs_only(Certificate::from_pem_bundle(pem)?),
            Trust::Anything => builder.tls_danger_accept_invalid_certs(true),
        };
        Ok(builder.build()?)
    }
}
