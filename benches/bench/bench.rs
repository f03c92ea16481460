//! What every measurement needs.

use std::path::{Path, PathBuf};

use tokio::runtime::Runtime;

use crate::arguments::Wish;
use crate::figures::Group;
use crate::network::Network;
use crate::sizes::Sizes;

/// Room for the daemon's index, certificates, and what file systems take for themselves.
const OVERHEAD: u64 = 1 << 30;

pub struct Bench {
    pub wish: Wish,
    pub sizes: Sizes,
    pub network: Network,
    /// For the stand-in manager, which answers while this thread waits.
    pub runtime: Runtime,
}

impl Bench {
    pub fn prepare(wish: &Wish) -> anyhow::Result<Bench> {
        Ok(Bench {
            wish: wish.clone(),
            sizes: Bench::sizes(wish),
            network: Network::bring_up()?,
            runtime: Runtime::new()?,
        })
    }

    fn sizes(wish: &Wish) -> Sizes {
        if wish.short {
            Sizes::short()
        } else {
            Sizes::full()
        }
    }

    /// Bytes on disk that these groups take: each gives back what it took.
    pub fn space(wish: &Wish, groups: &[&Group]) -> u64 {
        let sizes = Bench::sizes(wish);
        let most = groups.iter().map(|group| (group.space)(&sizes)).max();
        most.unwrap_or(0) + if wish.short { OVERHEAD / 4 } else { OVERHEAD }
    }

    /// Bytes of memory that have to be there: the largest disk is read from the page cache.
    pub fn memory(wish: &Wish) -> u64 {
        Bench::sizes(wish).disk * 5 / 4 + OVERHEAD / 2
    }

    /// Whether a figure is asked for.
    pub fn wants(&self, name: &str) -> bool {
        self.wish.wants(name)
    }

    /// Where files may be made.
    pub fn folder(&self) -> PathBuf {
        std::env::temp_dir()
    }

    pub fn block_on<T>(&self, what: impl Future<Output = T>) -> T {
        self.runtime.block_on(what)
    }
}

/// The daemon's program.
pub fn daemon() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_coriolis-ovm-exporter"))
}

/// The command's program.
pub fn command() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_ovm-exporter"))
}
