//! The HTTP interface without a client library's opinions: any request, the whole answer.

use bytes::Bytes;
use reqwest::Method;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap};
use serde_json::{Value, json};

use super::node::{PASSWORD, TestNode, USER};

/// A node's interface, and a token.
#[derive(Debug)]
pub struct Api {
    endpoint: String,
    http: reqwest::Client,
    pub token: String,
}

/// An answer, read to its end.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Api {
    /// Logs in.
    pub async fn of(node: &TestNode) -> Api {
        Api::at(node, node.address()).await
    }

    /// Logs in to a daemon of the node's that listens there.
    pub async fn at(node: &TestNode, address: std::net::SocketAddr) -> Api {
        let mut api = Api {
            endpoint: format!("https://{address}"),
            http: node.http(),
            token: String::new(),
        };
        let answer = api.login(USER, PASSWORD).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        api.token = answer.json()["token"].as_str().unwrap().to_owned();
        api
    }

    /// With a token that somebody else has got, and connections of its own.
    pub fn with_token(node: &TestNode, token: &str) -> Api {
        Api {
            endpoint: node.endpoint(),
            http: node.http(),
            token: token.to_owned(),
        }
    }

    /// Asks for a token.
    pub async fn login(&self, user: &str, password: &str) -> Answer {
        self.login_with(json!({"username": user, "password": password}).to_string())
            .await
    }

    /// Asks for a token with any body.
    pub async fn login_with(&self, body: impl Into<reqwest::Body>) -> Answer {
        let request = self
            .http
            .post(format!("{}/api/v1/auth/login", self.endpoint))
            .body(body);
        Answer::of(request.send().await.unwrap()).await.unwrap()
    }

    /// Sends a request; `path` begins behind `/api/v1`. The token goes with it, unless a header
    /// replaces it; an empty `authorization` sends none.
    pub async fn send(&self, method: Method, path: &str, headers: &[(&str, &str)]) -> Answer {
        let mut request = self
            .http
            .request(method, format!("{}/api/v1{path}", self.endpoint));
        for (name, value) in headers.iter().filter(|(_, value)| !value.is_empty()) {
            request = request.header(*name, *value);
        }
        if !headers.iter().any(|(name, _)| *name == AUTHORIZATION) {
            request = request.bearer_auth(&self.token);
        }
        Answer::of(request.send().await.unwrap()).await.unwrap()
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, &[]).await
    }

    pub async fn head(&self, path: &str) -> Answer {
        self.send(Method::HEAD, path, &[]).await
    }

    /// A POST without a body; an error where the daemon is gone.
    pub async fn post(&self, path: &str) -> reqwest::Result<Answer> {
        let url = format!("{}/api/v1{path}", self.endpoint);
        let response = self.http.post(url).bearer_auth(&self.token).send().await?;
        Answer::of(response).await
    }

    /// Sends a JSON body, or any text.
    pub async fn send_body(&self, method: Method, path: &str, body: impl ToString) -> Answer {
        self.try_body(method, path, body).await.unwrap()
    }

    /// The same; an error where the daemon is gone before all of the answer has come.
    pub async fn try_body(
        &self,
        method: Method,
        path: &str,
        body: impl ToString,
    ) -> reqwest::Result<Answer> {
        let request = self
            .http
            .request(method, format!("{}/api/v1{path}", self.endpoint))
            .bearer_auth(&self.token)
            .body(body.to_string());
        Answer::of(request.send().await?).await
    }

    /// Asks for a snapshot of one moment from a daemon that may be gone before it answers.
    pub async fn post_quietly(&self, vm: &str, consistency: &str) {
        let request = self
            .http
            .post(format!("{}/api/v1/vms/{vm}/snapshots", self.endpoint))
            .bearer_auth(&self.token)
            .body(json!({"consistency": consistency}).to_string());
        let _ = request.send().await;
    }

    pub async fn delete(&self, path: &str) -> Answer {
        self.send(Method::DELETE, path, &[]).await
    }

    /// The JSON of a GET that succeeds.
    pub async fn json(&self, path: &str) -> Value {
        let answer = self.get(path).await;
        assert_eq!(answer.status, 200, "GET {path}: {answer:?}");
        answer.json()
    }

    /// Takes a snapshot, which succeeds.
    pub async fn snapshot(&self, vm: &str) -> Value {
        let path = format!("/vms/{vm}/snapshots");
        let answer = self.send(Method::POST, &path, &[]).await;
        assert_eq!(answer.status, 200, "POST {path}: {answer:?}");
        answer.json()
    }

    /// What changed in a snapshot since another one.
    pub async fn compare(&self, vm: &str, snapshot: &Value, base: &Value) -> Value {
        let (id, base) = (text(&snapshot["id"]), text(&base["id"]));
        self.json(&format!("/vms/{vm}/snapshots/{id}?compareTo={base}"))
            .await
    }
}

/// The text in a JSON value that is one.
pub fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}"))
}

impl Answer {
    async fn of(response: reqwest::Response) -> reqwest::Result<Answer> {
        Ok(Answer {
            status: response.status().as_u16(),
            headers: response.headers().clone(),
            body: response.bytes().await?,
        })
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// A header's text; empty where there is none.
    pub fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }

    /// `error` and `details` of an answer with this status, which must have the form that every
    /// error has.
    #[track_caller]
    pub fn error(&self, status: u16) -> (String, String) {
        assert_eq!(self.status, status, "{self:?}");
        assert_eq!(
            self.header(CONTENT_TYPE.as_str()),
            "application/json",
            "{self:?}"
        );
        let json = self.json();
        let (error, details) = (text(&json["error"]), text(&json["details"]));
        assert!(!error.is_empty() && !details.is_empty(), "{json}");
        (error.to_owned(), details.to_owned())
    }
}
