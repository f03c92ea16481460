//! Requests to one endpoint, with a token that is renewed when it is no longer accepted.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde::de::DeserializeOwned;
use tokio::sync::Mutex;

use super::answer::{LOGIN, ONE, WORK, accepted, json, within};
use super::wire::Connections;
use super::{ClientError, Trust};
use crate::protocol::{LoginRequest, LoginResponse};

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
    connections: Connections,
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
        let (http, tls) = trust.connections()?;
        let endpoint = endpoint.trim_end_matches('/').to_owned();
        Ok(Session {
            connections: Connections::to(&endpoint, http, tls),
            endpoint,
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
        self.connections
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
        let answer: LoginResponse = within(LOGIN, async {
            json(accepted(self.answer(request).await?).await?, ONE).await
        })
        .await?;
        *self.token.write().unwrap_or_else(PoisonError::into_inner) = answer.token.into();
        Ok(())
    }

    /// Sends a request with the token. Where that is refused, logs in and sends it once more.
    pub(super) async fn send(&self, request: RequestBuilder) -> Result<Response, ClientError> {
        self.send_within(WORK, request).await
    }

    async fn send_within(
        &self,
        limit: Duration,
        request: RequestBuilder,
    ) -> Result<Response, ClientError> {
        let answer = |request: RequestBuilder, token: Arc<str>| {
            within(limit, self.answer(request.bearer_auth(token)))
        };
        let token = self.token();
        let again = self.credentials.is_some().then(|| request.try_clone());
        let response = answer(request, Arc::clone(&token)).await?;
        match again.flatten() {
            Some(again) if response.status() == StatusCode::UNAUTHORIZED => {
                self.renew(&token).await?;
                accepted(answer(again, self.token()).await?).await
            }
            _ => accepted(response).await,
        }
    }

    /// Sends a request, and reads the answer's JSON: it begins within this time, and has no more bytes than
    /// `largest`.
    pub(super) async fn call<T: DeserializeOwned>(
        &self,
        limit: Duration,
        largest: usize,
        request: RequestBuilder,
    ) -> Result<T, ClientError> {
        json(self.send_within(limit, request).await?, largest).await
    }

    async fn answer(&self, request: RequestBuilder) -> Result<Response, ClientError> {
        Ok(self.connections.answer(request).await?)
    }
}
