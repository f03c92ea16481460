//! Looking up the manager's name without the C library.
//!
//! The daemon may be one static binary, and glibc's `getaddrinfo` would load the host's NSS
//! modules into it, which need not fit. So `/etc/hosts` and DNS are read here.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use hickory_resolver::Resolver as DnsResolver;
use hickory_resolver::config::{LookupIpStrategy, ResolveHosts, ResolverConfig, ResolverOpts};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::system_conf::parse_resolv_conf;

use super::endpoint::{Endpoint, Host};

/// Where names are looked up: a hosts file first, then the name servers of a resolver file. Both
/// are read anew for each lookup, so a change needs no restart.
#[derive(Debug, Clone)]
pub struct Resolver {
    /// Usually `/etc/hosts`.
    pub hosts_file: PathBuf,
    /// Usually `/etc/resolv.conf`.
    pub resolver_file: PathBuf,
}

impl Default for Resolver {
    fn default() -> Self {
        Self {
            hosts_file: "/etc/hosts".into(),
            resolver_file: "/etc/resolv.conf".into(),
        }
    }
}

/// Why a name has no address.
#[derive(Debug, thiserror::Error)]
pub enum ResolveError {
    /// There is no usable list of name servers, and the hosts file does not have the name.
    #[error("it is not in {hosts}, and the name servers in {resolver} cannot be used: {reason}")]
    NoNameServers {
        /// The hosts file.
        hosts: PathBuf,
        /// The resolver file.
        resolver: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// DNS gave no address.
    #[error("it is not in {hosts}, and DNS says: {reason}")]
    Dns {
        /// The hosts file.
        hosts: PathBuf,
        /// The resolver's reason.
        reason: String,
    },
}

impl Resolver {
    /// The addresses of an endpoint, in the order in which to try them; at least one. A literal
    /// address is not looked up.
    ///
    /// # Errors
    /// When neither the hosts file nor DNS has an address for the name.
    pub async fn resolve(&self, endpoint: &Endpoint) -> Result<Vec<SocketAddr>, ResolveError> {
        let name = match endpoint.host() {
            Host::Address(address) => return Ok(vec![(*address, endpoint.port()).into()]),
            Host::Name(name) => name.as_str(),
        };
        let addresses = match self.in_hosts_file(name).await {
            listed if !listed.is_empty() => listed,
            // RFC 6761: `localhost` is never asked of a name server.
            _ if is_localhost(name) => vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()],
            _ => self.in_dns(name).await?,
        };
        Ok(addresses
            .into_iter()
            .map(|address| (address, endpoint.port()).into())
            .collect())
    }

    async fn in_hosts_file(&self, name: &str) -> Vec<IpAddr> {
        // A hosts file that is missing or unreadable only means that DNS is asked, as with glibc.
        let bytes = tokio::fs::read(&self.hosts_file).await.unwrap_or_default();
        listed_in(&String::from_utf8_lossy(&bytes), name)
    }

    async fn in_dns(&self, name: &str) -> Result<Vec<IpAddr>, ResolveError> {
        let unusable = |reason: String| ResolveError::NoNameServers {
            hosts: self.hosts_file.clone(),
            resolver: self.resolver_file.clone(),
            reason,
        };
        let file = tokio::fs::read(&self.resolver_file)
            .await
            .map_err(|error: io::Error| unusable(error.to_string()))?;
        let (config, options) =
            parse_resolv_conf(file).map_err(|error| unusable(error.to_string()))?;
        ask(config, options, name)
            .await
            .map_err(|reason| ResolveError::Dns {
                hosts: self.hosts_file.clone(),
                reason,
            })
    }
}

/// Asks the name servers of `config`; at least one address, or the reason why there is none.
async fn ask(
    config: ResolverConfig,
    options: ResolverOpts,
    name: &str,
) -> Result<Vec<IpAddr>, String> {
    let mut builder = DnsResolver::builder_with_config(config, TokioRuntimeProvider::default())
        .with_options(options);
    builder.options_mut().use_hosts_file = ResolveHosts::Never;
    builder.options_mut().ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
    let resolver = builder.build().map_err(|error| error.to_string())?;
    let answer = resolver
        .lookup_ip(name)
        .await
        .map_err(|error| error.to_string())?;
    let mut addresses: Vec<IpAddr> = answer.iter().collect();
    if addresses.is_empty() {
        return Err("the name has no address".to_owned());
    }
    // Oracle VM's management networks are IPv4: a stable sort tries those first.
    addresses.sort_by_key(IpAddr::is_ipv6);
    Ok(addresses)
}

fn is_localhost(name: &str) -> bool {
    let name = name.trim_end_matches('.');
    name == "localhost" || name.ends_with(".localhost")
}

