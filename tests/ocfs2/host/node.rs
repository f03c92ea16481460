//! A node: a machine that runs the real daemon, reached over HTTPS and commanded over its serial
//! line.

use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use coriolis_ovm_exporter::client::{Client, Trust};
use coriolis_ovm_exporter::operations::demo::node::{PASSWORD, USER};

use super::image::FileSystem;
use super::machine::{Machine, Plan};
use super::{Lab, node_files, paths, payload};
use crate::brief::{DAEMON_PORT, NODE, Seat};
use crate::orders::{Answer, Line, Lying, MARK, Notice, Order, Uptime};
use crate::scenario::Scenario;

/// How long anything may take that is not a matter of a cluster's timeouts.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// All that a node's machine is made of, so that it can be started again.
pub struct Site<'l> {
    lab: &'l Lab,
    disks: &'l [FileSystem],
    seat: Seat,
    payload: PathBuf,
    /// On the host's loopback.
    port: u16,
    network: Vec<String>,
    pub authority: String,
}

impl<'l> Site<'l> {
    /// A node that has the disks for itself.
    pub fn alone(
        lab: &'l Lab,
        scenario: &Scenario,
        disks: &'l [FileSystem],
    ) -> anyhow::Result<Site<'l>> {
        let seat = Seat {
            number: 1,
            nodes: 1,
        };
        Site::prepare(lab, scenario, disks, seat, Vec::new(), "")
    }

    /// Two nodes of a cluster, which share the disks. `more` is configuration.
    pub fn pair(
        lab: &'l Lab,
        scenario: &Scenario,
        disks: &'l [FileSystem],
        more: &str,
    ) -> anyhow::Result<[Site<'l>; 2]> {
        // Datagrams need no connection: a machine that is started again is heard again.
        let sockets = [bind_any()?, bind_any()?];
        let ports = [
            sockets[0].local_addr()?.port(),
            sockets[1].local_addr()?.port(),
        ];
        drop(sockets);
        let site = |number: u8, own: u16, other: u16| {
            let seat = Seat { number, nodes: 2 };
            let network = vec![
                "-netdev".to_owned(),
                format!(
                    "dgram,id=inner,local.type=inet,local.host=127.0.0.1,local.port={own},\
                     remote.type=inet,remote.host=127.0.0.1,remote.port={other}"
                ),
                "-device".to_owned(),
                format!(
                    "virtio-net-pci,netdev=inner,romfile=,mac={}",
                    seat.inner_mac()
                ),
            ];
            Site::prepare(lab, scenario, disks, seat, network, more)
        };
        Ok([site(1, ports[0], ports[1])?, site(2, ports[1], ports[0])?])
    }

    fn prepare(
        lab: &'l Lab,
        scenario: &Scenario,
        disks: &'l [FileSystem],
        seat: Seat,
        mut network: Vec<String>,
        more: &str,
    ) -> anyhow::Result<Site<'l>> {
        let inside = lab.folder.path().join(format!("node-{}", seat.number));
        let authority = node_files::write(&inside.join(NODE), disks.len(), more)?;
        let brief = lab.brief(disks, Some(seat.clone()));
        let payload = payload::pack(&inside, scenario, &brief)?;
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?
            .local_addr()?
            .port();
        network.extend([
            "-netdev".to_owned(),
            format!("user,id=outer,restrict=on,hostfwd=tcp:127.0.0.1:{port}-:{DAEMON_PORT}"),
            "-device".to_owned(),
            format!(
                "virtio-net-pci,netdev=outer,romfile=,mac={}",
                seat.outer_mac()
            ),
        ]);
        Ok(Site {
            lab,
            disks,
            seat,
            payload,
            port,
            network,
            authority,
        })
    }

    /// Switches the machine on.
    pub fn boot(&self) -> anyhow::Result<Node<'_>> {
        let shared = self.seat.nodes > 1;
        let name = self.name();
        let machine = Machine::boot(&Plan {
            name: if shared { &name } else { "" },
            setup: &self.lab.setup,
            processors: 1,
            memory: 512,
            modules: if shared { &["cluster"] } else { &[] },
            log: &self.lab.folder.path().join(format!("kernel-{name}.log")),
            payload: &self.payload,
            disks: &paths(self.disks),
            logs: &[],
            shared,
            extra: &self.network,
        })?;
        Ok(Node {
            site: self,
            machine,
            notices: Vec::new(),
        })
    }

    /// `node 1`, …
    pub fn name(&self) -> String {
        format!("node {}", self.seat.number)
    }

    /// Of the daemon, on the host.
    pub fn endpoint(&self) -> String {
        format!("https://127.0.0.1:{}", self.port)
    }
}

/// A node that is switched on.
pub struct Node<'s> {
    pub site: &'s Site<'s>,
    pub machine: Machine,
    /// Those that nobody has waited for yet.
    notices: Vec<Notice>,
}

