//! Every setting of the daemon, already validated: plain data with the documented defaults.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use crate::protocol::Consistency;
use crate::protocol::size::{GIB, KIB, MIB};

/// The whole configuration file. A key that is absent has the value of [`Config::default`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// This node's index of snapshots. Files of the daemon's own lie beside it.
    pub db_file: PathBuf,
    /// Where the OVM manager is asked about credentials, `https` without a trailing slash; absent:
    /// `manager_ip` of the agent's database, port 7002.
    pub ovm_endpoint: Option<String>,
    /// The authority that signed the manager's certificate; absent: its certificate is pinned on
    /// first use.
    pub ovm_ca_certificate: Option<PathBuf>,
    /// Allows the protocols, ciphers and key sizes of old managers, for that connection only.
    pub ovm_legacy_tls: bool,
    /// The databases of the OVM agent, only ever read.
    pub agent_db_dir: PathBuf,
    /// How domains are asked for their state.
    pub toolstack: Toolstack,
    /// Where log lines go; absent: standard error.
    pub log_file: Option<PathBuf>,
    /// How much is logged.
    pub log_level: LogLevel,
    /// What a line looks like.
    pub log_format: LogFormat,
    /// Bytes of `log_file` at which it is rotated; 0: never.
    pub log_max_size: u64,
    /// How many rotated files are kept; 0 sets no limit.
    pub log_max_files: u32,
    /// How long rotated files are kept; 0 sets no limit.
    pub log_max_age: Duration,
    /// Tokens that clients get at login.
    pub jwt: Jwt,
    /// What clients connect to.
    pub api: Api,
    /// How snapshots are taken.
    pub snapshots: Snapshots,
    /// Who may collect figures, and where.
    pub metrics: Metrics,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            db_file: PathBuf::from("/etc/coriolis-ovm-exporter/exporter.db"),
            ovm_endpoint: None,
            ovm_ca_certificate: None,
            ovm_legacy_tls: false,
            agent_db_dir: PathBuf::from("/etc/ovs-agent/db"),
            toolstack: Toolstack::Auto,
            log_file: None,
            log_level: LogLevel::Info,
            log_format: LogFormat::Human,
            // What the first generation did.
            log_max_size: 500 * MIB,
            log_max_files: 3,
            log_max_age: Duration::from_secs(28 * 24 * 3600),
            jwt: Jwt::default(),
            api: Api::default(),
            snapshots: Snapshots::default(),
            metrics: Metrics::default(),
        }
    }
}

/// `[jwt]`: the tokens that clients get at login.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Jwt {
    /// The secret as it stands in the file. It is not used as it is: see
    /// [`secret::resolve`](super::secret::resolve).
    pub secret: Option<SecretText>,
    /// How long a token is good for; at least a second.
    pub time_to_live: Duration,
}

impl Default for Jwt {
    fn default() -> Self {
        Self {
            secret: None,
            time_to_live: Duration::from_secs(168 * 3600),
        }
    }
}

/// `[api]`: what clients connect to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Api {
    /// The address that is listened on.
    pub bind: IpAddr,
    /// The TCP port; 0 lets the kernel choose a free one.
    pub port: u16,
    /// `[api.tls]`
    pub tls: Tls,
    /// `[api.limits]`
    pub limits: Limits,
    /// `[api.login]`
    pub login: Login,
}

impl Default for Api {
    fn default() -> Self {
        Self {
            bind: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            port: 5544,
            tls: Tls::default(),
            limits: Limits::default(),
            login: Login::default(),
        }
    }
}

impl Api {
    /// Address and port together.
    #[must_use]
    pub fn listen_address(&self) -> SocketAddr {
        SocketAddr::new(self.bind, self.port)
    }
}

/// `[api.tls]`: the daemon's own certificate, and whether it asks clients for theirs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tls {
    /// PEM: the server certificate, then its intermediates. Needed to serve: see
    /// [`Loaded::identity`](super::Loaded::identity).
    pub certificate: Option<PathBuf>,
    /// PEM: the private key of the certificate. Needed to serve.
    pub key: Option<PathBuf>,
    /// PEM: the authorities that client certificates must come from.
    pub ca_certificate: Option<PathBuf>,
    /// Turns away a client without a certificate of `ca_certificate`.
    pub require_client_certificate: bool,
}

/// `[api.limits]`: what one client, or all of them, may use up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Connections open at one time; at least 1.
    pub max_connections: usize,
    /// Bytes of a request's body; 1 KiB to 16 MiB.
    pub max_body: u64,
    /// From the accepted connection to the end of the TLS handshake.
    pub handshake_timeout: Duration,
    /// From the first byte of a request (of a connection's first request: from the end of the
    /// handshake) to the end of its headers.
    pub header_timeout: Duration,
    /// Between two requests on one connection.
    pub idle_timeout: Duration,
    /// A client that takes no byte of an answer for this long is given up. A slow one that takes a
    /// few now and then is not.
    pub stall_timeout: Duration,
    /// How long running requests may go on after SIGTERM; 0 cuts them off.
    pub shutdown_grace: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_connections: 256,
            max_body: 64 * KIB,
            handshake_timeout: Duration::from_secs(10),
            header_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(60),
            stall_timeout: Duration::from_secs(120),
            shutdown_grace: Duration::from_secs(10),
        }
    }
}

/// `[api.login]`: what slows down guessing of passwords.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Login {
    /// Failed logins from one address before it is slowed down; at least 1.
    pub max_failures: u32,
    /// The longest that an address then has to wait before the next attempt: the wait begins with a
    /// second and doubles with each further failure. 0 never makes it wait.
    pub slow_down: Duration,
}

