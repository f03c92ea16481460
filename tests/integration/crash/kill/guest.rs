//! A machine, and the client that changes its snapshots.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use coriolis_ovm_exporter::operations::demo::guest::Random;
use coriolis_ovm_exporter::operations::demo::machines::scribble;
use jiff::Timestamp;
use reqwest::Method;
use serde_json::{Value, json};

use super::{DISK, Tally};
use crate::support::api::{Answer, Api, text};
use crate::support::node::TestNode;
use crate::support::truth::{Images, Truth, images};

/// So many snapshots of a machine are kept.
const KEEP: usize = 5;

/// The snapshots that were answered and that nobody has asked to delete, by id.
pub type Book = Arc<Mutex<BTreeMap<String, Truth>>>;

/// A request that was sent and not answered.
#[derive(Debug)]
enum Open {
    Create { body: Value, images: Images },
    Delete(Vec<Truth>),
    Change { id: String, label: Value },
}

/// A machine.
#[derive(Debug)]
pub struct Guest {
    pub vm: String,
    pub book: Book,
    disks: Vec<PathBuf>,
    random: Random,
    open: Option<Open>,
    keys: u32,
}

impl Guest {
    /// A machine with a disk in each of these repositories.
    pub fn new(node: &TestNode, number: usize, repositories: &[usize], seed: u64) -> Guest {
        let vm = format!("0004fb0000060000{number:016x}");
        let disk = |(at, repository): (usize, &usize)| {
            let folder = node.repositories[*repository].path().join("VirtualDisks");
            let path = folder.join(format!("{number}-{at}.img"));
            std::fs::write(&path, vec![7; DISK]).unwrap();
            path
        };
        let disks: Vec<PathBuf> = repositories.iter().enumerate().map(disk).collect();
        let entries: Vec<String> = disks
            .iter()
            .zip('a'..)
            .map(|(path, letter)| format!("'file:{},xvd{letter},w'", path.display()))
            .collect();
        let text = format!("name = '{vm}'\ndisk = [{}]\n", entries.join(", "));
        node.vm_cfg(0, &vm, &text);
        Guest {
            vm,
            book: Book::default(),
            disks,
            random: Random::new(seed),
            open: None,
            keys: 0,
        }
    }

    /// Makes, changes and deletes until the daemon is gone; gives how many it has made.
    pub async fn work(mut self, api: Api) -> (Guest, u32) {
        let mut taken = 0;
        while self.step(&api, &mut taken).await.is_ok() {
            self.open = None;
        }
        (self, taken)
    }

    async fn step(&mut self, api: &Api, taken: &mut u32) -> reqwest::Result<()> {
        let known: Vec<Truth> = self.book.lock().unwrap().values().cloned().collect();
        let at = usize::try_from(self.random.below(known.len() as u64)).unwrap();
        match (self.random.below(40), known.get(at)) {
            (0, _) => self.delete(api, known, true).await,
            (1..6, Some(one)) => self.delete(api, vec![one.clone()], false).await,
            (_, Some(one)) if known.len() > KEEP => {
                self.delete(api, vec![one.clone()], false).await
            }
            (6..16, Some(one)) if one.ends.is_none() => self.change(api, one).await,
            _ => {
                *taken += 1;
                self.create(api).await.inspect_err(|_| *taken -= 1)
            }
        }
    }

    async fn create(&mut self, api: &Api) -> reqwest::Result<()> {
        let images = self.write();
        self.keys += 1;
        let body = match self.random.below(8) {
            0 => json!({"expires_in": 1}),
            1 => json!({}),
            2 => json!({"label": format!("made {}", self.keys)}),
            choice => json!({
                "idempotency_key": format!("key {}", self.keys),
                "label": if choice < 5 { Value::Null } else { "keyed".into() },
                "expires_in": (choice == 7).then_some("36h"),
            }),
        };
        let path = format!("/vms/{}/snapshots", self.vm);
        let request = body.clone();
        let ends_soon = body["expires_in"] == 1;
        self.open = Some(Open::Create {
            body,
            images: images.clone(),
        });
        let answer = api.try_body(Method::POST, &path, request).await?;
        // A term of a second may be over before the maps are read.
        if !(ends_soon && answer.status == 404) {
            self.note(&answer, &images);
        }
        Ok(())
    }

    fn note(&self, answer: &Answer, images: &Images) {
        assert_eq!(answer.status, 200, "{answer:?}");
        let truth = Truth::of(&answer.json(), images);
        truth.check_files(&answer.json());
        self.book.lock().unwrap().insert(truth.id.clone(), truth);
    }

    async fn delete(&mut self, api: &Api, those: Vec<Truth>, all: bool) -> reqwest::Result<()> {
        for truth in &those {
            self.book.lock().unwrap().remove(&truth.id);
        }
        let path = match &those[..] {
            [one] if !all => one.path(),
            _ => format!("/vms/{}/snapshots", self.vm),
        };
        self.open = Some(Open::Delete(those));
        let answer = api.try_body(Method::DELETE, &path, "").await?;
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
        Ok(())
    }

