//! What is measured, in groups that share their disks.

mod blocks;
mod clones;
mod compression;
mod create;
mod growth;
mod https;
mod incremental;
mod lists;
mod maps;
mod sides;
mod streams;

use anyhow::bail;

use crate::arguments::Wish;
use crate::bench::Bench;
use crate::report::Figure;
use crate::sizes::Sizes;

/// Figures that are measured on the same disks.
pub struct Group {
    /// What it is about.
    pub what: &'static str,
    /// Their names.
    pub names: &'static [&'static str],
    /// Bytes on disk that it takes.
    pub space: fn(&Sizes) -> u64,
    /// Measures those that are wanted; more does no harm.
    pub measure: fn(&Bench) -> anyhow::Result<Vec<Figure>>,
}

/// All, in the order of the report.
const GROUPS: &[Group] = &[
    https::GROUP,
    blocks::GROUP,
    compression::GROUP,
    maps::GROUP,
    incremental::GROUP,
    create::GROUP,
    streams::GROUP,
    lists::GROUP,
];

/// The groups in which there is a figure that is asked for.
pub fn wanted(wish: &Wish) -> anyhow::Result<Vec<&'static Group>> {
    let all = || GROUPS.iter().flat_map(|group| group.names);
    for name in &wish.names {
        if !all().any(|known| known == name) {
            let known: Vec<&str> = all().copied().collect();
            bail!("there is no figure {name}; there are {}", known.join(", "));
        }
    }
    let wanted = |group: &&Group| group.names.iter().any(|name| wish.wants(name));
    Ok(GROUPS.iter().filter(wanted).collect())
}
