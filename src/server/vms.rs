//! `/api/v1/vms`.

use std::collections::HashMap;

use axum::Json;
use axum::extract::State;
use uuid::Uuid;

use super::error::ApiError;
use super::extract::Ids;
use super::present;
use super::state::{Shared, in_turn};
use crate::ovm::domains::Domains;
use crate::ovm::inventory::Vm;
use crate::ovm::repository::Repository;
use crate::protocol;
use crate::snapshots::Standing;

/// `GET /api/v1/vms`.
pub(super) async fn list(State(app): State<Shared>) -> Result<Json<Vec<protocol::Vm>>, ApiError> {
    let domains = app.toolstack.domains().await;
    in_turn(app.snapshots.turn(), move |_| {
        let (repositories, _) = app.files.look_at_repositories();
        let snapshots = usable_snapshots(&app, &repositories, None)?;
        let vms = app.files.inventory(&repositories).vms;
        Ok::<_, ApiError>(Json(
            vms.iter()
                .map(|vm| describe(&app, vm, &repositories, &snapshots, &domains))
                .collect(),
        ))
    })
    .await
}

/// `GET /api/v1/vms/{vm}`.
pub(super) async fn show(
    State(app): State<Shared>,
    Ids(name): Ids<String>,
) -> Result<Json<protocol::Vm>, ApiError> {
    let domains = app.toolstack.domains().await;
    in_turn(app.snapshots.turn(), move |_| {
        let (repositories, _) = app.files.look_at_repositories();
        let inventory = app.files.inventory(&repositories);
        let vm = inventory.find(&name).ok_or_else(|| unknown(&name))?;
        let snapshots = usable_snapshots(&app, &repositories, Some(&vm.id))?;
        Ok::<_, ApiError>(Json(describe(
            &app,
            vm,
            &repositories,
            &snapshots,
            &domains,
        )))
    })
    .await
}

/// 404 for a machine that no mounted repository has.
pub(super) fn unknown(name: &str) -> ApiError {
    ApiError::NotFound(format!(
        "no virtual machine {name:?}, or no single one of that name, in the repositories that \
         are mounted on this node (GET /api/v1/node lists them)"
    ))
}

/// The ids of the snapshots that can be used now, by machine, oldest first.
fn usable_snapshots(
    app: &Shared,
    repositories: &[Repository],
    vm_id: Option<&str>,
) -> Result<HashMap<String, Vec<Uuid>>, ApiError> {
    let mut by_vm: HashMap<String, Vec<Uuid>> = HashMap::new();
    for snapshot in app.snapshots.all_in(repositories, vm_id)? {
        if snapshot.standing == Standing::Ready {
            let id = snapshot.id();
            by_vm.entry(snapshot.manifest.vm_id).or_default().push(id);
        }
    }
    Ok(by_vm)
}

fn describe(
    app: &Shared,
    vm: &Vm,
    repositories: &[Repository],
    snapshots: &HashMap<String, Vec<Uuid>>,
    domains: &Domains,
) -> protocol::Vm {
    let verdicts = vm
        .config
        .as_ref()
        .map(|config| app.snapshots.judge(config, repositories))
        .unwrap_or_default();
    let shared = repositories
        .iter()
        .find(|repository| repository.id == vm.repository)
        .and_then(Repository::status)
        .is_some_and(|status| status.kind.is_shared());
    let compatible = app.snapshots.is_compatible(vm, &verdicts);
    let own = snapshots.get(&vm.id).cloned().unwrap_or_default();
    present::vm(vm, verdicts, compatible, own, domains, shared)
}
