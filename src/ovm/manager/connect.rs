//! The TCP connection to the manager.

use std::net::SocketAddr;

use tokio::net::TcpStream;

use super::deadline::Deadline;
use super::endpoint::Endpoint;
use super::error::ManagerError;

/// A connection, and the address that took it.
pub(super) struct Connected {
    pub(super) tcp: TcpStream,
    pub(super) address: SocketAddr,
}

/// Tries the addresses in turn. Each gets an equal share of the time that is left, so that a
/// dead first address does not use up what the second needs.
pub(super) async fn first_that_answers(
    endpoint: &Endpoint,
    addresses: &[SocketAddr],
    deadline: &Deadline,
) -> Result<Connected, ManagerError> {
    let mut refusals = Vec::new();
    for (tried, address) in addresses.iter().enumerate() {
        let share = u32::try_from(addresses.len() - tried).unwrap_or(u32::MAX);
        let attempt = tokio::time::timeout(deadline.left() / share, TcpStream::connect(address));
        match deadline.step("connecting", attempt).await? {
            Ok(Ok(tcp)) => {
                return Ok(Connected {
                    tcp,
                    address: *address,
                });
            }
            Ok(Err(error)) => refusals.push(format!("{address}: {error}")),
            Err(_) => refusals.push(format!("{address}: no answer")),
        }
    }
    Err(ManagerError::Connect {
        endpoint: endpoint.clone(),
        refusals: refusals.join("; "),
    })
}
