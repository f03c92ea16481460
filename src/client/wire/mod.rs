//! Connections to a node, or to a worker: HTTP/1.1 as everywhere, over a TLS that receives and
//! decrypts a quarter of a megabyte at a time.
//!
//! A disk comes with a third of the general client's work for each byte, and no request outlives
//! its connection. What is behind a proxy is left to the general client, which knows how to pass
//! it.

mod connections;
mod connector;
mod ending;
mod names;
mod tls;

use std::sync::Arc;
use std::time::Duration;

use http::{Request, Uri};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::capture_connection;
use hyper_util::client::proxy::matcher::Matcher;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use reqwest::{Body, Response, ResponseBuilderExt as _};
use rustls::ClientConfig;

pub(super) use connections::{Connections, NoAnswer};
use connector::Connector;
use ending::{GRACE, unless_ended};

/// Connections without a request are kept for so long; the general client does the same.
const IDLE: Duration = Duration::from_secs(90);

/// What requests are sent over.
#[derive(Debug)]
struct Wire {
    http: Client<Connector, Body>,
}

impl Wire {
    /// To this node. None where nothing but the general client gets there: by way of a proxy.
    fn to(endpoint: &str, tls: Arc<ClientConfig>) -> Option<Wire> {
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

    /// Sends a request. None where no connection comes about: the general client is to be asked,
    /// which says why.
    async fn send(&self, request: reqwest::Request) -> Result<Option<Response>, NoAnswer> {
        let url = request.url().clone();
        let mut request: Request<Body> = request.try_into()?;
        let connection = capture_connection(&mut request);
        let answer = match unless_ended(GRACE, self.http.request(request), connection).await {
            Some(Ok(answer)) => answer,
            Some(Err(error)) if error.is_connect() => {
                tracing::debug!(%url, %error, "no connection");
                return Ok(None);
            }
            Some(Err(error)) => return Err(NoAnswer::Broken(error)),
            None => return Err(NoAnswer::Ended),
        };
        let (head, body) = answer.into_parts();
        let mut response = http::Response::builder()
            .status(head.status)
            .version(head.version)
            .url(url);
        if let Some(headers) = response.headers_mut() {
            *headers = head.headers;
        }
        let response = response.body(Body::wrap(body));
        Ok(response.ok().map(Response::from))
    }
}

/// By the same rules as the general client: `HTTPS_PROXY`, `ALL_PROXY` and `NO_PROXY`.
fn passes_a_proxy(proxies: &Matcher, node: &Uri) -> bool {
    proxies.intercept(node).is_some()
}

#[allow(clippy::unwrap_used, clippy::cast_possible_truncation)]
#[cfg(all(test, feature = "server"))]
mod tests;
