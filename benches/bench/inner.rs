//! The inner part: measures, and reports.

use std::fs;
use std::path::Path;
use std::time::Instant;

use anyhow::Context as _;
use jiff::Timestamp;

use crate::arguments::Wish;
use crate::bench::Bench;
use crate::report::{Report, table};
use crate::{figures, machine};

pub fn run(wish: &Wish) -> anyhow::Result<()> {
    let before = machine::load();
    let bench = Bench::prepare(wish)?;
    let mut found = Vec::new();
    for group in figures::wanted(wish)? {
        let begun = Instant::now();
        eprintln!("{} …", group.what);
        let mut figures = (group.measure)(&bench).with_context(|| group.what.to_owned())?;
        figures.retain(|figure| wish.wants(figure.name));
        figures.sort_by_key(|figure| group.names.iter().position(|name| *name == figure.name));
        // All of it comes again at the end, which may be far.
        eprintln!("{}", table(&figures));
        eprintln!("{}: {:.0} s", group.what, begun.elapsed().as_secs_f64());
        found.append(&mut figures);
    }
    let report = Report {
        machine: machine::description(),
        date: Timestamp::now().strftime("%Y-%m-%d %H:%M UTC").to_string(),
        load: format!("{before} before, {} after", machine::load()),
        figures: found,
    };
    publish(wish, &report)
}

fn publish(wish: &Wish, report: &Report) -> anyhow::Result<()> {
    fs::create_dir_all(&wish.out)?;
    println!("{}", report.table());
    let mut files = vec![
        (wish.out.join("report.json"), report.json()?),
        (wish.out.join("performance.svg"), report.picture()),
    ];
    // The one that people see is of a whole run.
    if !wish.short && wish.names.is_empty() {
        let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
        files.push((docs.join("performance.svg"), report.picture()));
    }
    for (path, text) in files {
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        println!("{}", path.display());
    }
    Ok(())
}
