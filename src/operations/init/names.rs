//! Under which names and addresses clients reach this node: all of them go into its certificate.

use std::fs;
use std::net::{IpAddr, Ipv4Addr};

use nix::ifaddrs::getifaddrs;
use nix::sys::socket::{AddressFamily, SockaddrLike as _};
use rustls_pki_types::ServerName;

/// Names and addresses of a node, each once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Names {
    /// The host's name as the kernel has it, for people.
    pub(super) host: String,
    /// The one that clients are told: the manager's word for this node, else an address, else a name.
    pub(super) preferred: String,
    /// DNS names.
    pub(super) names: Vec<String>,
    /// Addresses.
    pub(super) addresses: Vec<IpAddr>,
}

impl Names {
    /// What this node tells of itself, with `registered`, the address under which the manager knows
    /// it, and what the admin adds.
    pub(super) fn of_this_node(
        registered: Option<&str>,
        more_names: &[String],
        more_addresses: &[IpAddr],
    ) -> Names {
        let host = nix::unistd::gethostname()
            .map(|name| name.to_string_lossy().into_owned())
            .unwrap_or_default();
        let hosts = fs::read("/etc/hosts").unwrap_or_default();
        let mut own = own_addresses();
        own.sort_by_key(|address| (address.is_ipv6(), *address));
        Names::collect(
            &host,
            &String::from_utf8_lossy(&hosts),
            &own,
            registered,
            more_names,
            more_addresses,
        )
    }

    fn collect(
        host: &str,
        hosts_file: &str,
        own: &[IpAddr],
        registered: Option<&str>,
        more_names: &[String],
        more_addresses: &[IpAddr],
    ) -> Names {
        let registered = registered.and_then(|text| text.parse::<IpAddr>().ok());
        let mut names: Vec<String> = Vec::new();
        let found = [host.to_owned()]
            .into_iter()
            .chain(aliases(hosts_file, host));
        for found in more_names.iter().cloned().chain(found) {
            if let Ok(found) = name(&found)
                && found != "localhost"
                && !names.contains(&found)
            {
                names.push(found);
            }
        }
        let mut addresses: Vec<IpAddr> = Vec::new();
        for address in more_addresses.iter().chain(&registered).chain(own) {
            if !addresses.contains(address) {
                addresses.push(*address);
            }
        }
        let admins = more_names.first().cloned();
        let admins = admins.or(more_addresses.first().map(in_url));
        let preferred = admins
            .or(addresses.first().map(in_url))
            .or(names.first().cloned())
            .unwrap_or_else(|| "localhost".to_owned());
        // For curl on the node itself.
        names.push("localhost".to_owned());
        if !addresses.contains(&Ipv4Addr::LOCALHOST.into()) {
            addresses.push(Ipv4Addr::LOCALHOST.into());
        }
        Names {
            host: host.to_owned(),
            preferred,
            names,
            addresses,
        }
    }
}

/// A DNS name that can stand in a certificate, in lower case.
pub(super) fn name(text: &str) -> Result<String, String> {
    let name = text.trim_end_matches('.').to_ascii_lowercase();
    match ServerName::try_from(name.as_str()) {
        Ok(ServerName::DnsName(_)) => Ok(name),
        Ok(_) => Err("it is an address: give it as --address".to_owned()),
        Err(_) => Err("it is no DNS name".to_owned()),
    }
}

fn in_url(address: &IpAddr) -> String {
    match address {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("[{address}]"),
    }
}

/// All names of the lines of a hosts file that have `host`.
fn aliases(hosts_file: &str, host: &str) -> Vec<String> {
    let lines = hosts_file.lines().map(|line| {
        let line = line.split('#').next().unwrap_or_default();
        line.split_whitespace().skip(1)
    });
    lines
        .filter(|words| words.clone().any(|word| word.eq_ignore_ascii_case(host)))
        .flatten()
        .filter(|word| !word.to_ascii_lowercase().starts_with("localhost"))
        .map(str::to_owned)
        .collect()
}

/// Addresses of this node's interfaces that others can reach.
fn own_addresses() -> Vec<IpAddr> {
    let Ok(interfaces) = getifaddrs() else {
        return Vec::new();
    };
    let addresses = interfaces.filter_map(|interface| {
        let address = interface.address?;
        match address.family()? {
            AddressFamily::Inet => address.as_sockaddr_in().map(|a| IpAddr::V4(a.ip())),
            AddressFamily::Inet6 => address.as_sockaddr_in6().map(|a| IpAddr::V6(a.ip())),
            _ => None,
        }
    });
    addresses
        .filter(|address| match address {
            IpAddr::V4(v4) => !v4.is_loopback() && !v4.is_link_local(),
            IpAddr::V6(v6) => !v6.is_loopback() && !v6.is_unicast_link_local(),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOSTS: &str = "127.0.0.1 localhost ovs1 localhost.localdomain\n\
                         192.0.2.11 ovs1.example ovs1 # management\n\
                         192.0.2.12 ovs2.example ovs2\n";

    #[test]
    fn every_name_and_address_is_there_once_and_the_managers_comes_first() {
        let own = ["10.0.0.1", "192.0.2.11"].map(|text| text.parse().unwrap());
        let names = Names::collect("ovs1", HOSTS, &own, Some("192.0.2.11"), &[], &[]);
        assert_eq!(names.preferred, "192.0.2.11");
        assert_eq!(names.names, ["ovs1", "ovs1.example", "localhost"]);
        let addresses: Vec<String> = names.addresses.iter().map(ToString::to_string).collect();
        assert_eq!(addresses, ["192.0.2.11", "10.0.0.1", "127.0.0.1"]);
    }

    #[test]
    fn what_the_admin_says_is_told_to_clients() {
        let more = ["backup.example".to_owned()];
        let v6: IpAddr = "2001:db8::1".parse().unwrap();
        let names = Names::collect("bad_host!", "", &[], None, &more, &[v6]);
        assert_eq!(names.preferred, "backup.example");
        assert_eq!(names.names, ["backup.example", "localhost"]);
        assert_eq!(names.addresses[0], v6);
        let names = Names::collect("", "", &[], None, &[], &[v6]);
        assert_eq!(names.preferred, "[2001:db8::1]");
        assert_eq!(
            Names::collect("", "", &[], None, &[], &[]).preferred,
            "localhost"
        );
    }

    #[test]
    fn an_address_is_no_name() {
        assert!(name("192.0.2.1").unwrap_err().contains("--address"));
        assert!(name("no name").is_err());
        assert_eq!(name("Ovs1.Example."), Ok("ovs1.example".to_owned()));
    }
}
