use std::fmt;
use std::sync::Arc;

use hyper_util::client::legacy;
use reqwest::{IntoUrl, Method, RequestBuilder, Response};
use rustls::ClientConfig;

use super::Wire;
use crate::causes;
use crate::client::ClientError;

/// What requests to one endpoint are sent over.
pub(in crate::client) struct Connections {
    /// For what is behind a proxy, and to say why no connection comes about. It uses no connection
    /// twice: a request may wait without end where a used one ends in the same instant.
    http: reqwest::Client,
    /// For everything else.
    wire: Option<Wire>,
}

impl fmt::Debug for Connections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connections")
            .field("are_ours", &self.are_ours())
            .finish_non_exhaustive()
    }
}

/// Why a request has no answer.
#[derive(Debug, thiserror::Error)]
pub(in crate::client) enum NoAnswer {
    /// It cannot be sent, or the general client had no answer either.
    #[error(transparent)]
    General(#[from] reqwest::Error),
    /// It was sent, or may have been.
    #[error("the connection ended before an answer came")]
    Broken(#[source] legacy::Error),
    /// The same, and nobody says why.
    #[error("the connection ended before an answer came: none was on its way")]
    Ended,
}

impl From<NoAnswer> for ClientError {
    fn from(error: NoAnswer) -> ClientError {
        match error {
            NoAnswer::General(error) => ClientError::Transport(error),
            NoAnswer::Broken(error) => ClientError::Unanswered(causes::of(&error)),
            NoAnswer::Ended => ClientError::Unanswered("none was on its way".to_owned()),
        }
    }
}

impl Connections {
    /// To an endpoint, `https://host:port`. `http` keeps no connection that has no request; `tls` is what
    /// it has, where anything else can make connections with that.
    pub(in crate::client) fn to(
        endpoint: &str,
        http: reqwest::Client,
        tls: Option<Arc<ClientConfig>>,
    ) -> Connections {
        Connections {
            wire: tls.and_then(|tls| Wire::to(endpoint, tls)),
            http,
        }
    }

    pub(in crate::client) fn request(&self, method: Method, url: impl IntoUrl) -> RequestBuilder {
        self.http.request(method, url)
    }

    /// Whether no request of theirs outlives its connection.
    pub(in crate::client) fn are_ours(&self) -> bool {
        self.wire.is_some()
    }

    /// Sends a request, once.
    pub(in crate::client) async fn answer(
        &self,
        request: RequestBuilder,
    ) -> Result<Response, NoAnswer> {
        if let (Some(wire), Some(copy)) = (&self.wire, request.try_clone())
            && let Some(response) = wire.send(copy.build()?).await?
        {
            return Ok(response);
        }
        Ok(request.send().await?)
    }
}
