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

/// An answer's header with the name that the daemon's log has for its request, and the letters of one.
const REQUEST_ID: &str = "x-request-id";
const LONGEST_REQUEST_ID: usize = 64;

/// Whatever stands between us and the daemon may answer in another form.
async fn reason(response: Response, status: StatusCode) -> ErrorBody {
    let header = response.headers().get(REQUEST_ID);
    let header = header.and_then(|id| id.to_str().ok());
    let header = header.filter(|id| (1..=LONGEST_REQUEST_ID).contains(&id.len()));
    let request_id = header.map(str::to_owned);
    let body = read(response, LARGEST_REASON, SILENCE).await.ok();
    let found: Option<ErrorBody> = body.and_then(|body| serde_json::from_slice(&body).ok());
    let body = found.unwrap_or_else(|| ErrorBody {
        error: status.canonical_reason().unwrap_or("Error").to_owned(),
        details: "the answer had no details".to_owned(),
        request_id: None,
    });
    ErrorBody {
        request_id: body.request_id.or(request_id),
        ..body
    }
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

    async fn refused(status: u16, header: Option<&str>, body: &'static str) -> ClientError {
        let mut answer = axum::http::Response::builder().status(status);
        if let Some(id) = header {
            answer = answer.header("X-Request-Id", id);
        }
        let answer = answer.body(reqwest::Body::from(body)).unwrap();
        accepted(answer.into()).await.unwrap_err()
    }

    #[tokio::test]
    async fn a_fault_of_the_daemon_names_its_request() {
        let page = "<html>Service Unavailable</html>";
        let ours = r#"{"error": "e", "details": "no room", "request_id": "b0d1"}"#;
        let former = r#"{"error": "e", "details": "no room"}"#;
        for (status, header, body, said) in [
            (
                503,
                Some("3f2a"),
                page,
                "the answer had no details (request 3f2a)",
            ),
            (503, Some("3f2a"), ours, "no room (request b0d1)"),
            (507, Some("3f2a"), former, "no room (request 3f2a)"),
            (503, None, page, "the answer had no details"),
            (503, Some(""), former, "no room"),
            // What the caller has done wrong is all there.
            (409, Some("3f2a"), ours, "no room"),
        ] {
            let error = refused(status, header, body).await;
            let text = error.to_string();
            assert!(text.ends_with(said), "{text}");
            assert_eq!(error.status().unwrap().as_u16(), status);
        }
        let long = "x".repeat(LONGEST_REQUEST_ID + 1);
        let text = refused(503, Some(&long), page).await.to_string();
        assert!(text.ends_with("no details"), "{text}");
        let ClientError::Refused { body, .. } = refused(404, Some("3f2a"), page).await else {
            panic!("it is refused");
        };
        assert_eq!(body.request_id.as_deref(), Some("3f2a"));
    }

    #[test]
    fn a_stream_that_is_given_up_names_its_request() {
        let body: ErrorBody =
            serde_json::from_str(r#"{"error": "e", "details": "d", "request_id": "3f2a"}"#)
                .unwrap();
        let error = ClientError::from(crate::protocol::delta::DeltaError::GivenUp(body));
        assert!(
            error.to_string().ends_with("e: d (request 3f2a)"),
            "{error}"
        );
        // Once, whoever prints it.
        let told = crate::causes::of(&error);
        assert_eq!(told.matches("3f2a").count(), 1, "{told}");
    }

    #[tokio::test]
    async fn an_answer_that_is_no_json_stays_so() {
        let error = json::<u32>(answer(200, 1), ONE).await.unwrap_err();
        assert!(matches!(error, ClientError::Malformed(_)) && !error.is_transient());
    }
}
