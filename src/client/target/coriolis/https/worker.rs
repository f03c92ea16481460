//! Calls to the writer on a worker.
//!
//! Below `https://HOST:PORT/api/v2/device/<base64 of the device's path>`, with mutual TLS:
//!
//! | call | |
//! | --- | --- |
//! | `POST …/acquire`, `POST …/release` | the device is ours, with header `X-Client-Token` |
//! | `POST …` | bytes for it: `X-Write-Offset`, `X-Client-Token`, and `Content-Encoding: gzip` where packed |
//! | `POST …/checksumJob`, `GET …/checksumJob/ID`, `DELETE …/checksumJob/ID` | a checksum of what lies there |

use std::fmt;
use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use reqwest::header::{CONTENT_ENCODING, CONTENT_TYPE};
use reqwest::{Method, RequestBuilder, Url};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::super::threads::Threads;
use super::answer::{CallError, accepted};
use super::keys::WorkerKeys;
use crate::client::trust::general;
use crate::client::wire::Connections;

/// Where the writer listens, unless the endpoint says otherwise.
const PORT: u16 = 5566;
const TOKEN: &str = "X-Client-Token";
const OFFSET: &str = "X-Write-Offset";
/// Until a call is answered.
const ANSWER: Duration = Duration::from_secs(120);
/// Until a device is let go of: whatever the worker has in memory is written then.
const RELEASE: Duration = Duration::from_secs(1800);

/// A worker, and connections to it. Clones share them, and the threads that they are used by.
#[derive(Clone)]
pub struct HttpsWorker {
    shared: Arc<Shared>,
}

struct Shared {
    connections: Connections,
    /// Without a path.
    endpoint: Url,
    threads: Threads,
}

/// Without keys.
impl fmt::Debug for HttpsWorker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpsWorker")
            .field("endpoint", &self.endpoint())
            .finish_non_exhaustive()
    }
}

/// What is sent to one place of a device.
#[derive(Clone)]
pub(super) struct Body {
    pub(super) bytes: Bytes,
    pub(super) is_gzip: bool,
}

#[derive(Serialize)]
struct ChecksumRequest<'a> {
    start_offset: u64,
    /// 0 is the end of the device.
    end_offset: u64,
    checksum_algorithm: &'a str,
}

#[derive(Deserialize)]
struct Made {
    job_id: serde_json::Value,
}

/// What a checksum job has come to.
#[derive(Debug, Deserialize)]
pub(super) struct ChecksumJob {
    /// `finished`, `failed`, or anything else while it runs.
    pub(super) execution_status: String,
    #[serde(default)]
    pub(super) checksum_value: Option<String>,
    #[serde(default)]
    pub(super) checksum_algorithm: Option<String>,
    #[serde(default)]
    pub(super) error_message: Option<String>,
}

