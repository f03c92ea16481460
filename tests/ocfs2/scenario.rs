//! What is run, on which file systems.

use anyhow::Context as _;

use crate::brief::Brief;
use crate::guest;
use crate::host::{self, Lab};

/// An OCFS2 that the host makes before the machine starts.
#[derive(Debug, Clone, Copy)]
pub struct Image {
    /// Bytes.
    pub cluster: u64,
    /// Bytes; the image is sparse.
    pub size: u64,
    /// For `mkfs.ocfs2 --fs-features`.
    pub features: Option<&'static str>,
    /// How many may mount it at the same time; with 1 there is no cluster around.
    pub nodes: u8,
}

pub struct Scenario {
    pub name: &'static str,
    pub images: &'static [Image],
    /// What the host does; [`host::boot_once`] boots the machine and waits for its end.
    pub drive: fn(&Lab, &Scenario) -> anyhow::Result<()>,
    /// What runs in the machine. Fails by panicking.
    pub run: fn(&Brief),
}

impl Scenario {
    /// Whether a node of a pool dies in it.
    pub fn is_deadly(&self) -> bool {
        ["killed", "frozen"].contains(&self.name)
    }
}

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;

/// Both ends of what `mkfs.ocfs2` offers; OVM's large repositories have clusters of 1 MiB.
const fn both(size: u64) -> [Image; 2] {
    [of(4 * KIB, size), of(MIB, size)]
}

const fn of(cluster: u64, size: u64) -> Image {
    Image {
        cluster,
        size,
        features: None,
        nodes: 1,
    }
}

pub const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "facts",
        images: &both(2048 * MIB),
        drive: host::boot_once,
        run: guest::facts::run,
    },
    Scenario {
        name: "lifecycle",
        images: &both(512 * MIB),
        drive: host::boot_once,
        run: guest::lifecycle::run,
    },
    Scenario {
        name: "differential",
        images: &both(1024 * MIB),
        drive: host::boot_once,
        run: guest::differential::run,
    },
    Scenario {
        name: "exactness",
        images: &both(4096 * MIB),
        drive: host::boot_once,
        run: guest::exactness::run,
    },
    Scenario {
        name: "refusals",
        images: &[
            of(4 * KIB, 64 * MIB),
            of(MIB, 128 * MIB),
            Image {
                cluster: 4 * KIB,
                size: 64 * MIB,
                features: Some("norefcount"),
                nodes: 1,
            },
        ],
        drive: host::boot_once,
        run: guest::refusals::run,
    },
    Scenario {
        name: "past-the-end",
        images: &[
            of(4 * KIB, 256 * MIB),
            of(MIB, 256 * MIB),
            // For the harm itself.
            of(4 * KIB, 64 * MIB),
        ],
        drive: host::past_end::drive,
        run: guest::past_end::run,
    },
    Scenario {
        name: "floor",
        images: &[
            of(4 * KIB, 512 * MIB),
            of(MIB, 512 * MIB),
            of(4 * KIB, 512 * MIB),
            of(MIB, 512 * MIB),
        ],
        drive: host::floor::drive,
        run: guest::floor::run,
    },
    Scenario {
        name: "served",
        images: &both(1024 * MIB),
        drive: host::served::drive,
        run: guest::node::run,
    },
    Scenario {
        name: "power",
        images: &both(256 * MIB),
        drive: host::power::drive,
        run: guest::power::run,
    },
    Scenario {
        name: "lost-writes",
        images: &both(256 * MIB),
        drive: host::lost_writes::drive,
        run: guest::power::run,
    },
    Scenario {
        name: "sick",
        images: &both(256 * MIB),
        drive: host::boot_with_mapper,
        run: guest::sick::run,
    },
];

/// A disk of a pool.
const SHARED: &[Image] = &[Image {
    cluster: 4 * KIB,
    size: 1024 * MIB,
    features: None,
    nodes: 4,
}];

/// What all of [`CLUSTER`] is called.
pub const CLUSTER_GROUP: &str = "cluster";

/// Those of several machines on one disk, which take longer.
pub const CLUSTER: &[Scenario] = &[
    Scenario {
        name: "views",
        images: SHARED,
        drive: host::cluster::views::drive,
        run: guest::node::run,
    },
    Scenario {
        name: "races",
        images: SHARED,
        drive: host::cluster::races::drive,
        run: guest::node::run,
    },
    Scenario {
        name: "killed",
        images: SHARED,
        drive: host::cluster::killed::drive,
        run: guest::node::run,
    },
    Scenario {
        name: "frozen",
        images: SHARED,
        drive: host::cluster::frozen::drive,
        run: guest::node::run,
    },
];

pub fn named(name: &str) -> anyhow::Result<&'static Scenario> {
    let all = || SCENARIOS.iter().chain(CLUSTER);
    all()
        .find(|scenario| scenario.name == name)
        .with_context(|| {
            let known: Vec<&str> = all().map(|scenario| scenario.name).collect();
            format!(
                "no scenario {name:?}; there are {}, and {CLUSTER_GROUP} for the last {}",
                known.join(", "),
                CLUSTER.len()
            )
        })
}
