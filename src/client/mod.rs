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

mod error;

use std::time::Duration;

use reqwest::header::RANGE;
use reqwest::{Certificate, Method, RequestBuilder, Response, StatusCode};
use serde::de::DeserializeOwned;
use uuid::Uuid;

pub use error::ClientError;

use crate::protocol::{ErrorBody, LoginRequest, LoginResponse, Node, Snapshot, Vm};

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

/// A client that has logged in.
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    base: String,
    token: String,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client")
            .field("base", &self.base)
            .finish_non_exhaustive()
    }
}

impl Client {
    /// Logs in with a user of the Oracle VM Manager. `endpoint` is `https://host:port`.
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
        let client = Client::with_token(endpoint, "", trust)?;
        let answer: LoginResponse = client
            .call(
                client
                    .http
                    .post(client.url("auth/login"))
                    .json(&LoginRequest {
                        username: username.to_owned(),
                        password: password.to_owned(),
                    }),
            )
            .await?;
        Ok(Client {
            token: answer.token,
            ..client
        })
    }

    /// A client that has a token already.
    ///
    /// # Errors
    /// When the authority is no PEM certificate.
    pub fn with_token(endpoint: &str, token: &str, trust: &Trust) -> Result<Client, ClientError> {
        let builder = reqwest::Client::builder()
            .connect_timeout(Duration::from_secs(10))
            .https_only(true)
            .redirect(reqwest::redirect::Policy::none());
        let builder = match trust {
            Trust::Platform => builder,
            Trust::Authority(pem) => builder.tls_certs_only(Certificate::from_pem_bundle(pem)?),
            Trust::Anything => builder.tls_danger_accept_invalid_certs(true),
        };
        Ok(Client {
            http: builder.build()?,
            base: format!("{}/api/v1", endpoint.trim_end_matches('/')),
            token: token.to_owned(),
        })
    }

    /// The token, to be used elsewhere until it expires.
    #[must_use]
    pub fn token(&self) -> &str {
        &self.token
    }

    fn url(&self, path: &str) -> String {
        format!("{}/{path}", self.base)
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http
            .request(method, self.url(path))
            .bearer_auth(&self.token)
    }

    async fn send(&self, request: RequestBuilder) -> Result<Response, ClientError> {
        let response = request.send().await?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        // Whatever stands between us and the daemon may answer in another form.
        let body = response.json::<ErrorBody>().await.unwrap_or(ErrorBody {
            error: status.canonical_reason().unwrap_or("Error").to_owned(),
            details: "the answer had no details".to_owned(),
            request_id: None,
        });
        Err(ClientError::Refused { status, body })
    }

    async fn call<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<T, ClientError> {
        Ok(self.send(request).await?.json().await?)
    }

    /// The node and its repositories.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn node(&self) -> Result<Node, ClientError> {
        self.call(self.request(Method::GET, "node")).await
    }

    /// Every virtual machine that the node sees.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn vms(&self) -> Result<Vec<Vm>, ClientError> {
        self.call(self.request(Method::GET, "vms")).await
    }

    /// One virtual machine.
    ///
    /// # Errors
    /// [`ClientError`]; 404 where the node does not see it.
    pub async fn vm(&self, vm: &str) -> Result<Vm, ClientError> {
        self.call(self.request(Method::GET, &format!("vms/{}", segment(vm))))
            .await
    }

    /// Takes a snapshot of all disks of a machine.
    ///
    /// # Errors
    /// [`ClientError`]; 400 where a disk cannot be cloned, 507 where the repository is full.
    pub async fn create_snapshot(&self, vm: &str) -> Result<Snapshot, ClientError> {
        self.call(self.request(Method::POST, &snapshots(vm))).await
    }

    /// The snapshots of a machine that can be used now, oldest first.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn snapshots(&self, vm: &str) -> Result<Vec<Snapshot>, ClientError> {
        self.call(self.request(Method::GET, &snapshots(vm))).await
    }

    /// A snapshot: the data ranges of each disk, or with `base` what changed since that one.
    ///
    /// # Errors
    /// [`ClientError`]; 404 where either is gone, 409 where either is not what was sealed.
    pub async fn snapshot(
        &self,
        vm: &str,
        snapshot: Uuid,
        base: Option<Uuid>,
    ) -> Result<Snapshot, ClientError> {
        let path = format!("{}/{snapshot}", snapshots(vm));
        let mut request = self.request(Method::GET, &path);
        if let Some(base) = base {
            request = request.query(&[("compareTo", base)]);
        }
        self.call(request).await
    }

    /// Deletes a snapshot; one that is gone is no error.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn delete_snapshot(&self, vm: &str, snapshot: Uuid) -> Result<(), ClientError> {
        let path = format!("{}/{snapshot}", snapshots(vm));
        self.send(self.request(Method::DELETE, &path))
            .await
            .map(drop)
    }

    /// Reads `length` bytes of a snapshot's disk at `offset`, as a response whose body is to be
    /// read bit by bit.
    ///
    /// # Errors
    /// [`ClientError`]; [`ClientError::Short`] where the answer is not the range that was asked
    /// for.
    pub async fn read(
        &self,
        vm: &str,
        snapshot: Uuid,
        disk: &str,
        offset: u64,
        length: u64,
    ) -> Result<Response, ClientError> {
        let path = format!("{}/{snapshot}/disks/{}", snapshots(vm), segment(disk));
        let last = offset + length.saturating_sub(1);
        let request = self
            .request(Method::GET, &path)
            .header(RANGE, format!("bytes={offset}-{last}"));
        let response = self.send(request).await?;
        if response.status() != StatusCode::PARTIAL_CONTENT
            || response.content_length() != Some(length)
        {
            return Err(ClientError::Short {
                disk: disk.to_owned(),
                offset,
                length,
            });
        }
        Ok(response)
    }
}

fn snapshots(vm: &str) -> String {
    format!("vms/{}/snapshots", segment(vm))
}

/// A name as one segment of a URL's path.
fn segment(name: &str) -> String {
    use std::fmt::Write as _;
    let mut encoded = String::new();
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::segment;

    #[test]
    fn a_name_stays_one_segment() {
        assert_eq!(segment("System.img"), "System.img");
        assert_eq!(segment("a/../b c?d#ü"), "a%2F..%2Fb%20c%3Fd%23%C3%BC");
    }
}
