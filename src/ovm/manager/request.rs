//! The one request of a check, over a connection whose certificate was accepted.

use std::error::Error;

use bytes::Bytes;
use futures_util::future::{Either, select};
use http_body_util::Empty;
use hyper::header::{
    ACCEPT, AUTHORIZATION, CONNECTION, CONTENT_TYPE, DATE, HOST, LOCATION, USER_AGENT,
};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};

use super::Verdict;
use super::credentials::Authorization;
use super::deadline::Deadline;
use super::endpoint::Endpoint;
use super::error::ManagerError;

/// A list that every user may see: the ids of the repositories.
const PATH: &str = "/ovm/core/wsapi/rest/Repository/id";

/// The most that is buffered of the manager's answer, in bytes. The verdict stands in its head;
/// the body is not needed and not waited for.
const MOST_BUFFERED: usize = 64 * 1024;

/// Asks with the user's credentials and closes the connection, whatever comes of it: it is owned
/// by this call, so that also a deadline or a caller that gives up closes it.
pub(super) async fn ask<S>(
    stream: S,
    endpoint: &Endpoint,
    authorization: Authorization,
    deadline: &Deadline,
) -> Result<Verdict, ManagerError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let failed = |error: hyper::Error| ManagerError::Http {
        endpoint: endpoint.clone(),
        reason: with_cause(&error),
    };
    let mut request = request(endpoint)?;
    request
        .headers_mut()
        .insert(AUTHORIZATION, authorization.into_header());
    let answer = deadline
        .step("waiting for its answer", exchange(stream, request))
        .await?;
    judge(endpoint, &answer.map_err(failed)?)
}

/// What an answer says to who has no credentials.
pub(super) struct Glance {
    pub(super) status: u16,
    pub(super) date: Option<String>,
}

/// Asks without credentials, and closes the connection.
pub(super) async fn glance<S>(
    stream: S,
    endpoint: &Endpoint,
    deadline: &Deadline,
) -> Result<Glance, ManagerError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let request = request(endpoint)?;
    let answer = deadline
        .step("waiting for its answer", exchange(stream, request))
        .await?
        .map_err(|error| ManagerError::Http {
            endpoint: endpoint.clone(),
            reason: with_cause(&error),
        })?;
    let date = answer.headers().get(DATE);
    Ok(Glance {
        status: answer.status().as_u16(),
        date: date.and_then(|date| date.to_str().ok()).map(str::to_owned),
    })
}

/// The request, without credentials.
fn request(endpoint: &Endpoint) -> Result<Request<Empty<Bytes>>, ManagerError> {
    Request::get(PATH)
        .header(HOST, endpoint.authority())
        .header(
            USER_AGENT,
            concat!("coriolis-ovm-exporter/", env!("CARGO_PKG_VERSION")),
        )
        .header(ACCEPT, "application/json")
        .header(CONNECTION, "close")
        .body(Empty::<Bytes>::new())
        .map_err(|_| ManagerError::Request {
            endpoint: endpoint.clone(),
        })
}

/// Sends the request and drives the connection until the head of the answer is there.
async fn exchange<S>(
    stream: S,
    request: Request<Empty<Bytes>>,
) -> hyper::Result<Response<hyper::body::Incoming>>
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let (mut sender, connection) = hyper::client::conn::http1::Builder::new()
        .max_buf_size(MOST_BUFFERED)
        .handshake(TokioIo::new(stream))
        .await?;
    let answer = std::pin::pin!(sender.send_request(request));
    match select(answer, std::pin::pin!(connection)).await {
        Either::Left((answer, _)) => answer,
        // The connection may end together with the answer's last byte; then the answer is there.
        Either::Right((ended, answer)) => match (answer.await, ended) {
            (Err(_), Err(cause)) => Err(cause),
            (answer, _) => answer,
        },
    }
}

fn judge<B>(endpoint: &Endpoint, answer: &Response<B>) -> Result<Verdict, ManagerError> {
    let header = |name| {
        let value = answer
            .headers()
            .get(name)
            .map(|value| String::from_utf8_lossy(value.as_bytes()));
        value.map(|value| value.chars().take(200).collect::<String>())
    };
    match answer.status() {
        StatusCode::OK => match header(CONTENT_TYPE) {
            // A login page or some other server: it would let everybody in.
            Some(kind) if kind.to_ascii_lowercase().contains("html") => {
                Err(ManagerError::NotAManager {
                    endpoint: endpoint.clone(),
                })
            }
            _ => Ok(Verdict::Accepted),
        },
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Ok(Verdict::Refused),
        status => Err(ManagerError::Status {
            endpoint: endpoint.clone(),
            status: status.as_u16(),
            to: header(LOCATION)
                .map(|to| format!(" to {to:?}"))
                .unwrap_or_default(),
        }),
    }
}

/// hyper's message and that of what it wraps: alone, the first says too little.
fn with_cause(error: &hyper::Error) -> String {
    match error.source() {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}