impl Default for Login {
    fn default() -> Self {
        Self {
            max_failures: 5,
            slow_down: Duration::from_secs(30),
        }
    }
}

/// `[snapshots]`: how snapshots are taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshots {
    /// Free space of a repository below which no snapshot is taken.
    pub min_free: MinFree,
    /// Seals snapshot files with the immutable flag where the file system has one.
    pub immutable: bool,
    /// How long a request waits for another one that works on the same VM; 0 does not wait.
    pub lock_timeout: Duration,
    /// How long storage may keep a step of taking a snapshot waiting, beyond several times what that
    /// takes, before the request is answered and what was made is undone.
    pub storage_timeout: Duration,
    /// Snapshots that a VM may have; 0 sets no limit.
    pub max_snapshots_per_vm: u32,
    /// How often leftovers of crashes and expired snapshots are looked for; at least 1 s.
    pub recover_interval: Duration,
    /// Whether all disks of a snapshot are of one moment, where a request does not say.
    pub consistency: Consistency,
    /// The longest time that a machine is held for that; above 0.
    pub max_pause: Duration,
    /// With [`Consistency::Command`], what runs first: an absolute path and arguments. Empty: nothing.
    pub before_snapshot: Vec<String>,
    /// The same for what runs afterwards.
    pub after_snapshot: Vec<String>,
    /// How long each of the two may run.
    pub command_timeout: Duration,
}

impl Default for Snapshots {
    fn default() -> Self {
        Self {
            min_free: MinFree::Auto,
            immutable: true,
            lock_timeout: Duration::from_secs(30),
            // Longer than a cluster takes to evict a dead node.
            storage_timeout: Duration::from_secs(120),
            max_snapshots_per_vm: 0,
            recover_interval: Duration::from_secs(60),
            consistency: Consistency::None,
            max_pause: Duration::from_secs(5),
            before_snapshot: Vec::new(),
            after_snapshot: Vec::new(),
            command_timeout: Duration::from_secs(30),
        }
    }
}

/// `[metrics]`: who may collect figures, and where.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Metrics {
    /// An address of its own for `/metrics`, plain HTTP without a token.
    pub bind: Option<SocketAddr>,
    /// A file with a token that is good for `/metrics` on the API's address.
    pub token_file: Option<PathBuf>,
}

/// Free space that must be left on a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MinFree {
    /// The key is absent: 5 % of the file system or 20 GiB, whichever is smaller.
    Auto,
    /// So many bytes.
    Bytes(u64),
    /// So many hundredths of a percent of the file system, at most 10,000.
    HundredthsOfPercent(u16),
}

impl MinFree {
    /// The bytes that must be free on a file system of `total` bytes. A share is rounded down.
    #[must_use]
    pub fn bytes_of(self, total: u64) -> u64 {
        match self {
            Self::Auto => share(total, 500).min(20 * GIB),
            Self::Bytes(bytes) => bytes,
            Self::HundredthsOfPercent(hundredths) => share(total, hundredths),
        }
    }
}

/// So many hundredths of a percent of `total`.
fn share(total: u64, hundredths: u16) -> u64 {
    let product = u128::from(total) * u128::from(hundredths);
    // Only above 100 % could it exceed 64 bits; then the whole is asked for, and more.
    u64::try_from(product / 10_000).unwrap_or(u64::MAX)
}

/// Who is asked for the state of domains.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Toolstack {
    /// `xm` or `xl`, whichever is there.
    Auto,
    /// This program, an absolute path.
    Program(PathBuf),
}

/// How much is logged; each level includes those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// Only what failed.
    Error,
    /// And what an admin should look at.
    Warn,
    /// And what happens: start, requests, snapshots.
    Info,
    /// And how it happens.
    Debug,
    /// And everything else.
    Trace,
}

impl LogLevel {
    /// All levels, from the quietest.
    pub const ALL: [Self; 5] = [
        Self::Error,
        Self::Warn,
        Self::Info,
        Self::Debug,
        Self::Trace,
    ];

    /// The word in the configuration file, which log filters understand too.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}

/// What a line of the log looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For reading; with colours on a terminal.
    Human,
    /// A JSON object a line.
    Json,
}

/// A secret from the configuration file. It has no `Display`, and `Debug` hides it.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretText(String);

impl SecretText {
    /// Takes the secret over.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// The secret itself; not for logs or errors.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SecretText {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("SecretText(hidden)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn free_space_to_be_left() {
        let table = [
            (MinFree::Auto, 100 * GIB, 5 * GIB),
            (MinFree::Auto, 400 * GIB, 20 * GIB),
            (MinFree::Auto, 4000 * GIB, 20 * GIB),
            (MinFree::Auto, 0, 0),
            (MinFree::Bytes(7), 0, 7),
            (MinFree::HundredthsOfPercent(250), 1000, 25),
            (MinFree::HundredthsOfPercent(0), u64::MAX, 0),
            (MinFree::HundredthsOfPercent(10_000), u64::MAX, u64::MAX),
        ];
        for (setting, total, expected) in table {
            assert_eq!(setting.bytes_of(total), expected, "{setting:?} of {total}");
        }
    }

    #[test]
    fn debug_of_a_configuration_hides_the_secret() {
        let mut config = Config::default();
        config.jwt.secret = Some(SecretText::new("do-not-show-this-anywhere".to_owned()));
        let shown = format!("{config:?} {config:#?}");
        assert!(!shown.contains("do-not-show"), "{shown}");
        assert!(shown.contains("hidden"));
    }

    #[test]
    fn listen_address_joins_both() {
        assert_eq!(Api::default().listen_address().to_string(), "0.0.0.0:5544");
    }
}
