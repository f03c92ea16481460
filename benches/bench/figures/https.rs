//! A whole cached disk over HTTPS, one connection: against nginx, with the library's client and
//! with curl; as a delta; and beside what else moves disks.

use super::Group;
use super::sides::{ratios, told};
use crate::bench::Bench;
use crate::disks;
use crate::memory::mebibytes;
use crate::pairs::alternated;
use crate::peers::nbd::Nbdkit;
use crate::peers::nginx::Nginx;
use crate::peers::openssl;
use crate::report::{Bar, Figure, median};
use crate::stage::{Ground, Stage, clone_of};
use crate::transfer::{Source, Transfer};

pub const GROUP: Group = Group {
    what: "a whole disk over HTTPS",
    names: &[
        "https_vs_nginx_throughput",
        "https_vs_nginx_server_cpu",
        "https_curl_vs_nginx_throughput",
        "https_curl_vs_nginx_server_cpu",
        "delta_vs_get_throughput",
        "client_cpu_vs_curl",
        "page_cache_left",
        "https_vs_nginx_throughput_loopback",
        "https_server_cpu",
        "https_client_cpu",
        "https_vs_nbdkit_throughput",
        "https_vs_cipher",
    ],
    space: |sizes| sizes.disk,
    measure,
};

/// From both servers, with both clients.
const BOTH_CLIENTS: [&str; 7] = [
    "https_vs_nginx_throughput",
    "https_vs_nginx_server_cpu",
    "https_server_cpu",
    "https_client_cpu",
    "https_curl_vs_nginx_throughput",
    "https_curl_vs_nginx_server_cpu",
    "client_cpu_vs_curl",
];

/// The disk at both servers.
struct Scene<'b> {
    bench: &'b Bench,
    stage: &'b Stage,
    ours: Source,
    theirs: Source,
}

fn measure(bench: &Bench) -> anyhow::Result<Vec<Figure>> {
    let ground = Ground::lay(bench.sizes.disk, &[bench.sizes.disk])?;
    disks::fill(ground.disk(0), 1)?;
    let stage = ground.start(bench)?;
    let snapshot = stage.snapshot(bench, 0)?;
    let file = clone_of(&snapshot)?;
    let ours = Source::of(&stage, &snapshot)?;
    let mut figures = Vec::new();
    let wants = |names: &[&str]| names.iter().any(|name| bench.wants(name));
    // Before anything else brings it there.
    if wants(&["page_cache_left"]) {
        figures.push(page_cache_left(&ours, file)?);
    }
    disks::cache(file)?;
    let nginx = Nginx::serve(&stage, &ours.path(), file)?;
    let scene = Scene {
        bench,
        stage: &stage,
        theirs: ours.at(nginx.endpoint(), nginx.process()?),
        ours,
    };
    if wants(&BOTH_CLIENTS) {
        figures.extend(scene.both_clients()?);
    }
    if wants(&["delta_vs_get_throughput"]) {
        figures.push(scene.delta()?);
    }
    if wants(&["https_vs_nginx_throughput_loopback"]) {
        figures.push(scene.loopback()?);
    }
    if wants(&["https_vs_nbdkit_throughput"]) {
        let nbdkit = Nbdkit::serve(&stage, file)?;
        figures.push(scene.nbdkit(&nbdkit)?);
    }
    if wants(&["https_vs_cipher"]) {
        figures.push(scene.cipher()?);
    }
    Ok(figures)
}

