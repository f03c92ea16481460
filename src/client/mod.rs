//! Talking to a daemon: what an orchestrator embeds.
//!
//! ```no_run
//! # async fn example() -> Result<(), coriolis_ovm_exporter::client::ClientError> {
//! use coriolis_ovm_exporter::client::{Client, Trust};
//!
//! let trust = Trust::Authority(std::fs::read("ca-pub.pem")?);
//! let client = Client::login("https://ovs1.example:5544", "admin", "password", &trust).await?;
//! let snapshot = client.create_snapshot("0004fb0000060000ccaf98a0baa2c186").await?;
//! for disk in &snapshot.disks {
//!     println!("{}: {} bytes, {} chunks", disk.name, disk.size, disk.chunks.len());
//! }
//! # Ok(())
//! # }
//! ```

mod answer;
mod backoff;
pub mod blocking;
mod calls;
mod delta_stream;
mod error;
mod reading;
pub mod replicate;
mod session;
pub mod target;
mod trust;
mod wire;

use std::fmt;
use std::sync::Arc;

pub use delta_stream::DeltaStream;
pub use error::ClientError;
pub use reading::{Comparison, DiskOf};
pub use session::Credentials;
use session::Session;
pub use trust::Trust;

/// A client that has logged in. Clones share its connections and its token.
#[derive(Clone)]
pub struct Client {
    session: Arc<Session>,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("endpoint", &self.session.endpoint())
            .finish_non_exhaustive()
    }
}

impl Client {
    /// Logs in with a user of the Oracle VM Manager. `endpoint` is `https://host:port`. When the
    /// token expires, a later call logs in again.
    ///
    /// # Errors
    /// [`ClientError::Refused`] with 401 for bad credentials; whatever keeps the daemon from
    /// answering.
    pub async fn login(
        endpoint: &str,
        username: &str,
        password: &str,
        trust: &Trust,
    ) -> Result<Client, ClientError> {
        let credentials = Credentials {
            username: username.to_owned(),
            password: password.to_owned(),
        };
        let session = Session::new(endpoint, trust, "", Some(credentials))?;
        session.renew("").await?;
        Ok(Client {
            session: Arc::new(session),
        })
    }

    /// A client that has a token already. It cannot renew it: after its end, every call is refused
    /// with 401.
    ///
    /// # Errors
    /// When the authority is no PEM certificate.
    pub fn with_token(endpoint: &str, token: &str, trust: &Trust) -> Result<Client, ClientError> {
        let session = Session::new(endpoint, trust, token, None)?;
        Ok(Client {
            session: Arc::new(session),
        })
    }

    /// The token, to be used elsewhere until it expires.
    #[must_use]
    pub fn token(&self) -> String {
        self.session.token().as_ref().to_owned()
    }

    /// Where it speaks to, as the caller wrote it.
    #[must_use]
    pub fn endpoint(&self) -> &str {
        self.session.endpoint()
    }
}
