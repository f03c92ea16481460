use std::env;
use std::path::PathBuf;

use anyhow::{Context as _, bail};

use crate::{client, peers};

/// What this process is to do.
pub enum Role {
    Outer(Wish),
    Inner(Wish),
    Client(client::Errand),
    Scan(peers::scan::Errand),
}

/// What whoever started it wants.
#[derive(Debug, Clone)]
pub struct Wish {
    /// Tiny sizes: whether everything works, not how fast it is.
    pub short: bool,
    /// These figures alone; all where there are none.
    pub names: Vec<String>,
    /// Where the report goes.
    pub out: PathBuf,
    /// Below which folder the disks lie.
    pub parent: PathBuf,
}

impl Role {
    pub fn of_this_process() -> anyhow::Result<Role> {
        let mut words: Vec<String> = env::args().skip(1).collect();
        match words.first().map(String::as_str) {
            Some("inner") => Ok(Role::Inner(Wish::parse(&words[1..])?)),
            Some("client") => Ok(Role::Client(handed_over(&words)?)),
            Some("scan") => Ok(Role::Scan(handed_over(&words)?)),
            _ => {
                // Cargo's own.
                words.retain(|word| word != "--bench");
                Ok(Role::Outer(Wish::parse(&words)?))
            }
        }
    }
}

/// One argument in JSON.
fn handed_over<T: serde::de::DeserializeOwned>(words: &[String]) -> anyhow::Result<T> {
    let text = words.get(1).context("an argument is missing")?;
    Ok(serde_json::from_str(text)?)
}

impl Wish {
    fn parse(words: &[String]) -> anyhow::Result<Wish> {
        let mut wish = Wish {
            short: false,
            names: Vec::new(),
            out: PathBuf::new(),
            // On disk also where /tmp is memory.
            parent: PathBuf::from("/var/tmp"),
        };
        let mut words = words.iter();
        while let Some(word) = words.next() {
            let mut value = || {
                words
                    .next()
                    .with_context(|| format!("{word} wants a value"))
            };
            match word.as_str() {
                "--short" => wish.short = true,
                "--dir" => wish.parent = value()?.into(),
                "--out" => wish.out = value()?.into(),
                "--figures" => {
                    let names = value()?.split([',', ' ']).filter(|name| !name.is_empty());
                    wish.names.extend(names.map(str::to_owned));
                }
                _ => bail!(
                    "{word} is not known; there are --short, --figures A,B, --dir FOLDER for the \
                     disks and --out FOLDER for the report"
                ),
            }
        }
        if wish.out.as_os_str().is_empty() {
            let own = if wish.short { "bench/short" } else { "bench" };
            wish.out = target_folder()?.join(own);
        }
        Ok(wish)
    }

    /// The same as words.
    pub fn words(&self) -> Vec<String> {
        let mut words = vec![
            "--dir".to_owned(),
            self.parent.display().to_string(),
            "--out".to_owned(),
            self.out.display().to_string(),
        ];
        if self.short {
            words.push("--short".to_owned());
        }
        if !self.names.is_empty() {
            words.extend(["--figures".to_owned(), self.names.join(",")]);
        }
        words
    }

    /// Whether a figure is asked for.
    pub fn wants(&self, name: &str) -> bool {
        self.names.is_empty() || self.names.iter().any(|wanted| wanted == name)
    }
}

/// Cargo's, which this program lies in: `target/[triple/]profile/deps/bench-…`.
fn target_folder() -> anyhow::Result<PathBuf> {
    let own = env::current_exe()?;
    let found = own
        .ancestors()
        .find(|folder| folder.join("CACHEDIR.TAG").is_file())
        .context("this program does not lie in a target folder of cargo")?;
    Ok(found.to_owned())
}
