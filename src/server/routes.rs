//! The whole interface as a table: the first generation's routes, and ours.

use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse as _, Response};
use serde_json::json;

use super::openapi::{Answer, Header, Operation, Parameter, RETRY_AFTER};
use super::route::Route;
use super::state::Shared;
use super::{
    activity, all_snapshots, delta, digests, disks, health, login, metrics, node, query, ranges,
};
use super::{report, snapshots, vms};
use crate::protocol;
use crate::protocol::delta::CONTENT_TYPE as DELTA;

/// What anything that looks at files may be answered.
const NODE_FAILURES: [u16; 2] = [500, 503];

const BYTES: &str = "application/octet-stream";

/// Headers of a disk's bytes.
const DISK: [Header; 3] = [
    Header::new("Accept-Ranges", "`bytes`."),
    Header::new("ETag", "Of these very bytes: a snapshot never changes."),
    Header::new("Last-Modified", "When the snapshot was taken."),
];

const LATER: [Header; 1] = [RETRY_AFTER];

/// Every route.
pub(super) fn all() -> Vec<Route> {
    let mut routes = open();
    routes.extend(node_and_machines());
    routes.extend(snapshots_of_a_machine());
    routes.extend(disk());
    routes
}

fn open() -> Vec<Route> {
    let healthy = || Answer::json::<protocol::Health>(200, "Yes.");
    let not_now = Answer::json::<protocol::Health>(503, "Not now.").with(&LATER);
    vec![
        Route::open("/health/live").get(
            health::live,
            Operation::new("live", "Whether the process answers.").answers(healthy()),
        ),
        Route::open("/health/ready").get(
            health::ready,
            Operation::new("ready", "Whether it is worth asking.")
                .answers(healthy())
                .answers(not_now),
        ),
        Route::figures("/metrics").get(
            metrics::show,
            Operation::new("metrics", "Figures for Prometheus.")
                .answers(Answer::of(
                    200,
                    "The text format of OpenMetrics.",
                    &["application/openmetrics-text"],
                ))
                .fails(&[500]),
        ),
        Route::open("/api/v1/openapi.json").get(
            document,
            Operation::new("openApi", "This document.").answers(Answer::of(
                200,
                "OpenAPI 3.1.",
                &["application/json"],
            )),
        ),
        Route::open("/api/v1/auth/login").post(
            login::login,
            Operation::new("login", "Checks a user of the Oracle VM Manager.")
                .body::<protocol::LoginRequest>()
                .answers(Answer::json::<protocol::LoginResponse>(200, "A token."))
                .fails(&[401, 429, 500, 502]),
        ),
    ]
}

fn node_and_machines() -> Vec<Route> {
    vec![
        Route::protected("/api/v1/events").get(
            activity::events::stream,
            Operation::new("watch", "What runs now, and what becomes of it.")
                .takes([query::follow_parameter()])
                .answers(Answer::of(
                    200,
                    "Server-sent events: `running` for each Operation that runs, `current` with their \
                     number, then `running`, `progress` and `ended`, and `missed` with a number.",
                    &["text/event-stream"],
                ))
                .fails(&[503]),
        ),
        Route::protected("/api/v1/node").get(
            node::show,
            Operation::new("showNode", "This node, its repositories, what is wrong.")
                .answers(Answer::json::<protocol::Node>(200, "The node."))
                .fails(&NODE_FAILURES),
        ),
        Route::protected("/api/v1/snapshots").get(
            all_snapshots::list,
            Operation::new("listAllSnapshots", "Those of all machines, in any state.")
                .takes([query::space_parameter()])
                .answers(Answer::json::<Vec<protocol::SnapshotEntry>>(
                    200,
                    "Oldest first.",
                ))
                .fails(&NODE_FAILURES),
        ),
        Route::protected("/api/v1/vms").get(
            vms::list,
            Operation::new("listVms", "Machines with their disks.")
                .answers(Answer::json::<Vec<protocol::Vm>>(200, "All machines."))
                .fails(&NODE_FAILURES),
        ),
        Route::protected("/api/v1/vms/{vm}").get(
            vms::show,
            Operation::new("showVm", "A machine with its disks.")
                .answers(Answer::json::<protocol::Vm>(200, "The machine."))
                .fails(&NODE_FAILURES)
                .fails(&[404]),
        ),
        Route::protected("/api/v1/vms/{vm}/report").get(
            report::show,
            Operation::new("showReport", "What a machine's disks hold, read from a snapshot.")
                .takes([Parameter::query(
                    "snapshot",
                    "The latest one, unless this names another.",
                    json!({"type": "string", "format": "uuid"}),
                )])
                .answers(Answer::json::<protocol::VmReport>(200, "The report."))
                .fails(&NODE_FAILURES)
                .fails(&[404, 409]),
        ),
    ]
}

