//! The inner part: measures, and reports.

use std::fs;
use std::path::Path;
use std::time::Instant;

use anyhow::Context as _;
use jiff::Timestamp;

use crate::arguments::Wish;
use crate::bench::Bench;
use crate::report::{Figure, Report, table};
use crate::{figures, machine};

pub fn run(wish: &Wish) -> anyhow::Result<()> {
    let before = machine::load();
    let bench = Bench::prepare(wish)?;
    let (mut found, mut broken) = (Vec::new(), Vec::new());
    for group in figures::wanted(wish)? {
        let begun = Instant::now();
        eprintln!("{} …", group.what);
        // What the others have found is not lost with one of them.
        let mut figures = (group.measure)(&bench).unwrap_or_else(|error| {
            broken.push(group.what);
            let missing = |name: &&'static str| Figure::missing(name, format!("failed: {error:#}"));
            group.names.iter().map(missing).collect()
        });
        figures.retain(|figure| wish.wants(figure.name));
        if let Some(lost) = group
            .names
            .iter()
            .find(|name| wish.wants(name) && !figures.iter().any(|figure| figure.name == **name))
        {
            figures.push(Figure::missing(lost, "it was asked for and did not come"));
            broken.push(group.what);
        }
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
    publish(wish, &report)?;
    let missed = report.figures.iter().filter(|figure| !figure.ok);
    let missed: Vec<&str> = missed.map(|figure| figure.name).collect();
    anyhow::ensure!(
        broken.is_empty(),
        "could not be measured: {}",
        broken.join(", ")
    );
    // What is tiny tells whether everything works, not how fast it is.
    anyhow::ensure!(
        wish.short || missed.is_empty(),
        "what it has to reach was missed: {}",
        missed.join(", ")
    );
    Ok(())
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
