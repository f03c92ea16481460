//! Which node, as whom, and whom to believe.

use std::ffi::OsString;
use std::fmt;
use std::io::IsTerminal as _;
use std::path::Path;

use anyhow::{Context as _, bail};
use clap::Args;
use reqwest::{Certificate, Url};

use super::{password_file, say};
use crate::causes;
use crate::client::{Client, ClientError, Trust};

/// Options of every subcommand; they may stand before and after it.
#[derive(Clone, Args)]
#[command(next_help_heading = "Connection")]
pub struct ConnectionOptions {
    /// The daemon: https://HOST:5544. Repeated or with commas: nodes that see the same
    /// repositories; the first that answers is taken.
    #[arg(
        short = 'e',
        long = "ovm-endpoint",
        global = true,
        env = "OVM_EXPORTER_ENDPOINT",
        value_name = "URL",
        value_delimiter = ','
    )]
    endpoints: Vec<String>,
    /// A user of the Oracle VM Manager.
    #[arg(short, long, global = true, env = "OVM_EXPORTER_USERNAME")]
    username: Option<String>,
    /// The password. Here every user of this machine can see it (ps): better in a file, in the
    /// environment, or typed in when asked.
    // As it could be shortened before there was another one that begins so.
    #[arg(
        short,
        long,
        aliases = ["p", "pa", "pas", "pass", "passw", "passwo", "passwor"],
        global = true,
        env = "OVM_EXPORTER_PASSWORD",
        hide_env_values = true
    )]
    password: Option<String>,
    /// A file whose first line is the password, in place of it. Not one that every user of this machine
    /// may read. Read once, when the command starts.
    #[arg(
        long,
        global = true,
        env = "OVM_EXPORTER_PASSWORD_FILE",
        value_name = "FILE"
    )]
    password_file: Option<OsString>,
    /// A token from an earlier login, in place of user and password. Can be seen as the password
    /// can.
    #[arg(
        long,
        global = true,
        env = "OVM_EXPORTER_TOKEN",
        hide_env_values = true
    )]
    token: Option<String>,
    /// Certificate authority that has signed the daemon's certificate (PEM file).
    #[arg(long, global = true, env = "OVM_EXPORTER_CAFILE", value_name = "FILE")]
    ca_path: Option<OsString>,
    /// Believe any certificate: whoever sits in between reads the password and all disks.
    #[arg(long, global = true)]
    insecure: bool,
}

/// Neither password nor token.
impl fmt::Debug for ConnectionOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectionOptions")
            .field("endpoints", &self.endpoints)
            .field("username", &self.username)
            .finish_non_exhaustive()
    }
}

/// All that is needed to log in, again and again.
pub struct Connection {
    endpoints: Vec<String>,
    identity: Identity,
    trust: Trust,
}

impl Connection {
    /// Logs in at so many of the nodes that answer, of which there must be one. That one does not
    /// answer is said; that one refuses is an error.
    pub async fn log_in(&self, count: usize) -> anyhow::Result<Vec<Client>> {
        let mut clients = Vec::new();
        for endpoint in &self.endpoints {
            match self.log_in_at(endpoint).await {
                Ok(client) => clients.push(client),
                Err(error) => {
                    let refused = error.status().is_some();
                    let what = format!("cannot log in at {endpoint}");
                    let error = anyhow::Error::new(error).context(what);
                    if refused || self.endpoints.len() == 1 {
                        return Err(error);
                    }
                    say(&format!("ovm-exporter: {}", causes::of(error.as_ref())));
                }
            }
            if clients.len() == count {
                break;
            }
        }
        if clients.is_empty() {
            bail!("none of {} nodes answers", self.endpoints.len());
        }
        Ok(clients)
    }

    async fn log_in_at(&self, endpoint: &str) -> Result<Client, ClientError> {
        match &self.identity {
            Identity::Token(token) => Client::with_token(endpoint, token, &self.trust),
            Identity::User(username, password) => {
                Client::login(endpoint, username, password, &self.trust).await
            }
        }
    }
}

/// Who asks.
enum Identity {
    Token(String),
    User(String, String),
}

impl ConnectionOptions {
    /// Logs in at the first node that answers.
    pub async fn connect(&self) -> anyhow::Result<Client> {
        let clients = self.resolve()?.log_in(1).await?;
        clients.into_iter().next().context("no node answers")
    }

    /// Reads what has to be read, and asks what has to be asked.
    pub fn resolve(&self) -> anyhow::Result<Connection> {
        Ok(Connection {
            endpoints: self.endpoints()?,
            identity: self.identity()?,
            trust: self.trust()?,
        })
    }

    fn endpoints(&self) -> anyhow::Result<Vec<String>> {
        let given = self.endpoints.iter().map(|endpoint| endpoint.trim());
        let endpoints: Vec<String> = given
            .filter(|endpoint| !endpoint.is_empty())
            .map(complete)
            .collect::<anyhow::Result<_>>()?;
        if endpoints.is_empty() {
            bail!(
                "which node? Give --ovm-endpoint https://HOST:5544, or set OVM_EXPORTER_ENDPOINT"
            );
        }
        Ok(endpoints)
    }