impl Node<'_> {
    /// Waits until the daemon serves. Gives the kernel's version, and the file system as the
    /// kernel names it.
    pub fn wait_until_up(&mut self) -> anyhow::Result<(String, String)> {
        self.wait_for(PATIENCE * 2, |notice| match notice {
            Notice::Up {
                kernel,
                file_system,
            } => Some((kernel.clone(), file_system.clone())),
            _ => None,
        })
    }

    /// A client that has logged in.
    pub async fn client(&self) -> anyhow::Result<Client> {
        let trust = Trust::Authority(self.site.authority.clone().into_bytes());
        let endpoint = self.site.endpoint();
        let login = Client::login(&endpoint, USER, PASSWORD, &trust);
        tokio::time::timeout(PATIENCE, login)
            .await
            .with_context(|| format!("{}: no answer to a login", self.site.name()))?
            .with_context(|| format!("{}: login", self.site.name()))
    }

    /// Has an order carried out.
    pub fn ask(&mut self, order: &Order) -> anyhow::Result<Answer> {
        self.machine.say(&serde_json::to_string(order)?)?;
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.line(deadline)? {
                Some(Line::Answer(answer)) => return Ok(answer),
                Some(Line::Notice(notice)) => self.notices.push(notice),
                None => bail!("{}: no answer to {order:?}", self.site.name()),
            }
        }
    }

    /// The same for an order that is only done.
    pub fn tell(&mut self, order: &Order) -> anyhow::Result<()> {
        match self.ask(order)? {
            Answer::Done => Ok(()),
            other => bail!("{order:?} is answered {other:?}"),
        }
    }

    /// Waits for a notice that is wanted, and takes it. Others stay to be waited for.
    pub fn wait_for<T>(
        &mut self,
        patience: Duration,
        wanted: impl Fn(&Notice) -> Option<T>,
    ) -> anyhow::Result<T> {
        let deadline = Instant::now() + patience;
        loop {
            let found = self
                .notices
                .iter()
                .enumerate()
                .find_map(|(at, notice)| Some((at, wanted(notice)?)));
            if let Some((at, found)) = found {
                self.notices.remove(at);
                return Ok(found);
            }
            match self.line(deadline)? {
                Some(Line::Notice(notice)) => self.notices.push(notice),
                Some(Line::Answer(answer)) => bail!("nobody asked for {answer:?}"),
                None => bail!(
                    "{}: not heard of in {} s; the kernel said: {}",
                    self.site.name(),
                    patience.as_secs(),
                    self.machine.kernel()
                ),
            }
        }
    }

    /// Takes all notices that have come.
    pub fn notices(&mut self) -> Vec<Notice> {
        std::mem::take(&mut self.notices)
    }

    /// The next line that is meant for this program; None at the deadline.
    fn line(&mut self, deadline: Instant) -> anyhow::Result<Option<Line>> {
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let Some(line) = self.machine.try_next_line(left)? else {
                return Ok(None);
            };
            if let Some(json) = line.strip_prefix(MARK) {
                let line = serde_json::from_str(json)
                    .with_context(|| format!("{}: {json:?}", self.site.name()))?;
                return Ok(Some(line));
            }
        }
    }

    /// What lies in the snapshot folders.
    pub fn shelf(&mut self) -> anyhow::Result<Vec<Lying>> {
        match self.ask(&Order::Shelf)? {
            Answer::Shelf(lying) => Ok(lying),
            other => bail!("a shelf is answered {other:?}"),
        }
    }

    /// SHA-256 of a file in the machine.
    pub fn digest(&mut self, file: PathBuf) -> anyhow::Result<String> {
        match self.ask(&Order::Digest { file })? {
            Answer::Digest(digest) => Ok(digest),
            other => bail!("a digest is answered {other:?}"),
        }
    }

    /// The machine's own clock.
    pub fn uptime(&mut self) -> anyhow::Result<Uptime> {
        match self.ask(&Order::Uptime)? {
            Answer::Uptime(uptime) => Ok(uptime),
            other => bail!("an uptime is answered {other:?}"),
        }
    }

    /// What the daemon has logged.
    pub fn log(&mut self) -> anyhow::Result<String> {
        match self.ask(&Order::Log)? {
            Answer::Log(log) => Ok(log),
            other => bail!("a log is answered {other:?}"),
        }
    }

    /// Makes a virtual machine. Gives its id and its disks' paths in the machine.
    pub fn make_machine(
        &mut self,
        number: u32,
        repository: usize,
        sizes: &[u64],
    ) -> anyhow::Result<(String, Vec<PathBuf>)> {
        match self.ask(&Order::Machine {
            number,
            repository,
            sizes: sizes.to_vec(),
        })? {
            Answer::Machine { id, disks } => Ok((id, disks)),
            other => bail!("a machine is answered {other:?}"),
        }
    }

    /// Shuts it down: everything is let go of in order.
    pub fn end(mut self) -> anyhow::Result<()> {
        self.tell(&Order::End)?;
        self.machine.finish(PATIENCE)
    }
}

fn bind_any() -> std::io::Result<UdpSocket> {
    UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))
}
