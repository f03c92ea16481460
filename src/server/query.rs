//! Query parameters, as old and new clients write them.

use serde::Deserialize;
use serde_json::json;

use super::error::ApiError;
use super::openapi::Parameter;
use crate::protocol::Refine;
use crate::protocol::delta::Compression;
use crate::protocol::digest::Algorithm;
use crate::snapshots::{Format, OnBaseLost, Question};

/// Ranges in a page, unless a request says otherwise.
const DEFAULT_LIMIT: usize = 100_000;
/// And at most: they are in memory.
const MAX_LIMIT: usize = 200_000;
/// Blocks that are digested are not smaller.
const MIN_BLOCK: u64 = 64 << 10;

/// Parameters of `GET …/snapshots/{snapshot}`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct SnapshotQuery {
    squash_chunks: Option<String>,
    chunks: Option<String>,
    compare_to: Option<String>,
    refine: Option<String>,
}

impl SnapshotQuery {
    /// Whether to join neighbouring chunks. True unless said otherwise, in any spelling.
    pub(super) fn squash(&self) -> Result<bool, ApiError> {
        boolean("squashChunks", self.squash_chunks.as_deref())
    }

    /// Whether the answer has chunks. Those of a disk in many pieces are most of an answer, and
    /// whoever streams it does not need them.
    pub(super) fn chunks(&self) -> Result<bool, ApiError> {
        let chunks = boolean("chunks", self.chunks.as_deref())?;
        if !chunks && self.compare_to.is_some() {
            return Err(ApiError::BadRequest(
                "chunks=false leaves out what compareTo asks for; leave one of them out".to_owned(),
            ));
        }
        Ok(chunks)
    }

    /// The base.
    pub(super) fn base(&self) -> Result<Option<&str>, ApiError> {
        base(self.compare_to.as_deref())
    }

    /// Whether to look at bytes.
    pub(super) fn refine(&self) -> Result<Refine, ApiError> {
        refine(self.refine.as_deref())
    }
}

/// An empty one is a slip (a variable that was not set), and must not be answered as if there were
/// none.
fn base(text: Option<&str>) -> Result<Option<&str>, ApiError> {
    match text {
        Some("") => Err(ApiError::BadRequest(
            "compareTo is empty; name a snapshot, or leave it out for the whole disk".to_owned(),
        )),
        base => Ok(base),
    }
}

fn refine(text: Option<&str>) -> Result<Refine, ApiError> {
    match text {
        None | Some("") => Ok(Refine::default()),
        Some(text) => {
            Refine::of_name(text).ok_or_else(|| unknown("refine", text, "none, auto or 4096"))
        }
    }
}

/// What is said of them.
pub(super) fn snapshot_parameters() -> Vec<Parameter> {
    let mut all = base_parameters();
    let squash = "Whether neighbouring chunks are joined; true unless said otherwise.";
    all.push(Parameter::query("squashChunks", squash, truth()));
    all.push(chunks_parameter());
    all
}

/// What is said of [`SnapshotQuery::chunks`].
pub(super) fn chunks_parameter() -> Parameter {
    let chunks = "Whether chunks are listed; not to be left out with compareTo.";
    Parameter::query("chunks", chunks, truth())
}

/// The same where a snapshot is changed.
pub(super) fn change_chunks_parameter() -> Parameter {
    let chunks = "Whether chunks are listed. They are read before anything is changed; without them \
                  no disk is opened, and a snapshot that cannot be read is changed too.";
    Parameter::query("chunks", chunks, truth())
}

/// What is compared, wherever something is.
pub(super) fn base_parameters() -> Vec<Parameter> {
    let id = json!({"type": "string", "format": "uuid"});
    vec![
        Parameter::query("compareTo", "An older snapshot of the same machine.", id),
        Parameter::word(
            "refine",
            "Whether bytes are compared inside what the maps name.",
            Refine::ALL.map(Refine::as_str),
        ),
    ]
}

/// Parameters of the reads below `…/disks/{disk}/`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct DiskQuery {
    compare_to: Option<String>,
    refine: Option<String>,
    on_base_lost: Option<String>,
    from: Option<String>,
    to: Option<String>,
    limit: Option<String>,
    compression: Option<String>,
    format: Option<String>,
    algorithm: Option<String>,
    block: Option<String>,
}

impl DiskQuery {
    /// What is compared to what, from where to where.
    pub(super) fn question(&self) -> Result<Question, ApiError> {
        Ok(Question {
            base: base(self.compare_to.as_deref())?.map(str::to_owned),
            refine: refine(self.refine.as_deref())?,
            on_base_lost: match self.on_base_lost.as_deref() {
                None | Some("" | "error") => OnBaseLost::Refuse,
                Some("full") => OnBaseLost::Full,
                Some(other) => return Err(unknown("onBaseLost", other, "error or full")),
            },
            from: number("from", self.from.as_deref())?.unwrap_or(0),
            to: number("to", self.to.as_deref())?,
        })
    }

    /// Ranges in a page.
    pub(super) fn limit(&self) -> Result<usize, ApiError> {
        let limit = number("limit", self.limit.as_deref())?;
        let limit = limit.map_or(Ok(DEFAULT_LIMIT), usize::try_from);
        match limit {
            Ok(limit @ 1..=MAX_LIMIT) => Ok(limit),
            _ => Err(ApiError::BadRequest(format!(
                "limit={} is out of bounds; use 1 to {MAX_LIMIT}",
                self.limit.as_deref().unwrap_or_default()
            ))),
        }
    }

