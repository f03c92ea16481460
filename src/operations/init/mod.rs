//! `coriolis-ovm-exporter init`: a configuration that works, with certificates and a secret of its
//! own.
//!
//! | file | what it does |
//! | --- | --- |
//! | [`names`] | under which names and addresses clients reach this node |
//! | [`plan`] | what is there, what is missing, and whether it is safe to make that |
//! | [`authority`] | the certificates |
//! | [`template`] | `config.toml`, made of the documented example |
//! | [`stage`] | puts all files in their place, or none |
//! | [`words`] | what the admin is told |

mod authority;
mod names;
mod plan;
mod stage;
mod template;
mod words;

use std::fs::{self, DirBuilder, File};
use std::io;
use std::net::IpAddr;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::Args;

use super::random_numbers;
use crate::config::secret;
use crate::ovm::agent::AgentDatabases;
use crate::sys::flock::Flock;
use names::Names;
use plan::{Paths, Plan};
use stage::{NewFile, Stage};

/// Only its owner reads what holds a key.
const SECRET: u32 = 0o600;
/// Certificates are for everybody.
const PUBLIC: u32 = 0o644;

/// Options of `coriolis-ovm-exporter init`.
#[derive(Debug, Clone, Args)]
pub struct Options {
    /// Where to write all files. Without it, the folder of --config.
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// One more name under which clients reach this node, for its certificate; may be repeated.
    #[arg(long = "name", value_name = "NAME", value_parser = names::name)]
    pub names: Vec<String>,
    /// One more address; may be repeated.
    #[arg(long = "address", value_name = "IP")]
    pub addresses: Vec<IpAddr>,
    /// How many days the server's certificate is good for; its authority is for twice as long.
    #[arg(long, default_value_t = 3650, value_parser = clap::value_parser!(u32).range(1..=18_000))]
    pub days: u32,
}

/// Writes what is missing, and says what is to be done with it. A file that is there is left as it
/// is.
///
/// # Errors
/// That a file is missing which cannot be made without another one that is there; the file
/// system's. Nothing is written then.
pub fn run(config: &Path, options: &Options) -> anyhow::Result<ExitCode> {
    let (directory, config_name) = place(config, options.dir.as_deref())?;
    make_directory(&directory)?;
    let _lock = File::open(&directory)
        .and_then(Flock::try_exclusive)
        .with_context(|| format!("cannot open {}", directory.display()))?
        .with_context(|| {
            let directory = directory.display();
            format!("another init works in {directory}; wait for it")
        })?;
    Stage::finish_left(&directory).with_context(|| {
        format!(
            "cannot finish an interrupted init in {}",
            directory.display()
        )
    })?;
    let paths = Paths::of(&directory, &config_name)?;
    let plan = Plan::of(&paths)?;
    let agent = AgentDatabases::new("/etc/ovs-agent/db");
    let registered = agent.server_settings().ok().and_then(|s| s.registered_ip);
    let names = Names::of_this_node(registered.as_deref(), &options.names, &options.addresses);

    let mut files = Vec::new();
    if plan.makes_anything() {
        random_numbers::wait()?;
        files = make(&plan, &paths, &names, options.days)?;
        Stage::write(&directory, &files)
            .and_then(|stage| stage.put_in_place())
            .with_context(|| {
                format!("nothing is set up: cannot write in {}", directory.display())
            })?;
    }
    let mode = fs::metadata(&directory)
        .with_context(|| format!("cannot look at {}", directory.display()))?
        .permissions()
        .mode()
        & 0o777;
    print!("{}", words::files(&paths, &files, mode));
    print!("{}", words::next(&paths, &names)?);
    Ok(ExitCode::SUCCESS)
}

/// The folder, as an absolute path, and the name of the configuration in it.
fn place(config: &Path, dir: Option<&Path>) -> anyhow::Result<(PathBuf, String)> {
    let name = config.file_name().and_then(|name| name.to_str());
    let Some(name) = name else {
        bail!("{} names no file", config.display());
    };
    let directory = dir.or(config.parent()).unwrap_or(Path::new("."));
    let directory = std::path::absolute(match directory.as_os_str().is_empty() {
        true => Path::new("."),
        false => directory,
    })?;
    Ok((directory, name.to_owned()))
}

fn make_directory(directory: &Path) -> anyhow::Result<()> {
    match DirBuilder::new().mode(0o700).create(directory) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && directory.is_dir() => {}
        Err(error) => {
            return Err(error).with_context(|| format!("cannot make {}", directory.display()));
        }
    }
    Ok(())
}

/// The content of all files that the plan wants, in the order in which they become visible.
fn make(plan: &Plan, paths: &Paths, names: &Names, days: u32) -> anyhow::Result<Vec<NewFile>> {
    let mut files = Vec::new();
    let mut add = |path: &Path, mode: u32, content: String| {
        files.push(NewFile {
            path: path.to_owned(),
            mode,
            content,
        });
    };
    if plan.server {
        let authority = if plan.authority {
            let made = authority::Authority::new(names, days)?;
            add(&paths.authority_key, SECRET, made.key_pem());
            add(&paths.authority, PUBLIC, made.pem().to_owned());
            made
        } else {
            authority::Authority::load(&paths.authority, &paths.authority_key)?
        };
        let server = authority.server(names, days)?;
        add(&paths.key, SECRET, server.key_pem);
        add(&paths.certificate, PUBLIC, server.certificate_pem);
    }
    if plan.config {
        let secret = secret::random_text()?;
        add(&paths.config, SECRET, template::fill(paths, &secret)?);
    }
    Ok(files)
}
