//! Requests to one endpoint, with a token that is renewed when it is no longer accepted.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde::de::DeserializeOwned;
use tokio::sync::Mutex;

use super::{ClientError, Trust};
use crate::protocol::{ErrorBody, LoginRequest, LoginResponse};

/// A user of the Oracle VM Manager.
#[derive(Clone)]
pub struct Credentials {
    /// Name.
    pub username: String,
    /// Password.
    pub password: String,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("username", &self.username)
            .finish_non_exhaustive()
    }
}

/// What all clones of a client share.
pub(super) struct Session {
    http: reqwest::Client,
    /// As the caller wrote it, without a slash at the end.
    endpoint: String,
    token: RwLock<Arc<str>>,
    /// To log in again with, where the caller gave them.
    credentials: Option<Credentials>,
    /// Whoever logs in holds this, so that many requests do not log in at once.
    renewing: Mutex<()>,
}

impl Session {
    pub(super) fn new(
        endpoint: &str,
        trust: &Trust,
        token: &str,
        credentials: Option<Credentials>,
    ) -> Result<Session, ClientError> {
        Ok(Session {
            http: trust.connections()?,
            endpoint: endpoint.trim_end_matches('/').to_owned(),
            token: RwLock::new(token.into()),
            credentials,
            renewing: Mutex::new(()),
        })
    }

    pub(super) fn endpoint(&self) -> &str {
        &self.endpoint
    }

    pub(super) fn token(&self) -> Arc<str> {
        let token = self.token.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&token)
    }

    /// A request below `/api/v1/`.
    pub(super) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http
            .request(method, format!("{}/api/v1/{path}", self.endpoint))
    }

    /// Logs in, unless somebody else has done so since `stale` was the token.
    pub(super) async fn renew(&self, stale: &str) -> Result<(), ClientError> {
        let Some(credentials) = &self.credentials else {
            return Ok(());
        };
        let _renewing = self.renewing.lock().await;
        if *self.token() != *stale {
            return Ok(());
        }
        let request = self
            .request(Method::POST, "auth/login")
            .json(&LoginRequest {
                username: credentials.username.clone(),
                password: credentials.password.clone(),
            });
        let answer: LoginResponse = accepted(request.send().await?).await?.json().await?;
        *self.token.write().unwrap_or_else(PoisonError::into_inner) = answer.token.into();
        Ok(())
    }

    /// Sends a request with the token. Where that is refused, logs in and sends it once more.
    pub(super) async fn send(&self, request: RequestBuilder) -> Result<Response, ClientError> {
        let token = self.token();
        let again = self.credentials.is_some().then(|| request.try_clone());
        let response = request.bearer_auth(&token).send().await?;
        match again.flatten() {
            Some(again) if response.status() == StatusCode::UNAUTHORIZED => {
                self.renew(&token).await?;
                accepted(again.bearer_auth(self.token()).send().await?).await
            }
            _ => accepted(response).await,
        }
    }

    /// Sends a request, and reads the answer's JSON.
    pub(super) async fn call<T: DeserializeOwned>(
        &self,
        request: RequestBuilder,
    ) -> Result<T, ClientError> {
        Ok(self.send(request).await?.json().await?)
    }
}

/// A success, or the reason why not.
async fn accepted(response: Response) -> Result<Response, ClientError> {
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
