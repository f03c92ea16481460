//! What a daemon is killed at, and what has to be true when it runs again.

use std::fs::{self, File};
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;

use coriolis_ovm_exporter::operations::demo::guest::Random;
use coriolis_ovm_exporter::sys::attributes;
use nix::sys::signal::Signal;
use reqwest::Method;
use serde_json::{Value, json};

use super::FAULT;
use crate::support::api::{Answer, Api, text};
use crate::support::node::{Kind, TestNode};
use crate::support::peace::disorder;
use crate::support::truth::{Images, Truth, images};
use crate::support::wait;

const VM: &str = "0004fb00000600000000000000000001";

/// Something that a daemon does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deed {
    /// A snapshot, with a key.
    Create,
    /// One that fails when the first of its directories is there, and is undone.
    CreateInVain,
    /// The newer to the older.
    Compare,
    /// Another label.
    Change,
    /// The older.
    Delete,
    /// All.
    Purge,
    /// The newer, at the start.
    Expire,
    /// The newer, as if the first generation had made it, at the start.
    Adopt,
}

impl Deed {
    pub const ALL: [Deed; 8] = [
        Deed::Create,
        Deed::CreateInVain,
        Deed::Compare,
        Deed::Change,
        Deed::Delete,
        Deed::Purge,
        Deed::Expire,
        Deed::Adopt,
    ];
}

/// A node with a machine that has disks in two repositories, and snapshots.
pub struct Scene {
    node: TestNode,
    disks: Vec<PathBuf>,
    random: Random,
    /// Two, the older first, when a deed begins.
    known: Vec<Truth>,
    /// The disks when a deed begins: what a snapshot of it is.
    now: Images,
    /// A key that no other deed has.
    key: u64,
    /// How much of the log has been read.
    logged: usize,
}

impl Scene {
    pub async fn set() -> Scene {
        let node = TestNode::prepare(&[Kind::Xfs, Kind::Btrfs], "").await;
        let disks: Vec<PathBuf> = [(0, "system.img"), (0, "data.img"), (1, "more.img")]
            .iter()
            .map(|(at, name)| {
                node.repositories[*at]
                    .path()
                    .join("VirtualDisks")
                    .join(name)
            })
            .collect();
        let entries: Vec<String> = disks
            .iter()
            .zip('a'..)
            .map(|(path, letter)| format!("'file:{},xvd{letter},w'", path.display()))
            .collect();
        let config = format!("name = '{VM}'\ndisk = [{}]\n", entries.join(", "));
        node.vm_cfg(0, VM, &config);
        for disk in &disks {
            fs::write(disk, vec![7; 96 << 10]).unwrap();
        }
        Scene {
            node,
            now: images(&disks),
            disks,
            random: Random::new(1),
            known: Vec::new(),
            key: 0,
            logged: 0,
        }
    }

    /// The guest writes.
    fn write(&mut self) {
        for disk in &self.disks {
            let mut bytes = fs::read(disk).unwrap();
            let at = usize::try_from(self.random.below(24)).unwrap() * 4096;
            self.random.fill(&mut bytes[at..at + 4096]);
            fs::write(disk, bytes).unwrap();
        }
        self.now = images(&self.disks);
    }

    /// What has been logged since this was last asked.
    fn news(&mut self) -> String {
        let log = self.node.log();
        let news = log[self.logged..].to_owned();
        self.logged = log.len();
        news
    }

    /// Two snapshots, one of them with a term where the deed needs it, and other bytes after them.
    /// No daemon runs then.
    async fn prepare(&mut self, deed: Deed) {
        self.node.start();
        let api = Api::of(&self.node).await;
        let path = format!("/vms/{VM}/snapshots");
        assert_eq!(api.delete(&path).await.status, 200);
        self.known.clear();
        for expires_in in [None, (deed == Deed::Expire).then_some(1)] {
            self.write();
            let body = json!({"label": "before", "expires_in": expires_in});
            let taken = api.send_body(Method::POST, &path, body).await;
            assert_eq!(taken.status, 200, "{taken:?}");
            self.known.push(Truth::of(&taken.json(), &self.now));
        }
        self.write();
        self.key += 1;
        let entry = api.json("/snapshots").await[1].clone();
        self.node.stop();
        if let Some(end) = entry["expires_at"].as_str() {
            let end: jiff::Timestamp = end.parse().unwrap();
            wait::until("the term is over", || jiff::Timestamp::now() > end);
        }
        if deed == Deed::Adopt {
            self.forget_newer();
        }
        self.news();
    }

