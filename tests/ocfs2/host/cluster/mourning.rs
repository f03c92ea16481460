//! The time between a node's death and the moment when nothing is left of its work, on the clock of
//! the survivor.

use std::fmt;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};

use super::{EVICTION, Pool};
use crate::host::node::PATIENCE;
use crate::orders::{Lying, Notice, Order, Uptime};

/// The first node is the one that dies, the second one survives.
pub const DEAD: usize = 0;
pub const SURVIVOR: usize = 1;

/// A node that has just died.
pub struct Loss {
    pub at: Uptime,
}

/// How it went on.
#[derive(Debug)]
pub struct Mourned {
    died: Uptime,
    evicted: Uptime,
    /// When, and the daemon's own words.
    recovered: Option<(Uptime, String)>,
    /// Until a login was answered, while the dead node was not given up yet.
    login: Duration,
    /// What was seen lying there, in the order of it.
    seen: Vec<Vec<Lying>>,
}

impl Loss {
    /// Takes the power of the node that dies.
    pub fn of_power(pool: &mut Pool<'_>) -> anyhow::Result<Loss> {
        let survivor = &mut pool.nodes[SURVIVOR];
        let early: Vec<Notice> = survivor
            .notices()
            .into_iter()
            .filter(|notice| matches!(notice, Notice::Recovered { .. }))
            .collect();
        ensure!(
            early.is_empty(),
            "put right while its maker was alive: {early:?}"
        );
        let at = survivor.uptime()?;
        pool.nodes[DEAD].machine.kill();
        Ok(Loss { at })
    }

    /// Watches until the cluster has given the dead node up and the survivor has cleared up.
    pub fn mourn(self, pool: &mut Pool<'_>) -> anyhow::Result<Mourned> {
        pool.nodes[SURVIVOR].tell(&Order::Watch { on: true })?;
        let login = self.log_in(pool)?;
        let logged_in = pool.nodes[SURVIVOR].uptime()?;
        let evicted = self.wait_for_eviction(pool)?;
        ensure!(logged_in < evicted, "a login waited for the eviction");
        let survivor = &mut pool.nodes[SURVIVOR];
        let deadline = Instant::now() + PATIENCE;
        loop {
            let lying = survivor.shelf()?;
            if lying.iter().all(|one| one.state == "ready") {
                break;
            }
            ensure!(
                Instant::now() < deadline,
                "not put right: {lying:?}; the daemon's log:\n{}",
                survivor.log()?
            );
            std::thread::sleep(Duration::from_millis(100));
        }
        // What has been put right is said when all of it is: a round of recovery later, at most.
        let recovered = survivor
            .wait_for(Duration::from_secs(6), |notice| match notice {
                Notice::Recovered { at, line } => Some((*at, line.clone())),
                _ => None,
            })
            .ok();
        survivor.tell(&Order::Watch { on: false })?;
        let mourned = Mourned {
            died: self.at,
            evicted,
            recovered,
            login,
            seen: self.seen(survivor.notices(), evicted)?,
        };
        if let Some((at, line)) = &mourned.recovered {
            ensure!(*at >= evicted, "put right too early: {line} ({mourned})");
        }
        Ok(mourned)
    }

    /// Somebody may log in while the file system waits.
    pub fn log_in(&self, pool: &mut Pool<'_>) -> anyhow::Result<Duration> {
        let begun = Instant::now();
        pool.operations += 1;
        pool.runtime.block_on(pool.nodes[SURVIVOR].client())?;
        Ok(begun.elapsed())
    }

    pub fn wait_for_eviction(&self, pool: &mut Pool<'_>) -> anyhow::Result<Uptime> {
        let evicted = pool.nodes[SURVIVOR]
            .wait_for(EVICTION, |notice| match notice {
                Notice::Evicted { node, at } if usize::from(*node) == DEAD + 1 => Some(*at),
                _ => None,
            })
            .context("no eviction")?;
        // Four intervals of 2 s after the last heartbeat, which was at most one before.
        ensure!(
            evicted >= self.at + 5000,
            "evicted {} ms after its death",
            evicted - self.at
        );
        Ok(evicted)
    }

    /// What the survivor saw. As long as the dead node may be alive, that must not change.
    fn seen(&self, notices: Vec<Notice>, evicted: Uptime) -> anyhow::Result<Vec<Vec<Lying>>> {
        let mut early = 0;
        let mut seen = Vec::new();
        for notice in notices {
            let Notice::Shelf {
                asked,
                answered,
                lying,
            } = notice
            else {
                continue;
            };
            // The last word of an earlier watch.
            if asked < self.at {
                continue;
            }
            if answered < evicted {
                early += 1;
                ensure!(
                    early == 1,
                    "changed {} ms before the eviction: {seen:?}, then {lying:?}",
                    evicted - answered
                );
            }
            seen.push(lying);
        }
        ensure!(!seen.is_empty(), "nothing was watched");
        Ok(seen)
    }
}

impl Mourned {
    /// Whether the daemon says that it has done that to anything: `undone`, `finished`, `cleared`.
    pub fn has(&self, deed: &str) -> bool {
        self.recovered.as_ref().is_some_and(|(_, line)| {
            line.contains(&format!("{deed}=[")) && !line.contains(&format!("{deed}=[]"))
        })
    }
}

impl fmt::Display for Mourned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = |at: &Uptime| Duration::from_millis(at - self.died).as_secs_f64();
        write!(
            f,
            "login {} ms after the death, eviction {:.1} s",
            self.login.as_millis(),
            seconds(&self.evicted)
        )?;
        match &self.recovered {
            Some((at, line)) => {
                let said = line.find("undone").map_or("", |from| &line[from..]);
                write!(f, ", recovery {:.1} s: {said}", seconds(at))?;
            }
            None => write!(f, ", nothing to recover")?,
        }
        let states: Vec<Vec<&str>> = self
            .seen
            .iter()
            .map(|lying| lying.iter().map(|one| one.state.as_str()).collect())
            .collect();
        write!(f, "; seen {states:?}")
    }
}
