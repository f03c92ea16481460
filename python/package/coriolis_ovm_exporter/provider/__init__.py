"""What Coriolis loads to replicate machines from Oracle VM: ``ExportProvider``.

Coriolis itself is imported only where it is installed. ``docs/coriolis.md`` says how it is set up.
"""

import logging
import re
from typing import Any, Dict, List, Mapping, Optional

from .. import arguments
from ..shapes import Json
from . import inventory, ledger, nodes, schemas
from .coriolis_side import (
    ProviderError,
    bases,
    events_of,
    https_writer,
    open_writer,
    told_by_provider,
)
from .patience import patiently
from .transfer import Bars, Transfer

__all__ = ["ExportProvider", "ProviderError"]

_LOG = logging.getLogger(__name__)


class ExportProvider(*bases()):  # type: ignore[misc]
    """An export provider of Coriolis's, for Oracle VM.

    Its bases are Coriolis's, where that is installed: its factory looks at them.
    """

    #: What endpoints of this kind are called.
    platform = "ovm"

    def __init__(self, event_handler: Any = None) -> None:
        self._event_handler = event_handler

    # An endpoint.

    def get_connection_info_schema(self) -> Json:
        """What an endpoint's connection consists of."""
        return schemas.CONNECTION

    def get_source_environment_schema(self) -> Json:
        """What may be chosen for a transfer."""
        return schemas.SOURCE_ENVIRONMENT

    def validate_connection(self, ctxt: Any, connection_info: Json) -> None:
        """Raises where any of the nodes cannot be logged in to, or clones nothing."""
        for client in nodes.log_in(connection_info, all_of_them=True):
            client.get_node()

    # Machines.

    def get_instances(
        self,
        ctxt: Any,
        connection_info: Json,
        source_environment: Optional[Json] = None,
        limit: Optional[int] = None,
        last_seen_id: Optional[str] = None,
        instance_name_pattern: Optional[str] = None,
        refresh: bool = False,
    ) -> List[Json]:
        """Machines by id, from the one after ``last_seen_id`` on."""
        with told_by_provider():
            if limit is not None:
                arguments.whole("limit", limit)
            if last_seen_id is not None:
                arguments.text("last_seen_id", last_seen_id)
            wanted = _pattern(instance_name_pattern)
        vms = nodes.machines(nodes.log_in(connection_info))
        if wanted is not None:
            vms = [
                vm for vm in vms if wanted.search(vm["friendly_name"]) or wanted.search(vm["id"])
            ]
        if last_seen_id is not None:
            vms = [vm for vm in vms if vm["id"] > last_seen_id]
        return [inventory.instance_info(vm) for vm in vms[: limit or None]]

    def get_instance(
        self, ctxt: Any, connection_info: Json, source_environment: Json, instance_name: str
    ) -> Json:
        """A machine with its devices."""
        return inventory.export_info(nodes.find(nodes.log_in(connection_info), instance_name).vm)

    def get_replica_instance_info(
        self, ctxt: Any, connection_info: Json, source_environment: Json, instance_name: str
    ) -> Json:
        """The same, for a transfer."""
        return self.get_instance(ctxt, connection_info, source_environment, instance_name)

    def validate_replica_export_input(
        self, ctxt: Any, connection_info: Json, instance_name: str, source_environment: Json
    ) -> Json:
        """Raises where a disk of the machine cannot be cloned, with its name."""
        found = nodes.find(nodes.log_in(connection_info), instance_name)
        inventory.check_disks(found.vm)
        return inventory.export_info(found.vm)

    # A transfer.

    def deploy_replica_source_resources(
        self, ctxt: Any, connection_info: Json, export_info: Json, source_environment: Json
    ) -> Json:
        """No machine of ours is needed on the source's side."""
        return {"migr_resources": {}, "connection_info": {}}

    def delete_replica_source_resources(
        self,
        ctxt: Any,
        connection_info: Json,
        source_environment: Json,
        migr_resources_dict: Optional[Json],
    ) -> None:
        """There are none."""

    def replicate_disks(
        self,
        ctxt: Any,
        connection_info: Json,
        source_environment: Optional[Json],
        instance_name: str,
        source_resources: Any,
        source_conn_info: Any,
        target_conn_info: Json,
        volumes_info: List[Json],
        incremental: bool = True,
    ) -> List[Json]:
        """Brings the volumes to a fresh snapshot, and returns what Coriolis has to remember.

        Raises what a writer raises. What was half written then the next run finishes.
        """
        environment = source_environment or {}
        if not isinstance(target_conn_info, Mapping):
            raise ProviderError(
                f"the destination's connection is no object, but {type(target_conn_info).__name__}"
            )
        options = _options(environment)
        found = nodes.find(nodes.log_in(connection_info), instance_name)
        inventory.check_disks(found.vm)
        volumes = _volumes(found.vm, volumes_info)
        # Told before anything is changed, if it cannot be used.
        wants_native = bool(environment.get("native_writer"))
        native = {
            disk: https_writer(target_conn_info, volume, ledger.identity_of(volume))
            if wants_native
            else None
            for disk, volume in volumes.items()
        }
        is_native = all(native.values())
        client, *others = found.clients
        replica = ledger.Replica(client, found.vm["id"], list(volumes.values()), incremental)
        for disk, reason in replica.exchanged.items():
            _LOG.warning("%s: %s: %s; all of it is copied", instance_name, disk, reason)
        said = [disk for disk, volume in volumes.items() if _is_said_to_be_zero(volume)]
        zeroed = said if said and replica.may_trust_zeroed() else []
        writer: Any = None if is_native else self._writer(target_conn_info, volumes_info)
        run = Transfer(client, found.vm["id"], replica, Bars(events_of(self._event_handler)))
        run.verify = bool(environment.get("verify_disk_integrity"))

        def target(disk: Json) -> Any:
            volume = volumes.get(disk["name"])
            if volume is None:
                return None
            if is_native:
                return native[disk["name"]]
            # The writer for files is the one that goes by a path.
            is_file = target_conn_info.get("backend") == "file_backup_writer"
            path = volume.get("volume_dev", "") if is_file else ""
            return lambda: run.writing(writer.open(path, disk["name"]), disk)

        outcome = client.replicate(
            found.vm["id"],
            target,
            replica,
            nodes=others if environment.get("use_all_nodes", True) else (),
            progress=run.on,
            zeroed=zeroed,
            disks=list(volumes),
            # By a checksum on the worker. Elsewhere the transfer sees to it.
            verify=is_native and run.verify,
            # The volumes are Coriolis's, and for this machine.
            overwrite=is_native,
            label=replica.label("copying"),
            # One that tells that zeroed volumes were written to must stay.
            expires_in=None if said and replica.is_new else ledger.ABANDONED,
            **options,
        )
        for warning in outcome["warnings"]:
            _LOG.warning("%s: %s", instance_name, warning)
        return [
            {**volume, "replica_state": replica.remembered(volume["disk_id"])}
            if volume["disk_id"] in volumes
            else dict(volume)
            for volume in volumes_info
        ]

    def delete_replica_source_snapshots(
        self,
        ctxt: Any,
        connection_info: Json,
        source_environment: Optional[Json],
        volumes_info: List[Json],
    ) -> List[Json]:
        """Deletes what the replica of these volumes has on the nodes."""
        states = [ledger.state_of(volume) for volume in volumes_info]
        replicas = {state["replica"] for state in states if "replica" in state}
        if replicas:
            for client in nodes.log_in(connection_info):
                for entry in patiently(lambda: client.get_all_snapshots(space=False)):
                    if any(ledger.belongs_to(entry, replica) for replica in replicas):
                        client.delete_snapshot(entry["vm_id"], entry["id"])
        # The states stay. Should a volume outlive this, they tell that it was written to; without
        # its snapshots everything is copied then.
        return [dict(volume) for volume in volumes_info]

    def shutdown_instance(
        self, ctxt: Any, connection_info: Json, source_environment: Json, instance_name: str
    ) -> None:
        """Refused: nodes' exporters only read."""
        raise ProviderError(
            f"{instance_name} cannot be shut down from here: the exporter only reads. Shut it down in "
            "the Oracle VM Manager, or inside, then run the transfer once more, and leave "
            '"shut down instances" off'
        )

    def _writer(self, target_conn_info: Mapping[str, Any], volumes_info: List[Json]) -> Any:
        return open_writer(target_conn_info, volumes_info)