/// The addresses that a hosts file (`address name alias… # comment`) gives a name, in its order.
fn listed_in(hosts: &str, name: &str) -> Vec<IpAddr> {
    let wanted = name.trim_end_matches('.');
    hosts
        .lines()
        .filter_map(|line| {
            let mut words = line.split('#').next()?.split_whitespace();
            let address = words.next()?.parse().ok()?;
            words
                .any(|word| word.trim_end_matches('.').eq_ignore_ascii_case(wanted))
                .then_some(address)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOSTS: &str = "\
# the management network
127.0.0.1 localhost localhost.localdomain
192.0.2.7\tManager.Example manager # old: other
not-an-address broken
2001:db8::7 manager
#192.0.2.8 gone
";

    #[test]
    fn a_hosts_file_is_read_like_the_c_library_reads_it() {
        let listed = |name| {
            listed_in(HOSTS, name)
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
        };
        assert_eq!(listed("manager.example"), ["192.0.2.7"]);
        assert_eq!(listed("manager.example."), ["192.0.2.7"]);
        assert_eq!(listed("manager"), ["192.0.2.7", "2001:db8::7"]);
        for absent in ["other", "gone", "broken", "192.0.2.7", ""] {
            assert!(listed(absent).is_empty(), "{absent}");
        }
    }

    fn resolver(dir: &std::path::Path, hosts: &str, resolv: Option<&str>) -> Resolver {
        std::fs::write(dir.join("hosts"), hosts).unwrap();
        if let Some(resolv) = resolv {
            std::fs::write(dir.join("resolv.conf"), resolv).unwrap();
        }
        Resolver {
            hosts_file: dir.join("hosts"),
            resolver_file: dir.join("resolv.conf"),
        }
    }

    #[tokio::test]
    async fn names_of_the_hosts_file_localhost_and_addresses_need_no_name_server() {
        let dir = tempfile::tempdir().unwrap();
        let resolver = resolver(dir.path(), HOSTS, None);
        for (endpoint, first) in [
            ("manager:1", "192.0.2.7:1"),
            ("localhost:2", "127.0.0.1:2"),
            ("other.localhost:3", "127.0.0.1:3"),
            ("[2001:db8::9]:4", "[2001:db8::9]:4"),
        ] {
            let addresses = resolver.resolve(&endpoint.parse().unwrap()).await.unwrap();
            assert_eq!(addresses[0].to_string(), first);
        }
        let error = resolver
            .resolve(&"absent.example".parse().unwrap())
            .await
            .unwrap_err()
            .to_string();
        assert!(error.contains("resolv.conf"), "{error}");
    }

    /// A name server that answers A questions with 192.0.2.33 and all others with no records.
    async fn name_server() -> (SocketAddr, tokio::task::JoinHandle<()>) {
        let socket = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let task = tokio::spawn(async move {
            let mut query = [0; 512];
            while let Ok((length, from)) = socket.recv_from(&mut query).await {
                // RFC 1035 section 4: a 12-byte header, then the name, then type and class.
                let name_end = 12 + query[12..length].iter().position(|b| *b == 0).unwrap() + 1;
                let is_a = query[name_end..name_end + 2] == [0, 1];
                let mut answer = query[..2].to_vec();
                answer.extend([0x81, 0x80, 0, 1, 0, u8::from(is_a), 0, 0, 0, 0]);
                answer.extend(&query[12..name_end + 4]);
                if is_a {
                    answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 33]);
                }
                socket.send_to(&answer, from).await.unwrap();
            }
        });
        (address, task)
    }

    #[tokio::test]
    async fn dns_is_asked_for_what_the_hosts_file_does_not_have() {
        use hickory_resolver::config::{ConnectionConfig, NameServerConfig};
        // resolv.conf cannot name a port, so this checks the resolver that the file leads to.
        let (address, server) = name_server().await;
        let mut connection = ConnectionConfig::udp();
        connection.port = address.port();
        let config = ResolverConfig::from_name_servers(vec![NameServerConfig::new(
            address.ip(),
            true,
            vec![connection],
        )]);
        let answers = ask(config, ResolverOpts::default(), "manager.example.")
            .await
            .unwrap();
        assert_eq!(answers, ["192.0.2.33".parse::<IpAddr>().unwrap()]);
        server.abort();
    }

    #[tokio::test]
    async fn a_resolver_file_without_name_servers_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let resolver = resolver(dir.path(), HOSTS, Some("search example\n"));
        let error = resolver
            .resolve(&"absent.example".parse().unwrap())
            .await
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("resolv.conf") && error.contains("nameserver"),
            "{error}"
        );
    }
}
