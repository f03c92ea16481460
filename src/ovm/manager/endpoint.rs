//! `https://host:port`: where the manager listens.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

use rustls::pki_types::ServerName;

/// The port of the manager's HTTPS interface when the configuration names none.
pub const DEFAULT_PORT: u16 = 7002;

/// Where the manager listens. Always HTTPS; prints as `https://host:port`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Endpoint {
    host: Host,
    port: u16,
}

/// The host part of an endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Host {
    /// A literal address, never looked up.
    Address(IpAddr),
    /// A name, in lower case.
    Name(String),
}

/// Why a text is not an endpoint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{text:?} is not an endpoint of an Oracle VM Manager: {why}; write it as https://host:port"
)]
pub struct EndpointError {
    text: String,
    why: &'static str,
}

impl Endpoint {
    /// An endpoint at a literal address, as the agent's database gives it.
    #[must_use]
    pub fn at(address: IpAddr, port: u16) -> Self {
        Self {
            host: Host::Address(address),
            port,
        }
    }

    /// The host.
    #[must_use]
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// The TCP port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// `host:port`, as a `Host` header has it.
    #[must_use]
    pub fn authority(&self) -> String {
        match &self.host {
            Host::Address(IpAddr::V6(address)) => format!("[{address}]:{}", self.port),
            Host::Address(IpAddr::V4(address)) => format!("{address}:{}", self.port),
            Host::Name(name) => format!("{name}:{}", self.port),
        }
    }

    /// The name that the certificate must carry.
    pub(super) fn server_name(&self) -> Option<ServerName<'static>> {
        match &self.host {
            Host::Address(address) => Some(ServerName::IpAddress((*address).into())),
            Host::Name(name) => ServerName::try_from(name.clone()).ok(),
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "https://{}", self.authority())
    }
}

impl FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Self, EndpointError> {
        parse(text.trim()).map_err(|why| EndpointError {
            text: without_user(text),
            why,
        })
    }
}

/// The text without what stands before an `@`: a password may stand there by mistake, and the
/// text goes into an error.
fn without_user(text: &str) -> String {
    match text.rsplit_once('@') {
        Some((_, after)) => format!("…@{after}"),
        None => text.to_owned(),
    }
}

fn parse(text: &str) -> Result<Endpoint, &'static str> {
    let rest = match text.split_once("://") {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("https") => rest,
        Some((scheme, _)) if scheme.eq_ignore_ascii_case("http") => {
            return Err("passwords are never sent without TLS, so http:// is refused");
        }
        Some(_) => return Err("only https:// is spoken"),
        None => text,
    };
    let authority = rest.trim_end_matches('/');
    if authority.contains('@') {
        return Err("it must not hold a user name or password");
    }
    if authority.contains(['/', '?', '#']) {
        return Err("it must not hold a path: the paths of the manager's interface are known");
    }
    let (host, port) = split_port(authority)?;
    let port = match port {
        None => DEFAULT_PORT,
        // `parse` alone would take "+7002".
        Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => digits
            .parse()
            .ok()
            .filter(|port| *port != 0)
            .ok_or("the port is not a number from 1 to 65535")?,
        Some(_) => return Err("the port is not a number from 1 to 65535"),
    };
    Ok(Endpoint { host, port })
}

fn split_port(authority: &str) -> Result<(Host, Option<&str>), &'static str> {
    if let Some(bracketed) = authority.strip_prefix('[') {
        let (address, after) = bracketed
            .split_once(']')
            .ok_or("the bracket is not closed")?;
        let address: Ipv6Addr = address
            .parse()
            .map_err(|_| "the brackets hold no IPv6 address")?;
        let port = match after.strip_prefix(':') {
            Some(port) => Some(port),
            None if after.is_empty() => None,
            None => return Err("what follows the bracket is not a port"),
        };
        return Ok((Host::Address(address.into()), port));
    }
    // A bare IPv6 address has more than one colon and therefore no port.
    if let Ok(address) = authority.parse::<Ipv6Addr>() {
        return Ok((Host::Address(address.into()), None));
    }
    let (host, port) = match authority.split_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (authority, None),
    };
    Ok((host_of(host)?, port))
}

fn host_of(host: &str) -> Result<Host, &'static str> {
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok(Host::Address(address));
    }
    if host.is_empty() {
        return Err("it holds no host");
    }
    let host = host.to_ascii_lowercase();
    match ServerName::try_from(host.as_str()) {
        Ok(ServerName::DnsName(_)) => Ok(Host::Name(host)),
        _ => Err("its host is neither an address nor a DNS name"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_usual_spelling_is_understood() {
        for (text, canonical) in [
            (
                "https://manager.example:7002",
                "https://manager.example:7002",
            ),
            ("https://Manager.Example/", "https://manager.example:7002"),
            (" manager.example ", "https://manager.example:7002"),
            ("manager:443", "https://manager:443"),
            ("HTTPS://192.0.2.7", "https://192.0.2.7:7002"),
            ("192.0.2.7:8443/", "https://192.0.2.7:8443"),
            ("https://[2001:db8::1]:7003", "https://[2001:db8::1]:7003"),
            ("[2001:db8::1]", "https://[2001:db8::1]:7002"),
            ("2001:db8::1", "https://[2001:db8::1]:7002"),
        ] {
            let endpoint: Endpoint = text.parse().unwrap();
            assert_eq!(endpoint.to_string(), canonical, "{text}");
            assert_eq!(endpoint.to_string().parse::<Endpoint>().unwrap(), endpoint);
            assert!(endpoint.server_name().is_some());
        }
    }

    #[test]
    fn what_is_no_endpoint_is_refused_with_the_reason() {
        for (text, why) in [
            ("http://manager:7002", "without TLS"),
            ("ftp://manager", "only https"),
            ("", "no host"),
            ("https://", "no host"),
            ("https://:7002", "no host"),
            ("manager:0", "port"),
            ("manager:70000", "port"),
            ("manager:+7002", "port"),
            ("manager:", "port"),
            ("a:b:c", "port"),
            ("https://manager:7002/ovm/core", "path"),
            ("https://manager?x", "path"),
            ("[2001:db8::1", "bracket"),
            ("[2001:db8::1]7002", "bracket"),
            ("[fe80::1%eth0]", "bracket"),
            ("bad name", "neither"),
            ("bad\nname", "neither"),
        ] {
            let error = text.parse::<Endpoint>().unwrap_err().to_string();
            assert!(error.contains(why), "{text}: {error}");
        }
    }

    #[test]
    fn a_password_in_the_endpoint_is_not_repeated() {
        let error = "https://admin:hunter2@manager"
            .parse::<Endpoint>()
            .unwrap_err()
            .to_string();
        assert!(error.contains("user name or password"), "{error}");
        assert!(!error.contains("hunter2"), "{error}");
    }
}
