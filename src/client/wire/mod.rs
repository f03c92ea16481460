//! Connections for disks: HTTP/1.1 as everywhere, over a TLS that receives and decrypts a quarter
//! of a megabyte at a time.
//!
//! A disk comes with a third of the general client's work for each byte. What is behind a proxy is
//! left to the general client, which knows how to pass it.

mod connector;
mod names;
mod tls;

use std::sync::Arc;
use std::time::Duration;

use http::{Request, Uri};
use hyper_util::client::legacy::Client;
use hyper_util::client::proxy::matcher::Matcher;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use reqwest::{Body, Response, ResponseBuilderExt as _};
use rustls::ClientConfig;

use connector::Connector;

/// Connections without a request are kept for so long; the general client does the same.
const IDLE: Duration = Duration::from_secs(90);

/// What disks come over.
#[derive(Debug)]
pub(super) struct Wire {
    http: Client<Connector, Body>,
}

impl Wire {
    /// To this node. None where nothing but the general client gets there: by way of a proxy.
    pub(super) fn to(endpoint: &str, tls: Arc<ClientConfig>) -> Option<Wire> {
        let node: Uri = endpoint.parse().ok()?;
        if node.scheme_str() != Some("https") || passes_a_proxy(&Matcher::from_system(), &node) {
            return None;
        }
        let http = Client::builder(TokioExecutor::new())
            .pool_idle_timeout(IDLE)
            .pool_timer(TokioTimer::new())
            .build(Connector::new(tls));
        Some(Wire { http })
    }

    /// Sends a request without a body. None where no answer begins: the general client is to be
    /// asked, which says why.
    pub(super) async fn send(&self, request: reqwest::Request) -> Option<Response> {
        let url = request.url().clone();
        let request: Request<Body> = request.try_into().ok()?;
        let answer = match self.http.request(request).await {
            Ok(answer) => answer,
            Err(error) => {
                tracing::debug!(%url, %error, "no answer over a connection for disks");
                return None;
            }
        };
        let (head, body) = answer.into_parts();
        let mut response = http::Response::builder()
            .status(head.status)
            .version(head.version)
            .url(url)
            .body(Body::wrap(body))
            .ok()?;
        *response.headers_mut() = head.headers;
        Some(response.into())
    }
}

/// By the same rules as the general client: `HTTPS_PROXY`, `ALL_PROXY` and `NO_PROXY`.
fn passes_a_proxy(proxies: &Matcher, node: &Uri) -> bool {
    proxies.intercept(node).is_some()
}

#[allow(clippy::unwrap_used, clippy::cast_possible_truncation)]
#[cfg(all(test, feature = "server"))]
mod tests;