def _pattern(text: Optional[str]) -> Optional["re.Pattern[str]"]:
    if not text:
        return None
    try:
        return re.compile(arguments.text("instance_name_pattern", text), re.IGNORECASE)
    except re.error as error:
        raise ValueError(
            f"instance_name_pattern is {text!r}, which is no regular expression: {error}"
        ) from error


def _options(environment: Mapping[str, Any]) -> Dict[str, Any]:
    """What of a run is chosen by its source environment."""
    chosen: Dict[str, Any] = {}
    known = schemas.SOURCE_ENVIRONMENT["properties"]
    with told_by_provider():
        for name in ("consistency", "compression", "streams"):
            value, allowed = environment.get(name), known[name]
            if value is None:
                continue
            if "enum" in allowed:
                chosen[name] = arguments.one_of(name, value, allowed["enum"])
            else:
                chosen[name] = arguments.whole(name, value, allowed["minimum"], allowed["maximum"])
    return chosen


def _is_said_to_be_zero(volume: Json) -> bool:
    return volume.get("zeroed") is True and not volume.get("replica_state")


def _volumes(vm: Json, volumes_info: List[Json]) -> Dict[str, Json]:
    """The volumes that are written to, by the names of their disks."""
    disks = {disk["name"] for disk in inventory.copied_disks(vm)}
    volumes: Dict[str, Json] = {}
    for volume in volumes_info:
        if not isinstance(volume.get("disk_id"), str):
            raise ProviderError("a volume does not say by disk_id of which disk it is")
        disk = volume["disk_id"]
        # A shared disk is copied by the machine that Coriolis has chosen for it.
        if volume.get("replicate_disk_data", True) is False:
            continue
        if disk not in disks:
            raise ProviderError(
                f"machine {vm['id']} has no disk {disk!r}; it has {', '.join(sorted(disks))}. Run the "
                "transfer anew, so that Coriolis looks at the machine again"
            )
        if disk in volumes:
            raise ProviderError(f"two volumes are said to be of disk {disk!r}")
        volumes[disk] = volume
    if not volumes:
        raise ProviderError("no volume is to be written to")
    return volumes