    /// Nothing is left of the newer one but its folders and the disks in them.
    fn forget_newer(&mut self) {
        let newer = &mut self.known[1];
        newer.label = Value::Null;
        for repository in &self.node.repositories {
            let folder = repository.path().join("CoriolisSnapshots").join(&newer.id);
            for item in fs::read_dir(folder).unwrap() {
                let path = item.unwrap().path();
                attributes::set(&File::open(&path).unwrap(), attributes::IMMUTABLE, false).unwrap();
                if path.extension().is_some_and(|end| end == "json") {
                    fs::remove_file(path).unwrap();
                }
            }
        }
    }

    /// Does it, for the first time or again, and looks at what there is; an error where the daemon
    /// dies meanwhile.
    async fn act(&self, deed: Deed, api: &Api) -> reqwest::Result<Option<Answer>> {
        let asked = self.ask(deed, api).await?;
        api.try_body(Method::GET, "/snapshots", "").await?;
        Ok(asked)
    }

    async fn ask(&self, deed: Deed, api: &Api) -> reqwest::Result<Option<Answer>> {
        let path = format!("/vms/{VM}/snapshots");
        let (older, newer) = (&self.known[0], &self.known[1]);
        let asked = match deed {
            Deed::Create => {
                let body = json!({"idempotency_key": format!("key {}", self.key)});
                api.try_body(Method::POST, &path, body).await?
            }
            Deed::CreateInVain => return self.create_in_vain(api).await.map(|()| None),
            Deed::Compare => {
                let path = format!("{}?compareTo={}", newer.path(), older.id);
                let compared = api.try_body(Method::GET, &path, "").await?;
                newer.check_changes(older, &compared.json());
                compared
            }
            Deed::Change => {
                let body = json!({"label": "after"});
                api.try_body(Method::PATCH, &older.path(), body).await?
            }
            Deed::Delete => api.try_body(Method::DELETE, &older.path(), "").await?,
            Deed::Purge => api.try_body(Method::DELETE, &path, "").await?,
            // It is done at the start already.
            Deed::Expire | Deed::Adopt => return Ok(None),
        };
        assert_eq!(asked.status, 200, "{deed:?}: {asked:?}");
        Ok(Some(asked))
    }

    /// The second repository's folder is no folder for a moment. That clones can be made there is
    /// known by then.
    async fn create_in_vain(&self, api: &Api) -> reqwest::Result<()> {
        api.try_body(Method::GET, "/node", "").await?;
        let root = self.node.repositories[1].path();
        let (shelf, aside) = (root.join("CoriolisSnapshots"), root.join("aside"));
        fs::rename(&shelf, &aside).unwrap();
        fs::write(&shelf, "in the way").unwrap();
        let asked = api
            .try_body(Method::POST, &format!("/vms/{VM}/snapshots"), "")
            .await;
        fs::remove_file(&shelf).unwrap();
        fs::rename(&aside, &shelf).unwrap();
        let asked = asked?;
        assert_eq!(asked.status, 500, "{asked:?}");
        Ok(())
    }

    /// Does it with a daemon that lives, and gives what it logs.
    pub async fn watch(&mut self, deed: Deed) -> String {
        self.prepare(deed).await;
        self.node.start_with(&[(FAULT, "watch")]).unwrap();
        let api = Api::of(&self.node).await;
        self.act(deed, &api).await.unwrap();
        self.node.stop();
        self.news()
    }

    /// Does it with a daemon that is killed at a point: at its start, or while it does it.
    pub async fn kill_at(&mut self, deed: Deed, spot: &str) {
        self.prepare(deed).await;
        if self.start_killed(spot) {
            return;
        }
        let api = Api::of(&self.node).await;
        let asked = self.act(deed, &api).await;
        assert!(asked.is_err(), "{deed:?} survives {spot}: {asked:?}");
        let status = self.node.take_daemon().wait().unwrap();
        assert_eq!(
            status.signal(),
            Some(Signal::SIGKILL as i32),
            "{deed:?} {spot}"
        );
        self.assert_killed_at(spot);
    }

    /// Starts a daemon that is to be killed at a point; false where it is ready before that.
    pub fn start_killed(&mut self, spot: &str) -> bool {
        let Err(error) = self.node.start_with(&[(FAULT, spot)]) else {
            return false;
        };
        let error = error.to_string();
        let said = error.lines().next().unwrap();
        assert!(said.contains("SIGKILL"), "{spot}: {error}");
        self.assert_killed_at(spot);
        true
    }

