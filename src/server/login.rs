//! Who may come in: logins are checked with the manager, everything else with a token.

use std::path::PathBuf;
use std::time::Instant;

use axum::Json;
use axum::extract::{Extension, Request, State};
use axum::http::header;
use axum::middleware::Next;
use axum::response::Response;

use super::body_limit::read_json_body;
use super::connection::ConnectionHandle;
use super::error::ApiError;
use super::metrics::Login;
use super::request_id;
use super::state::{Shared, blocking};
use crate::ovm::agent::AgentDatabases;
use crate::ovm::manager::{DEFAULT_PORT, Endpoint, Manager, Trust, Verdict};
use crate::protocol::{LoginRequest, LoginResponse};

/// How to find and trust the manager.
#[derive(Debug, Clone)]
pub struct ManagerSettings {
    /// From the configuration; without it the agent's `manager_ip` is asked, at each login.
    pub endpoint: Option<Endpoint>,
    /// The certificate authority, or where the pin is kept.
    pub trust: Trust,
    /// Speak to managers of 2013.
    pub legacy_tls: bool,
}

impl ManagerSettings {
    /// The manager to ask now. Blocks.
    ///
    /// # Errors
    /// Why it is not known, and what to do.
    pub fn manager(&self, agent: &AgentDatabases) -> Result<Manager, String> {
        let endpoint = match &self.endpoint {
            Some(endpoint) => endpoint.clone(),
            None => endpoint_of(agent)?,
        };
        let mut manager = Manager::new(endpoint, self.trust.clone());
        manager.legacy_tls = self.legacy_tls;
        Ok(manager)
    }

    /// Pins in `pin_file` unless there is an authority.
    #[must_use]
    pub fn trust(authority: Option<PathBuf>, pin_file: PathBuf) -> Trust {
        match authority {
            Some(path) => Trust::Ca(path),
            None => Trust::Pinned { pin_file },
        }
    }
}

fn endpoint_of(agent: &AgentDatabases) -> Result<Endpoint, String> {
    let advice = "set ovm_endpoint in the configuration";
    let settings = agent
        .server_settings()
        .map_err(|error| format!("the manager is not known: {error}; {advice}"))?;
    let address = settings.manager_ip.ok_or_else(|| {
        format!(
            "the manager is not known: {} has no manager_ip; {advice}",
            agent.dir().join("server").display()
        )
    })?;
    let text = match address.parse::<std::net::Ipv6Addr>() {
        Ok(address) => format!("https://[{address}]:{DEFAULT_PORT}"),
        Err(_) => format!("https://{address}:{DEFAULT_PORT}"),
    };
    text.parse().map_err(|error| {
        format!("the agent's manager_ip {address:?} is no address ({error}); {advice}")
    })
}

/// `POST /api/v1/auth/login`.
pub(super) async fn login(
    State(app): State<Shared>,
    Extension(connection): Extension<ConnectionHandle>,
    request: Request,
) -> Result<Json<LoginResponse>, ApiError> {
    let credentials: LoginRequest = read_json_body(request, &app.body).await?;
    let peer = connection.peer().ip();
    let attempt = app
        .throttle
        .begin(peer, Instant::now())
        .map_err(|throttled| {
            app.metrics.login(Login::slowed);
            ApiError::TooManyLogins {
                seconds: throttled.seconds(),
            }
        })?;
    let manager = {
        let app = app.clone();
        blocking(move || {
            let manager = app.manager.get().manager(app.files.agent());
            manager.map_err(ApiError::Manager)
        })
        .await?
    };
    let verdict = manager
        .check_credentials(&credentials.username, &credentials.password)
        .await
        .map_err(|error| {
            app.metrics.login(Login::failed);
            ApiError::Manager(error.to_string())
        })?;
    app.metrics.login(match verdict {
        Verdict::Refused => Login::refused,
        Verdict::Accepted => Login::accepted,
    });
    match verdict {
        Verdict::Refused => {
            attempt.failed(Instant::now());
            tracing::warn!(%peer, "login refused by the manager");
            Err(ApiError::BadCredentials)
        }
        Verdict::Accepted => {
            attempt.succeeded();
            connection.mark_authenticated();
            let token = app
                .tokens
                .issue(&credentials.username)
                .map_err(|error| ApiError::Internal(error.to_string()))?;
            tracing::info!(%peer, user = credentials.username, "logged in");
            Ok(Json(LoginResponse { token }))
        }
    }
}

/// Lets a request pass that carries a good token.
pub(super) async fn require_token(
    State(app): State<Shared>,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    let claims = app
        .tokens
        .verify(request.headers().get(header::AUTHORIZATION))
        .map_err(|error| {
            tracing::debug!("{error}");
            ApiError::NoToken
        })?;
    request_id::is_of(&claims.user);
    if let Some(id) = claims.jti {
        tracing::info!(token = ?id, method = %request.method(),
            path = request.uri().path(), "asked with a token that was made on this node");
    }
    if let Some(connection) = request.extensions().get::<ConnectionHandle>() {
        connection.mark_authenticated();
    }
    Ok(next.run(request).await)
}
