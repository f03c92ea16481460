//! An answer's body, read no further than it may be large, and waited for no longer than a node that
//! lives needs.

use std::future::Future;
use std::time::Duration;

use reqwest::{Response, StatusCode};
use serde::de::DeserializeOwned;

use super::ClientError;
use crate::protocol::ErrorBody;

/// Bytes of an answer in JSON of one thing: a token, a machine, a snapshot without what its disks hold.
pub(super) const ONE: usize = 4 << 20;
/// Of many of them, of a page of ranges, and of digests: the daemon gives 200,000 ranges and 262,144
/// digests at most, of some 80 bytes each.
pub(super) const MANY: usize = 64 << 20;
/// Of snapshots with all ranges of their disks, which no page divides. A range takes some 80: this is a
/// disk of three million.
pub(super) const WHOLE: usize = 256 << 20;
/// Bytes of the reason of a refusal.
const LARGEST_REASON: usize = 64 << 10;
/// Once an answer has begun, some of it comes more often than that.
const SILENCE: Duration = Duration::from_secs(60);

/// A log-in, from its beginning to its end.
pub(super) const LOGIN: Duration = Duration::from_secs(60);
/// Until the answer begins to what needs but a look; longer than the daemon's own limit for storage
/// that hangs (`storage_timeout`), which it answers with a reason.
pub(super) const LOOK: Duration = Duration::from_secs(180);
/// Until the answer begins to what makes, deletes, or begins to send.
pub(super) const WORK: Duration = Duration::from_secs(30 * 60);
/// Until the answer begins to what reads whole disks first.
pub(super) const READING: Duration = Duration::from_secs(24 * 3600);

/// Waits for it, for so long.
pub(super) async fn within<T>(
    limit: Duration,
    answer: impl Future<Output = Result<T, ClientError>>,
) -> Result<T, ClientError> {
    let answer = tokio::time::timeout(limit, answer).await;
    answer.unwrap_or(Err(ClientError::Silent(limit)))
}

/// What the answer's JSON says, which has no more than `largest` bytes.
pub(super) async fn json<T: DeserializeOwned>(
    response: Response,
    largest: usize,
) -> Result<T, ClientError> {
    let body = read(response, largest, SILENCE).await?;
    serde_json::from_slice(&body).map_err(ClientError::Malformed)
}

/// All of a body that has no more bytes than this.
pub(super) async fn bytes(response: Response, largest: usize) -> Result<Vec<u8>, ClientError> {
    read(response, largest, SILENCE).await
}

/// A success, or the reason why not.
pub(super) async fn accepted(response: Response) -> Result<Response, ClientError> {
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    Err(ClientError::Refused {
        status,
        body: reason(response, status).await,
    })
}

/// Whatever stands between us and the daemon may answer in another form.
async fn reason(response: Response, status: StatusCode) -> ErrorBody {
    let body = read(response, LARGEST_REASON, SILENCE).await.ok();
    let found = body.and_then(|body| serde_json::from_slice(&body).ok());
    found.unwrap_or_else(|| ErrorBody {
        error: status.canonical_reason().unwrap_or("Error").to_owned(),
        details: "the answer had no details".to_owned(),
        request_id: None,
    })
}

async fn read(
    mut response: Response,
    largest: usize,
    silence: Duration,
) -> Result<Vec<u8>, ClientError> {
    let too_large = || ClientError::TooLarge { largest };
    let said = response.content_length().unwrap_or(0);
    if said > largest as u64 {
        return Err(too_large());
    }
    let mut body = Vec::new();
    while let Some(piece) = within(silence, async { Ok(response.chunk().await?) }).await? {
        if piece.len() > largest - body.len() {
            return Err(too_large());
        }
        body.extend_from_slice(&piece);
    }
    Ok(body)
}

#[allow(clippy::unwrap_used)]
#[cfg(all(test, feature = "server"))]
mod tests {
    use super::*;

    fn answer(status: u16, pieces: usize) -> Response {
        let piece = vec![b' '; 64 << 10];
        let pieces = (0..pieces).map(move |_| Ok::<_, std::io::Error>(piece.clone()));
        let body = reqwest::Body::wrap_stream(futures_util::stream::iter(pieces));
        Response::from(
            axum::http::Response::builder()
                .status(status)
                .body(body)
                .unwrap(),
        )
    }

    #[tokio::test]
    async fn an_answer_without_end_is_not_read_to_its_end() {
        for largest in [ONE, MANY] {
            let error = json::<u32>(answer(200, usize::MAX), largest)
                .await
                .unwrap_err();
            assert!(matches!(error, ClientError::TooLarge { largest: told } if told == largest));
            assert!(!error.is_transient());
        }
        let error = accepted(answer(503, usize::MAX)).await.unwrap_err();
        assert_eq!(error.status(), Some(StatusCode::SERVICE_UNAVAILABLE));
        assert!(error.is_transient());
    }

    #[tokio::test]
    async fn an_answer_that_stops_coming_is_given_up() {
        let pieces = futures_util::stream::pending::<Result<Vec<u8>, std::io::Error>>();
        let body = reqwest::Body::wrap_stream(pieces);
        let answer = axum::http::Response::new(body).into();
        let silence = Duration::from_millis(20);
        let error = read(answer, ONE, silence).await.unwrap_err();
        assert!(matches!(error, ClientError::Silent(_)) && error.is_transient());
        let never = std::future::pending::<Result<(), ClientError>>();
        let error = within(silence, never).await.unwrap_err();
        assert!(matches!(error, ClientError::Silent(_)), "{error}");
    }

    #[tokio::test]
    async fn an_answer_that_is_no_json_stays_so() {
        let error = json::<u32>(answer(200, 1), ONE).await.unwrap_err();
        assert!(matches!(error, ClientError::Malformed(_)) && !error.is_transient());
    }
}