    fn assert_killed_at(&mut self, spot: &str) {
        let point = spot.split(':').next().unwrap();
        let log = self.news();
        // Another thread may say something in the last moment.
        let killed = format!("killed at {point}");
        let is_said = log.lines().any(|line| line.ends_with(&killed));
        assert!(is_said, "{spot}: {log}");
    }

    /// Recovers with a daemon that lives, and gives what it logs.
    pub async fn watch_recovery(&mut self, deed: Deed) -> String {
        self.node.start_with(&[(FAULT, "watch")]).unwrap();
        let log = self.news();
        self.node.stop();
        self.recover_and_check(deed).await;
        log
    }

    /// Starts a daemon without a fault: everything is in peace, what was answered is as it was, the
    /// deed can be done again, and so can others.
    pub async fn recover_and_check(&mut self, deed: Deed) {
        self.node.stop();
        self.node.start();
        let api = Api::of(&self.node).await;
        let listed = api.json("/snapshots").await;
        assert_eq!(disorder(&self.node), [""; 0], "{deed:?}");
        let ids: Vec<&str> = listed
            .as_array()
            .unwrap()
            .iter()
            .map(|entry| text(&entry["id"]))
            .collect();
        let made = self.check_known(deed, &api, &ids).await;

        // Once more, for the client that got no answer.
        let again = self.act(deed, &api).await.unwrap();
        if deed == Deed::Create {
            let again = again.unwrap().json();
            assert!(made.is_none_or(|made| made == text(&again["id"])));
            let listed = api.json(&format!("/vms/{VM}/snapshots")).await;
            assert_eq!(listed.as_array().unwrap().len(), 3, "one key, one snapshot");
            let truth = Truth::of(&again, &self.now);
            truth.check_files(&again);
            self.known.push(truth);
        }
        if deed == Deed::Change {
            self.known[0].label = "after".into();
        }
        let left = match deed {
            Deed::Purge => &[],
            Deed::Delete => &self.known[1..],
            Deed::Expire => &self.known[..1],
            _ => &self.known[..],
        };
        self.check_life(&api, left).await;
        self.node.stop();
    }

    /// Holds what is listed after the crash against what may be there. Gives the id of a snapshot
    /// that was made and not answered.
    async fn check_known(&self, deed: Deed, api: &Api, ids: &[&str]) -> Option<String> {
        for (at, truth) in self.known.iter().enumerate() {
            let there = ids.contains(&truth.id.as_str());
            match (deed, at) {
                // Begun or not.
                (Deed::Delete, 0) | (Deed::Purge, _) if !there => continue,
                (Deed::Expire, 1) => {
                    assert!(!there, "its term is over");
                    continue;
                }
                _ => assert!(there, "{deed:?}: {} was answered and is lost", truth.id),
            }
            let shown = api.json(&truth.path()).await;
            truth.check_files(&shown);
            let label = &shown["label"];
            let changed = deed == Deed::Change && at == 0 && *label == json!("after");
            assert!(changed || *label == truth.label, "{deed:?}: {label}");
        }
        let is_known = |id: &&str| self.known.iter().any(|truth| truth.id == *id);
        let mut others = ids.iter().filter(|id| !is_known(id));
        let made = others.next().map(|id| (*id).to_owned());
        assert!(made.is_none() || deed == Deed::Create, "{deed:?}: {made:?}");
        assert_eq!(others.next(), None, "{deed:?}");
        made
    }

    /// Everything can be read, and a snapshot made, compared and deleted.
    async fn check_life(&self, api: &Api, left: &[Truth]) {
        for truth in left {
            let shown = api.json(&truth.path()).await;
            assert_eq!(shown["label"], truth.label);
            let bytes = truth.check_downloads(api, &shown).await.unwrap();
            assert_eq!(bytes, 3 * (96 << 10));
        }
        let path = format!("/vms/{VM}/snapshots");
        let next = Truth::of(&api.snapshot(VM).await, &self.now);
        for base in left {
            let path = format!("{}?compareTo={}", next.path(), base.id);
            next.check_changes(base, &api.json(&path).await);
        }
        assert_eq!(api.delete(&next.path()).await.status, 200);
        assert_eq!(api.delete(&path).await.status, 200);
        assert_eq!(api.json("/snapshots").await, Value::Array(Vec::new()));
        assert_eq!(disorder(&self.node), [""; 0]);
        assert!(self.node.snapshot_files().is_empty());
    }
}
