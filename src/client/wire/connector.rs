use std::error::Error;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::Uri;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tower_service::Service;

use super::names::Names;
use super::tls::TlsStream;
use crate::client::trust::{CONNECT, DEAD, KEEPALIVE};

/// Makes connections to a node.
#[derive(Debug, Clone)]
pub(super) struct Connector {
    tcp: HttpConnector<Names>,
    tls: Arc<ClientConfig>,
}

type AnyError = Box<dyn Error + Send + Sync>;

impl Connector {
    pub(super) fn new(tls: Arc<ClientConfig>) -> Connector {
        let mut tcp = HttpConnector::new_with_resolver(Names::default());
        tcp.enforce_http(false);
        tcp.set_connect_timeout(Some(CONNECT));
        tcp.set_nodelay(true);
        tcp.set_keepalive(Some(KEEPALIVE));
        // A connection that only receives is found dead by probes alone.
        tcp.set_keepalive_interval(Some(KEEPALIVE));
        tcp.set_keepalive_retries(Some(3));
        tcp.set_tcp_user_timeout(Some(DEAD));
        Connector { tcp, tls }
    }
}

impl Service<Uri> for Connector {
    type Response = TokioIo<TlsStream>;
    type Error = AnyError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, AnyError>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), AnyError>> {
        self.tcp.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, node: Uri) -> Self::Future {
        let connecting = self.tcp.call(node.clone());
        let tls = Arc::clone(&self.tls);
        Box::pin(async move {
            let host = node.host().unwrap_or_default();
            // An IPv6 address stands in brackets.
            let host = host.trim_start_matches('[').trim_end_matches(']');
            let name = ServerName::try_from(host.to_owned())?;
            let shaken = tokio::time::timeout(CONNECT, async {
                let tcp = connecting.await?.into_inner();
                Ok::<_, AnyError>(TlsStream::connect(tcp, tls, name).await?)
            });
            Ok(TokioIo::new(shaken.await??))
        })
    }
}
