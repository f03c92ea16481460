//! Connections that break in the middle are taken up again from where they broke.

use super::command::{Desk, Ran};
use super::download::assert_holds;
use super::middle::{Cut, Middle};

#[tokio::test(flavor = "multi_thread")]
async fn a_download_goes_on_where_its_connection_broke() {
    let mut desk = Desk::set().await;
    // Enough that every cut is in the middle.
    for _ in 0..20 {
        desk.scribble();
    }
    let snapshot = desk.snapshot();
    let middle = Middle::of(desk.node.address(), Cut::Broken { times: 3 }).await;
    let folder = tempfile::tempdir().unwrap();
    let mut command = desk.command_at(&middle.endpoint());
    command.args(["snapshot", "download", &snapshot, "--out-dir"]);
    command.arg(folder.path());
    let output = tokio::task::spawn_blocking(move || command.output().unwrap())
        .await
        .unwrap();
    let ran = Ran::of(output);
    assert!(middle.cuts() >= 3, "{ran:?}");
    assert_eq!(ran.stderr.matches("again in").count(), 3, "{ran:?}");
    ran.done();
    assert_holds(&desk, &snapshot, folder.path());
}
