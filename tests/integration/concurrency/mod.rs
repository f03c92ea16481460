//! Many clients, and several nodes, at the same virtual machines at once.

mod clients;
mod hang;
mod nodes;
mod page_cache;

use coriolis_ovm_exporter::client::ClientError;

/// True for what a client must expect when others delete what it works with: gone (404), changed
/// under it (409), and busy (503), which it may try again.
fn is_expected(error: &ClientError) -> bool {
    match error {
        ClientError::Refused { status, .. } => matches!(status.as_u16(), 404 | 409 | 503),
        _ => false,
    }
}