fn snapshots_of_a_machine() -> Vec<Route> {
    let list = "/api/v1/vms/{vm}/snapshots";
    let deleted = || Answer::empty(200, "Gone, now or before.");
    let snapshot = |summary| Answer::json::<protocol::Snapshot>(200, summary);
    vec![
        Route::protected(list)
            .get(
                snapshots::list,
                Operation::new("listSnapshots", "The snapshots that can be used.")
                    .takes([query::chunks_parameter()])
                    .answers(Answer::json::<Vec<protocol::Snapshot>>(
                        200,
                        "Oldest first.",
                    ))
                    .fails(&NODE_FAILURES)
                    .fails(&[404]),
            )
            .post(
                snapshots::create,
                Operation::new("createSnapshot", "Takes a snapshot of all disks.")
                    .takes([query::chunks_parameter()])
                    .body_if_any::<protocol::SnapshotRequest>()
                    .answers(snapshot("The snapshot."))
                    .fails(&NODE_FAILURES)
                    .fails(&[404, 409, 507])
                    .leads_to(&[
                        "showSnapshot",
                        "changeSnapshot",
                        "deleteSnapshot",
                        "readDisk",
                        "listRanges",
                        "streamDelta",
                        "showDigests",
                    ]),
            )
            .delete(
                snapshots::delete_all,
                Operation::new("deleteSnapshots", "Deletes all of the machine's snapshots.")
                    .answers(deleted())
                    .fails(&NODE_FAILURES)
                    .fails(&[404, 409, 507]),
            ),
        Route::protected(format!("{list}/{{snapshot}}"))
            .get(
                snapshots::show,
                Operation::new(
                    "showSnapshot",
                    "The data of each disk, or what changed since an older snapshot.",
                )
                .takes(query::snapshot_parameters())
                .answers(snapshot("The snapshot with its chunks."))
                .fails(&NODE_FAILURES)
                .fails(&[404, 409]),
            )
            .patch(
                snapshots::change,
                Operation::new("changeSnapshot", "Changes label and term.")
                    .takes([query::change_chunks_parameter()])
                    .body_if_any::<protocol::SnapshotChange>()
                    .answers(snapshot("The snapshot."))
                    .fails(&NODE_FAILURES)
                    .fails(&[404, 409, 507]),
            )
            .delete(
                snapshots::delete,
                Operation::new("deleteSnapshot", "Deletes a snapshot.")
                    .answers(deleted())
                    .fails(&NODE_FAILURES)
                    .fails(&[404, 409, 507]),
            ),
    ]
}

fn disk() -> Vec<Route> {
    let disk = "/api/v1/vms/{vm}/snapshots/{snapshot}/disks/{disk}";
    let part = Answer::of(206, "Ranges of them.", &[BYTES, "multipart/byteranges"]);
    vec![
        Route::protected(disk).get(
            disks::read,
            Operation::new("readDisk", "The disk's bytes.")
                .takes([
                    Parameter::header("Range", "`bytes=a-b`, also several."),
                    Parameter::header("If-Range", "The ETag for which the range is meant."),
                    Parameter::header("If-None-Match", "An ETag that is known."),
                ])
                .answers(Answer::of(200, "All bytes.", &[BYTES]).with(&DISK))
                .answers(part.with(&DISK))
                .answers(Answer::empty(304, "The ETag is known.").with(&DISK))
                .fails(&NODE_FAILURES)
                .fails(&[404, 409, 416]),
        ),
        Route::protected(format!("{disk}/ranges")).get(
            ranges::list,
            Operation::new("listRanges", "What a replica must write, page by page.")
                .takes(query::question_parameters())
                .takes([query::limit_parameter()])
                .answers(Answer::json::<protocol::RangePage>(200, "A page."))
                .fails(&NODE_FAILURES)
                .fails(&[404, 409]),
        ),
        Route::protected(format!("{disk}/delta")).get(
            delta::stream,
            Operation::new("streamDelta", "The same with every byte, in one stream.")
                .takes(query::question_parameters())
                .takes(query::format_parameters())
                .answers(Answer::of(
                    200,
                    "The stream: docs/delta-stream.md, or Ceph's rbd diff v1.",
                    &[DELTA, BYTES],
                ))
                .fails(&NODE_FAILURES)
                .fails(&[404, 409]),
        ),
        Route::protected(format!("{disk}/digests")).get(
            digests::show,
            Operation::new("showDigests", "Digests of the disk and of its blocks.")
                .takes(query::base_parameters())
                .takes(query::digest_parameters())
                .answers(Answer::json::<protocol::DiskDigests>(200, "The digests."))
                .fails(&NODE_FAILURES)
                .fails(&[404, 409]),
        ),
    ]
}

/// `GET /api/v1/openapi.json`. Made once: nobody needs a token for it.
async fn document(State(app): State<Shared>) -> Response {
    let made = app.openapi.get_or_init(|| super::openapi_document().into());
    let mut response = made.clone().into_response();
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    response
}