    async fn change(&mut self, api: &Api, one: &Truth) -> reqwest::Result<()> {
        let label = match self.random.below(3) {
            0 => Value::Null,
            number => format!("changed {number} {}", self.random.below(1000)).into(),
        };
        let mut body = json!({"label": label});
        if self.random.below(6) == 0 {
            body["expires_in"] = 1.into();
            // From now on it may go, for all that its client knows.
            let mut book = self.book.lock().unwrap();
            book.get_mut(&one.id).unwrap().ends = Some(Timestamp::now());
        }
        self.open = Some(Open::Change {
            id: one.id.clone(),
            label: label.clone(),
        });
        let answer = api.try_body(Method::PATCH, &one.path(), body).await?;
        let changed = answer.json();
        assert!(answer.status == 200 || answer.status == 404, "{answer:?}");
        if let Some(known) = self.book.lock().unwrap().get_mut(&one.id) {
            assert!(answer.status == 200 || known.is_over(), "{answer:?}");
            if answer.status == 200 {
                known.label = label;
                known.ends = Truth::of(&changed, &one.images).ends;
            }
        }
        Ok(())
    }

    fn write(&mut self) -> Images {
        for path in &self.disks {
            let file = File::options().write(true).open(path).unwrap();
            let offset = self.random.below(DISK as u64 / 4096) * 4096;
            scribble(&file, &mut self.random, offset, 4096).unwrap();
        }
        images(&self.disks)
    }

    /// Holds what the daemon says after a restart against what was known before, and sends again
    /// what was not answered.
    pub async fn check(&mut self, api: &Api, tally: &mut Tally) {
        let path = format!("/vms/{}/snapshots", self.vm);
        let listed = api.json(&path).await;
        let mut listed: BTreeMap<String, Value> = listed
            .as_array()
            .unwrap()
            .iter()
            .map(|shown| (text(&shown["id"]).to_owned(), shown.clone()))
            .collect();
        let open = self.open.take();
        tally.open += u32::from(open.is_some());
        self.check_known(&mut listed, open.as_ref(), tally);
        // What is left of the list: a deletion that was not begun, or a create that was not answered.
        match open {
            Some(Open::Delete(those)) => {
                for truth in those {
                    if let Some(shown) = listed.remove(&truth.id) {
                        truth.check_files(&shown);
                        self.book.lock().unwrap().insert(truth.id.clone(), truth);
                    }
                }
            }
            Some(Open::Create { body, images }) => {
                let made = listed.pop_first();
                if let Some((_, shown)) = &made {
                    Truth::of(shown, &images).check_files(shown);
                }
                self.repeat(api, body, &images, made, tally).await;
            }
            Some(Open::Change { .. }) | None => {}
        }
        assert!(listed.is_empty(), "nobody has asked for {listed:?}");
        self.sample(api, tally).await;
    }

    /// A create again: with a key it answers one snapshot, whether the first was completed or not.
    async fn repeat(
        &mut self,
        api: &Api,
        body: Value,
        images: &Images,
        made: Option<(String, Value)>,
        tally: &mut Tally,
    ) {
        if body.get("idempotency_key").is_none() {
            if let Some((_, shown)) = made {
                let truth = Truth::of(&shown, images);
                self.book.lock().unwrap().insert(truth.id.clone(), truth);
            }
            return;
        }
        match &made {
            Some(_) => tally.completed += 1,
            None => tally.not_completed += 1,
        }
        let path = format!("/vms/{}/snapshots", self.vm);
        for _ in 0..2 {
            let answer = api.send_body(Method::POST, &path, &body).await;
            self.note(&answer, images);
            let id = text(&answer.json()["id"]).to_owned();
            assert!(
                made.as_ref().is_none_or(|(made, _)| *made == id),
                "{made:?} {id}"
            );
        }
        let listed = api.json(&path).await;
        let same = |shown: &&Value| {
            let id = text(&shown["id"]);
            !self.book.lock().unwrap().contains_key(id)
        };
        let others: Vec<_> = listed.as_array().unwrap().iter().filter(same).collect();
        assert!(
            others.is_empty(),
            "one key, and more than one snapshot: {others:?}"
        );
    }

    /// Takes the known ones from the list: each is there, with its bytes and what was said of it.
    fn check_known(
        &mut self,
        listed: &mut BTreeMap<String, Value>,
        open: Option<&Open>,
        tally: &mut Tally,
    ) {
        let mut book = self.book.lock().unwrap();
        let mut gone = Vec::new();
        for truth in book.values_mut() {
            let Some(shown) = listed.remove(&truth.id) else {
                assert!(truth.is_over(), "{truth:?} was answered and is lost");
                gone.push(truth.id.clone());
                tally.expired += 1;
                continue;
            };
            if let Some(Open::Change { id, label }) = open
                && *id == truth.id
                && shown["label"] == *label
            {
                truth.label = label.clone();
            }
            assert_eq!(shown["label"], truth.label, "{}", truth.id);
            truth.ends = Truth::of(&shown, &truth.images).ends;
            tally.checked_bytes += truth.check_files(&shown);
            tally.checked += 1;
        }
        for id in gone {
            book.remove(&id);
        }
    }

    /// A download and a comparison, which have to succeed.
    async fn sample(&mut self, api: &Api, tally: &mut Tally) {
        let lasting: Vec<Truth> = {
            let book = self.book.lock().unwrap();
            let lasts = |truth: &&Truth| truth.ends.is_none();
            book.values().filter(lasts).cloned().collect()
        };
        let Some(newest) = lasting.iter().max_by_key(|truth| truth.created_at) else {
            return;
        };
        let shown = api.json(&newest.path()).await;
        let bytes = newest.check_downloads(api, &shown).await.unwrap();
        assert_eq!(bytes, newest.size());
        tally.downloaded += bytes;
        let at = usize::try_from(self.random.below(lasting.len() as u64)).unwrap();
        let base = &lasting[at];
        if base.id != newest.id {
            let path = format!("{}?compareTo={}", newest.path(), base.id);
            newest.check_changes(base, &api.json(&path).await);
            tally.compared += 1;
        }
    }
}