    fn identity(&self) -> anyhow::Result<Identity> {
        // A variable that is set to nothing is one that is not set.
        let given = |value: &Option<String>| value.clone().filter(|value| !value.is_empty());
        if let Some(token) = given(&self.token) {
            return Ok(Identity::Token(token));
        }
        let Some(username) = given(&self.username) else {
            bail!("as whom? Give --username, or set OVM_EXPORTER_USERNAME");
        };
        let file = self.password_file.as_ref();
        let file = file.filter(|file| !file.is_empty()).map(Path::new);
        match (given(&self.password), file) {
            (Some(_), Some(_)) => bail!(
                "two passwords: --password (OVM_EXPORTER_PASSWORD) and --password-file \
                 (OVM_EXPORTER_PASSWORD_FILE); give one of them"
            ),
            (Some(password), None) => return Ok(Identity::User(username, password)),
            (None, Some(file)) => {
                let read = password_file::read(file);
                let password = read
                    .with_context(|| format!("cannot take the password from {}", file.display()))?;
                return Ok(Identity::User(username, password));
            }
            (None, None) => {}
        }
        if !std::io::stdin().is_terminal() {
            bail!(
                "the password of {username} is missing and there is no terminal to ask at: give \
                 --password-file, or set OVM_EXPORTER_PASSWORD"
            );
        }
        let password = rpassword::prompt_password(format!("Password of {username}: "))
            .context("cannot read a password from the terminal")?;
        Ok(Identity::User(username, password))
    }

    fn trust(&self) -> anyhow::Result<Trust> {
        let file = self.ca_path.as_ref().filter(|file| !file.is_empty());
        match file.map(Path::new) {
            _ if self.insecure => {
                say("ovm-exporter: warning: --insecure: the daemon's certificate is not checked");
                Ok(Trust::Anything)
            }
            Some(file) => {
                let read = std::fs::read(file).with_context(|| {
                    format!("cannot read the certificate authority {}", file.display())
                })?;
                let name = file.display();
                let found = Certificate::from_pem_bundle(&read)
                    .with_context(|| format!("{name}: cannot read its certificates (PEM)"))?;
                if found.is_empty() {
                    bail!("{name}: there is no certificate in it; it has to be a PEM file");
                }
                Ok(Trust::Authority(read))
            }
            None => Ok(Trust::Platform),
        }
    }
}

/// An endpoint as a URL, without what is below it. Errors show it, so that a password in it is
/// refused before all else.
fn complete(endpoint: &str) -> anyhow::Result<String> {
    if endpoint.contains('@') {
        bail!("an endpoint has neither user nor password in it: give --username");
    }
    let form = "an endpoint is https://HOST:5544";
    let url = match endpoint.split_once("://") {
        None => Url::parse(&format!("https://{endpoint}")),
        Some(_) => Url::parse(endpoint),
    };
    let url = url.with_context(|| format!("{endpoint:?}: {form}"))?;
    if url.scheme() != "https" {
        bail!("{endpoint}: the daemon speaks HTTPS only");
    }
    if url.query().is_some() || url.fragment().is_some() {
        bail!("{endpoint}: nothing can be asked for in it; {form}");
    }
    // Whoever copies it from the interface's documentation has that at its end.
    let base = url.as_str().trim_end_matches('/');
    let base = base.strip_suffix("/api/v1").unwrap_or(base);
    Ok(base.trim_end_matches('/').to_owned())
}

#[cfg(test)]
mod tests {
    use super::complete;

    #[test]
    fn an_endpoint_is_https() {
        assert_eq!(complete("ovs1:5544").unwrap(), "https://ovs1:5544");
        assert_eq!(complete("https://ovs1:5544/").unwrap(), "https://ovs1:5544");
        assert!(complete("http://ovs1:5544").is_err());
    }

    #[test]
    fn what_is_below_an_endpoint_is_the_commands_own() {
        for endpoint in ["https://h:1/api/v1", "h:1/api/v1/", "https://h:1//"] {
            assert_eq!(complete(endpoint).unwrap(), "https://h:1");
        }
        assert_eq!(complete("https://h/ovm/api/v1").unwrap(), "https://h/ovm");
        for endpoint in [
            "https://",
            "https://h?x=1",
            "h#x",
            "https://h:port",
            "?",
            "https:h",
        ] {
            let error = complete(endpoint).unwrap_err().to_string();
            assert!(error.contains(endpoint), "{endpoint}: {error}");
        }
    }

    #[test]
    fn a_password_in_an_endpoint_is_refused_and_not_repeated() {
        for endpoint in ["https://a:secret@ovs1", "a:secret@ovs1:5544"] {
            let error = complete(endpoint).unwrap_err().to_string();
            assert!(!error.contains("secret"), "{error}");
        }
    }
}