impl HttpsWorker {
    /// At `https://HOST`, or `https://HOST:PORT` where the port is not 5566. Nothing is sent yet.
    ///
    /// # Errors
    /// [`io::ErrorKind::InvalidInput`] for an endpoint or keys that cannot be used.
    pub fn at(endpoint: &str, keys: &WorkerKeys) -> io::Result<HttpsWorker> {
        let invalid = |why: String| {
            let text = format!("{endpoint:?} is no worker: {why}; give https://HOST:5566");
            io::Error::new(io::ErrorKind::InvalidInput, text)
        };
        let mut url = Url::parse(endpoint).map_err(|error| invalid(error.to_string()))?;
        let is_bare = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
        if url.scheme() != "https" || !is_bare {
            return Err(invalid(
                "it is not of the form https://HOST:PORT".to_owned(),
            ));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(invalid("a worker takes no user".to_owned()));
        }
        // 443 is never written out by what parses it.
        let says_443 = endpoint.trim_end_matches('/').ends_with(":443");
        if url.port().is_none() && !says_443 && url.set_port(Some(PORT)).is_err() {
            return Err(invalid("it has no host".to_owned()));
        }
        let tls = keys.tls()?;
        let http = general().tls_backend_preconfigured(tls.clone()).build();
        let http = http.map_err(io::Error::other)?;
        let bare = url.as_str().trim_end_matches('/');
        Ok(HttpsWorker {
            shared: Arc::new(Shared {
                connections: Connections::to(bare, http, Some(Arc::new(tls))),
                endpoint: url,
                threads: Threads::start()?,
            }),
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn endpoint(&self) -> &str {
        self.shared.endpoint.as_str().trim_end_matches('/')
    }

    pub(super) fn threads(&self) -> &Threads {
        &self.shared.threads
    }

    /// Where the calls of one writer for a device go.
    pub(super) fn device(&self, path: &str) -> DeviceCalls {
        DeviceCalls {
            worker: self.clone(),
            token: Uuid::new_v4().to_string(),
            url: format!(
                "{}/api/v2/device/{}",
                self.endpoint(),
                STANDARD.encode(path)
            ),
        }
    }
}

/// Calls for one device, of one writer.
#[derive(Clone)]
pub(super) struct DeviceCalls {
    worker: HttpsWorker,
    /// By which the worker knows who holds a device: whoever has it can write. Nobody else has the same,
    /// so that two writers never hold one device.
    token: String,
    url: String,
}

impl DeviceCalls {
    fn connections(&self) -> &Connections {
        &self.worker.shared.connections
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let url = format!("{}{path}", self.url);
        self.connections().request(method, url)
    }

    async fn answer(&self, limit: Duration, request: RequestBuilder) -> Result<Vec<u8>, CallError> {
        let answer = async { accepted(self.connections().answer(request).await?).await };
        let answer = tokio::time::timeout(limit, answer).await;
        answer.unwrap_or(Err(CallError::Silent(limit)))
    }

    fn post(&self, path: &str) -> RequestBuilder {
        let request = self.request(Method::POST, path);
        request.header(TOKEN, &self.token)
    }

    pub(super) async fn acquire(&self) -> Result<(), CallError> {
        self.answer(ANSWER, self.post("/acquire")).await.map(drop)
    }

    pub(super) async fn release(&self) -> Result<(), CallError> {
        self.answer(RELEASE, self.post("/release")).await.map(drop)
    }

    pub(super) async fn write(&self, offset: u64, body: Body) -> Result<(), CallError> {
        let mut request = self
            .post("")
            .header(OFFSET, offset)
            .header(CONTENT_TYPE, "application/octet-stream")
            .body(body.bytes);
        if body.is_gzip {
            request = request.header(CONTENT_ENCODING, "gzip");
        }
        self.answer(ANSWER, request).await.map(drop)
    }

    /// Begins a checksum, and answers the job's id.
    pub(super) async fn begin_checksum(
        &self,
        range: Range<u64>,
        algorithm: &str,
    ) -> Result<String, CallError> {
        let request = self.post("/checksumJob").json(&ChecksumRequest {
            start_offset: range.start,
            end_offset: range.end,
            checksum_algorithm: algorithm,
        });
        let made: Made = json(&self.answer(ANSWER, request).await?)?;
        match made.job_id {
            serde_json::Value::String(id) if is_plain(&id) => Ok(id),
            serde_json::Value::Number(id) => Ok(id.to_string()),
            other => Err(CallError::Malformed(format!("{other} is no job's id"))),
        }
    }

    pub(super) async fn checksum(&self, job: &str) -> Result<ChecksumJob, CallError> {
        let request = self.request(Method::GET, &format!("/checksumJob/{job}"));
        json(&self.answer(ANSWER, request).await?)
    }

    pub(super) async fn drop_checksum(&self, job: &str) -> Result<(), CallError> {
        let request = self.request(Method::DELETE, &format!("/checksumJob/{job}"));
        self.answer(ANSWER, request).await.map(drop)
    }
}

/// Whether an id can stand in a path as it is.
fn is_plain(id: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    !id.is_empty() && id.bytes().all(plain)
}

fn json<T: DeserializeOwned>(body: &[u8]) -> Result<T, CallError> {
    serde_json::from_slice(body).map_err(|error| CallError::Malformed(error.to_string()))
}

#[allow(clippy::unwrap_used)]
#[cfg(all(test, feature = "server"))]
mod tests {
    use super::*;

    fn keys() -> WorkerKeys {
        let made = rcgen::generate_simple_self_signed(vec!["worker".to_owned()]).unwrap();
        WorkerKeys {
            authority: made.cert.pem().into_bytes(),
            certificate: made.cert.pem().into_bytes(),
            key: made.signing_key.serialize_pem().into_bytes(),
        }
    }

    #[test]
    fn an_endpoint_is_a_host_and_a_port() {
        for (given, endpoint) in [
            ("https://worker", "https://worker:5566"),
            ("https://worker/", "https://worker:5566"),
            ("https://10.0.0.1:1234", "https://10.0.0.1:1234"),
            ("https://[::1]", "https://[::1]:5566"),
            ("https://worker:443", "https://worker"),
        ] {
            let worker = HttpsWorker::at(given, &keys()).unwrap();
            assert_eq!(worker.endpoint(), endpoint);
        }
        for bad in [
            "",
            "worker:5566",
            "http://worker",
            "https://worker/api",
            "https://worker?a=b",
            "https://user:secret@worker",
        ] {
            let error = HttpsWorker::at(bad, &keys()).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{bad}: {error}");
        }
    }

    #[test]
    fn keys_that_cannot_be_used_are_named_and_none_is_shown() {
        let whole = keys();
        let error = |keys: WorkerKeys| {
            let error = HttpsWorker::at("https://worker", &keys).unwrap_err();
            error.to_string()
        };
        let text = error(WorkerKeys {
            authority: b"nothing".to_vec(),
            ..whole.clone()
        });
        assert!(text.contains("authority") && text.contains("PEM"), "{text}");
        let text = error(WorkerKeys {
            certificate: Vec::new(),
            ..whole.clone()
        });
        assert!(text.contains("our certificate"), "{text}");
        let text = error(WorkerKeys {
            key: b"-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n".to_vec(),
            ..whole.clone()
        });
        assert!(
            text.contains("our key") && !text.contains("c2VjcmV0"),
            "{text}"
        );
        let worker = HttpsWorker::at("https://worker", &whole).unwrap();
        let shown = format!("{whole:?} {worker:?}");
        assert!(!shown.contains("BEGIN"), "{shown}");
    }

    /// What comes by way of a terminal, as Coriolis fetches them.
    #[test]
    fn keys_may_have_the_line_ends_of_a_terminal() {
        let crlf = |pem: Vec<u8>| {
            let text = String::from_utf8(pem).unwrap().replace('\n', "\r\n");
            format!("\r\n{text}\r\n").into_bytes()
        };
        let keys = keys();
        let keys = WorkerKeys {
            authority: crlf(keys.authority),
            certificate: crlf(keys.certificate),
            key: crlf(keys.key),
        };
        HttpsWorker::at("https://worker", &keys).unwrap();
    }

    /// What is behind none of these: a request that is lost on its way to a connection which has ended
    /// costs the time in which a worker may answer.
    #[test]
    fn a_worker_that_is_not_behind_a_proxy_is_reached_over_connections_that_tell_of_their_end() {
        for endpoint in ["https://localhost", "https://127.0.0.1:1", "https://[::1]"] {
            let worker = HttpsWorker::at(endpoint, &keys()).unwrap();
            let is_proxied = ["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"]
                .iter()
                .any(|name| std::env::var_os(name).is_some());
            assert!(is_proxied || worker.shared.connections.are_ours());
        }
    }

    #[test]
    fn a_device_has_its_own_address() {
        let worker = HttpsWorker::at("https://worker", &keys()).unwrap();
        assert_eq!(
            worker.device("/dev/vdb").url,
            "https://worker:5566/api/v2/device/L2Rldi92ZGI="
        );
        let [one, other] = [(); 2].map(|()| worker.device("/dev/vdb").token);
        assert_ne!(one, other);
        assert!(is_plain("3f-a_1") && !is_plain("../x") && !is_plain(""));
    }
}