impl Scene<'_> {
    fn pairs<A, B>(
        &self,
        one: impl FnMut() -> anyhow::Result<A>,
        other: impl FnMut() -> anyhow::Result<B>,
    ) -> anyhow::Result<Vec<(A, B)>> {
        alternated(self.bench.sizes.pairs, one, other)
    }

    fn both_clients(&self) -> anyhow::Result<Vec<Figure>> {
        let (mut own, mut curl, mut clients) = (Vec::new(), Vec::new(), Vec::new());
        for at in 0..self.bench.sizes.pairs {
            let mut sides: [Option<Transfer>; 4] = [None; 4];
            // Which one begins changes from round to round.
            for turn in 0..sides.len() {
                let side = (at + turn) % sides.len();
                sides[side] = Some(match side {
                    0 => self.ours.read()?,
                    1 => self.theirs.read()?,
                    2 => self.ours.curl(self.stage)?,
                    _ => self.theirs.curl(self.stage)?,
                });
            }
            if let [
                Some(ours),
                Some(theirs),
                Some(ours_by_curl),
                Some(theirs_by_curl),
            ] = sides
            {
                own.push((ours, theirs));
                curl.push((ours_by_curl, theirs_by_curl));
                clients.push((ours, ours_by_curl));
            }
        }
        let side = |what: fn(&Transfer) -> f64| -> Vec<f64> {
            own.iter().map(|(ours, _)| what(ours)).collect()
        };
        Ok(vec![
            Figure::of(
                "https_vs_nginx_throughput",
                "×",
                Bar::AtLeast(2.5),
                &ratios(&own, Transfer::rate),
                told("MB/s", &own, Transfer::rate),
            ),
            Figure::of(
                "https_vs_nginx_server_cpu",
                "×",
                Bar::AtMost(0.4),
                &ratios(&own, Transfer::server_per_gib),
                told("s/GiB", &own, Transfer::server_per_gib),
            ),
            Figure::of(
                "https_server_cpu",
                "s/GiB",
                None,
                &side(Transfer::server_per_gib),
                "the daemon's CPU for the library's client",
            ),
            Figure::of(
                "https_client_cpu",
                "s/GiB",
                None,
                &side(Transfer::client_per_gib),
                "the library's client, which throws the bytes away",
            ),
            Figure::of(
                "https_curl_vs_nginx_throughput",
                "×",
                Bar::AtLeast(0.95),
                &ratios(&curl, Transfer::rate),
                told("MB/s", &curl, Transfer::rate),
            ),
            Figure::of(
                "https_curl_vs_nginx_server_cpu",
                "×",
                Bar::AtMost(0.55),
                &ratios(&curl, Transfer::server_per_gib),
                told("s/GiB", &curl, Transfer::server_per_gib),
            ),
            Figure::of(
                "client_cpu_vs_curl",
                "×",
                Bar::AtMost(0.5),
                &ratios(&clients, Transfer::client_per_gib),
                told("s/GiB", &clients, Transfer::client_per_gib),
            ),
        ])
    }

    fn delta(&self) -> anyhow::Result<Figure> {
        let delta = self.ours.as_delta();
        let pairs = self.pairs(|| delta.read(), || self.ours.read())?;
        let note = format!(
            "{}; server {}; client {}",
            told("MB/s", &pairs, Transfer::rate),
            told("s/GiB", &pairs, Transfer::server_per_gib),
            told("s/GiB", &pairs, Transfer::client_per_gib),
        );
        Ok(Figure::of(
            "delta_vs_get_throughput",
            "×",
            Bar::AtLeast(0.8),
            &ratios(&pairs, Transfer::rate),
            note,
        ))
    }

    /// The same as the first, with the congestion control that the machine itself uses.
    fn loopback(&self) -> anyhow::Result<Figure> {
        let network = &self.bench.network;
        network.control(&network.usual)?;
        let pairs = self.pairs(|| self.ours.read(), || self.theirs.read());
        network.control("reno")?;
        let pairs = pairs?;
        let told = told("MB/s", &pairs, Transfer::rate);
        Ok(Figure::of(
            "https_vs_nginx_throughput_loopback",
            "×",
            None,
            &ratios(&pairs, Transfer::rate),
            format!("with {}: {told}", network.usual),
        ))
    }

    fn nbdkit(&self, nbdkit: &Nbdkit) -> anyhow::Result<Figure> {
        let pairs = self.pairs(|| self.ours.read(), || nbdkit.read(4))?;
        let note = format!(
            "{}; server {}; nbdcopy has 4 connections, we have one",
            told("MB/s", &pairs, Transfer::rate),
            told("s/GiB", &pairs, Transfer::server_per_gib),
        );
        Ok(Figure::of(
            "https_vs_nbdkit_throughput",
            "×",
            None,
            &ratios(&pairs, Transfer::rate),
            note,
        ))
    }

    fn cipher(&self) -> anyhow::Result<Figure> {
        let seconds = if self.bench.wish.short { 1 } else { 3 };
        let cipher = || openssl::cipher_speed(seconds);
        let pairs = self.pairs(|| self.ours.read(), cipher)?;
        let ratios: Vec<f64> = pairs
            .iter()
            .map(|(ours, cipher)| ours.rate() * 1e6 / cipher)
            .collect();
        let cipher: Vec<f64> = pairs.iter().map(|(_, cipher)| cipher / 1e6).collect();
        let note = format!(
            "of the {:.0} MB/s that openssl speed says of AES-128-GCM",
            median(&cipher)
        );
        Ok(Figure::of("https_vs_cipher", "×", None, &ratios, note))
    }
}

fn page_cache_left(ours: &Source, file: &std::path::Path) -> anyhow::Result<Figure> {
    let before = disks::cached(file)?;
    anyhow::ensure!(
        before == 0,
        "{before} bytes of {} are in the page cache before anything is read",
        file.display()
    );
    let mut left = Vec::new();
    for source in [ours.clone(), ours.as_delta()] {
        source.read()?;
        left.push(mebibytes(disks::cached(file)?));
    }
    let most = left.iter().copied().fold(0.0, f64::max);
    let note = format!(
        "of {:.0} MiB; after a GET {:.1}, after a delta as well {:.1}",
        mebibytes(file.metadata()?.len()),
        left[0],
        left[1]
    );
    Ok(Figure::of(
        "page_cache_left",
        "MiB",
        Bar::AtMost(0.0),
        &[most],
        note,
    ))
}