    /// How a delta is written.
    pub(super) fn format(&self) -> Result<Format, ApiError> {
        let compression = match self.compression.as_deref() {
            None | Some("") => Compression::None,
            Some(text) => Compression::of_name(text)
                .ok_or_else(|| unknown("compression", text, "none, zstd, lz4 or auto"))?,
        };
        match self.format.as_deref() {
            None | Some("" | "native") => Ok(Format::Native(compression)),
            Some("rbd")
                if self.from.is_some() || self.to.is_some() || self.compression.is_some() =>
            {
                Err(ApiError::BadRequest(
                    "format=rbd takes neither from nor to nor compression: its streams have no \
                     place for them"
                        .to_owned(),
                ))
            }
            Some("rbd") => Ok(Format::Rbd),
            Some(other) => Err(unknown("format", other, "native or rbd")),
        }
    }

    /// How to digest.
    pub(super) fn algorithm(&self) -> Result<Algorithm, ApiError> {
        match self.algorithm.as_deref() {
            None | Some("") => Ok(Algorithm::default()),
            Some(text) => Algorithm::of_name(text)
                .ok_or_else(|| unknown("algorithm", text, "sha256, blake3 or xxh3")),
        }
    }

    /// Bytes in a block, where digests of blocks are asked for.
    pub(super) fn block(&self) -> Result<Option<u64>, ApiError> {
        match number("block", self.block.as_deref())? {
            Some(block) if block < MIN_BLOCK || block % 4096 != 0 => {
                Err(ApiError::BadRequest(format!(
                    "block={block} is not usable; use a multiple of 4096, at least {MIN_BLOCK}"
                )))
            }
            block => Ok(block),
        }
    }
}

/// What is said of a [`Question`].
pub(super) fn question_parameters() -> Vec<Parameter> {
    let mut all = base_parameters();
    all.extend([
        Parameter::word(
            "onBaseLost",
            "`full`: the whole disk, where the base is gone or changed.",
            ["error", "full"],
        ),
        Parameter::query("from", "Begins there, bytes.", offset()),
        Parameter::query("to", "Ends there, bytes.", offset()),
    ]);
    all
}

/// What is said of [`DiskQuery::limit`].
pub(super) fn limit_parameter() -> Parameter {
    let limit = json!({
        "type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": DEFAULT_LIMIT,
    });
    Parameter::query("limit", "Ranges in a page, at most.", limit)
}

/// What is said of [`DiskQuery::format`].
pub(super) fn format_parameters() -> Vec<Parameter> {
    vec![
        Parameter::word(
            "compression",
            "How the stream is packed.",
            Compression::ALL.map(Compression::as_str),
        ),
        Parameter::word(
            "format",
            "`rbd` takes neither from nor to nor compression.",
            ["native", "rbd"],
        ),
    ]
}

/// What is said of [`DiskQuery::algorithm`] and [`DiskQuery::block`].
pub(super) fn digest_parameters() -> Vec<Parameter> {
    let block = json!({"type": "integer", "minimum": MIN_BLOCK, "multipleOf": 4096});
    vec![
        Parameter::word("algorithm", "How to digest.", Algorithm::names()),
        Parameter::query("block", "Bytes in a block, for digests of each.", block),
    ]
}

fn offset() -> serde_json::Value {
    json!({"type": "integer", "minimum": 0})
}

/// Any usual spelling is taken; these are the ones to use.
fn truth() -> serde_json::Value {
    json!({"type": "boolean", "default": true})
}

fn unknown(name: &str, value: &str, known: &str) -> ApiError {
    ApiError::BadRequest(format!("{name}={value:?} is not known; use {known}"))
}

fn number(name: &str, text: Option<&str>) -> Result<Option<u64>, ApiError> {
    text.map(|text| {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse().ok().filter(|_| digits).ok_or_else(|| {
            ApiError::BadRequest(format!("{name}={text:?} is no number of bytes or ranges"))
        })
    })
    .transpose()
}

/// Parameters of `GET /snapshots`.
#[derive(Debug, Default, Deserialize)]
pub(super) struct SpaceQuery {
    space: Option<String>,
}

/// What is said of it.
pub(super) fn space_parameter() -> Parameter {
    let summary = "Whether to find out what each snapshot holds alone; takes longer.";
    Parameter::query("space", summary, truth())
}

impl SpaceQuery {
    /// Whether to find out what each snapshot holds alone. True unless said otherwise.
    pub(super) fn space(&self) -> Result<bool, ApiError> {
        boolean("space", self.space.as_deref())
    }
}

/// Parameters of `GET /events`.
#[derive(Debug, Default, Deserialize)]
pub(super) struct EventsQuery {
    follow: Option<String>,
}

impl EventsQuery {
    /// Whether to go on after what runs now. True unless said otherwise.
    pub(super) fn follow(&self) -> Result<bool, ApiError> {
        boolean("follow", self.follow.as_deref())
    }
}

/// What is said of it.
pub(super) fn follow_parameter() -> Parameter {
    let summary = "Whether to go on after what runs now.";
    Parameter::query("follow", summary, truth())
}

/// True where it is absent or empty.
fn boolean(name: &str, text: Option<&str>) -> Result<bool, ApiError> {
    let text = text.unwrap_or_default();
    match text.to_ascii_lowercase().as_str() {
        "" | "1" | "t" | "true" | "yes" | "y" | "on" => Ok(true),
        "0" | "f" | "false" | "no" | "n" | "off" => Ok(false),
        _ => Err(ApiError::BadRequest(format!(
            "{name}={text:?} is no boolean; use true or false"
        ))),
    }
}
