//! The port: ours, free, or somebody else's. Told by the kernel's tables, without a connection.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::finding::Finding;
use super::round::Notes;
use crate::config::Api;

const CHECK: &str = "port";
/// The state of a socket that listens, in `/proc/net/tcp` (`TCP_LISTEN`).
const LISTENS: &str = "0A";

pub(super) fn check(notes: &Notes, api: &Api) {
    let address = api.listen_address();
    let finding = match listener(api) {
        _ if api.port == 0 => Finding::good(CHECK, "the kernel chooses a free one"),
        None => Finding::good(CHECK, "free: the daemon does not run"),
        Some(Listener::Ours(process)) => {
            Finding::good(CHECK, format!("the daemon listens (process {process})"))
        }
        Some(Listener::Other(who)) => Finding::bad(
            CHECK,
            format!("{who} listens there, not the daemon"),
            "end that, or set another api.port",
        ),
    };
    notes.found(finding.of(address));
}

/// Who listens where the daemon should.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Listener {
    /// A process of this program.
    Ours(u32),
    /// Somebody else, in words.
    Other(String),
}

/// Who listens there, if anybody does.
pub(super) fn listener(api: &Api) -> Option<Listener> {
    let mut inodes = Vec::new();
    for table in ["/proc/net/tcp", "/proc/net/tcp6"] {
        let text = fs::read_to_string(table).unwrap_or_default();
        inodes.extend(
            listening(&text)
                .filter(|(ip, port, _)| *port == api.port && overlap(*ip, api.bind))
                .map(|(_, _, inode)| inode),
        );
    }
    if inodes.is_empty() {
        return None;
    }
    let process = holder(&inodes);
    Some(match process {
        Some(process) if is_ours(process) => Listener::Ours(process),
        Some(process) => {
            let name = fs::read_to_string(format!("/proc/{process}/comm")).unwrap_or_default();
            Listener::Other(format!("process {process} ({})", name.trim()))
        }
        None => Listener::Other("a process that only root can see".to_owned()),
    })
}

/// Whether two sockets cannot both listen there.
fn overlap(one: IpAddr, other: IpAddr) -> bool {
    one == other || one.is_unspecified() || other.is_unspecified()
}

/// Address, port and inode of each listening socket of such a table.
fn listening(table: &str) -> impl Iterator<Item = (IpAddr, u16, u64)> + '_ {
    table.lines().skip(1).filter_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let (local, state, inode) = (words.get(1)?, words.get(3)?, words.get(9)?);
        let (ip, port) = local.split_once(':')?;
        if *state != LISTENS {
            return None;
        }
        let port = u16::from_str_radix(port, 16).ok()?;
        Some((address(ip)?, port, inode.parse().ok()?))
    })
}

/// Groups of 32 bits in the byte order of the machine, which is little endian on all nodes.
fn address(hex: &str) -> Option<IpAddr> {
    let word = |text: &str| u32::from_str_radix(text, 16).ok().map(u32::to_le_bytes);
    match hex.len() {
        8 => Some(Ipv4Addr::from(word(hex)?).into()),
        32 => {
            let mut bytes = [0; 16];
            for (at, four) in bytes.chunks_exact_mut(4).enumerate() {
                four.copy_from_slice(&word(hex.get(at * 8..at * 8 + 8)?)?);
            }
            Some(Ipv6Addr::from(bytes).to_canonical())
        }
        _ => None,
    }
}

/// The first process that has one of these sockets.
fn holder(inodes: &[u64]) -> Option<u32> {
    let links: Vec<PathBuf> = inodes
        .iter()
        .map(|inode| PathBuf::from(format!("socket:[{inode}]")))
        .collect();
    let processes = fs::read_dir("/proc").ok()?.flatten();
    let mut ids = processes.filter_map(|item| item.file_name().to_str()?.parse::<u32>().ok());
    ids.find(|id| {
        let files = fs::read_dir(format!("/proc/{id}/fd")).into_iter().flatten();
        let mut links_of = files
            .flatten()
            .filter_map(|file| fs::read_link(file.path()).ok());
        links_of.any(|link| links.contains(&link))
    })
}

/// Whether a process runs this program, or another version of it.
fn is_ours(process: u32) -> bool {
    let exe = PathBuf::from(format!("/proc/{process}/exe"));
    let same = |one: &Path, other: &Path| {
        let (one, other) = (fs::metadata(one).ok()?, fs::metadata(other).ok()?);
        Some(one.dev() == other.dev() && one.ino() == other.ino())
    };
    let name = fs::read_link(&exe).unwrap_or_default();
    let name = name.file_name().unwrap_or_default().to_string_lossy();
    // A program that was replaced is called "… (deleted)".
    same(&exe, Path::new("/proc/self/exe")) == Some(true)
        || name.split(' ').next() == Some("coriolis-ovm-exporter")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn the_kernels_tables_are_understood() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
             0: 0100007F:15A8 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1\n\
             1: 0100007F:15A9 0100007F:0016 01 00000000:00000000 00:00000000 00000000     0        0 4712 1\n\
             2: 00000000000000000000000001000000:0016 00000000000000000000000000000000:0000 0A 0:0 0:0 0 0 0 4713 1\n\
             3: broken\n";
        let found: Vec<_> = listening(table).collect();
        assert_eq!(
            found,
            [
                (IpAddr::V4(Ipv4Addr::LOCALHOST), 5544, 4711),
                (IpAddr::V6(Ipv6Addr::LOCALHOST), 22, 4713)
            ]
        );
    }

    #[test]
    fn a_socket_of_this_process_is_found() {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = socket.local_addr().unwrap().port();
        let api = |bind: &str| Api {
            bind: bind.parse().unwrap(),
            port,
            ..Api::default()
        };
        for bind in ["127.0.0.1", "0.0.0.0", "::"] {
            let found = listener(&api(bind));
            assert_eq!(found, Some(Listener::Ours(std::process::id())), "{bind}");
        }
        assert_eq!(listener(&api("127.0.0.2")), None);
    }
}
