use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use hickory_resolver::TokioResolver;
use hickory_resolver::config::LookupIpStrategy;
use hickory_resolver::net::NetError;
use hyper_util::client::legacy::connect::dns::Name;
use tokio::sync::OnceCell;
use tower_service::Service;

/// Looks names up in `/etc/hosts` and DNS, without the C library, as the general client does.
#[derive(Debug, Clone, Default)]
pub(super) struct Names {
    /// Made when the first name is looked up: that is inside of a runtime.
    resolver: Arc<OnceCell<TokioResolver>>,
}

type Addresses = std::vec::IntoIter<SocketAddr>;

impl Service<Name> for Names {
    type Response = Addresses;
    type Error = NetError;
    type Future = Pin<Box<dyn Future<Output = Result<Addresses, NetError>> + Send>>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), NetError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let resolver = Arc::clone(&self.resolver);
        Box::pin(async move {
            let resolver = resolver
                .get_or_try_init(|| async {
                    let mut builder = TokioResolver::builder_tokio()?;
                    builder.options_mut().ip_strategy = LookupIpStrategy::Ipv6AndIpv4;
                    builder.build()
                })
                .await?;
            let found = resolver.lookup_ip(name.as_str()).await?;
            let addresses: Vec<_> = found.iter().map(|ip| SocketAddr::new(ip, 0)).collect();
            Ok(addresses.into_iter())
        })
    }
}
