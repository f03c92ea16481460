"""The export provider, as Coriolis calls it, with a stand-in for Coriolis's side."""

import copy
import json
import os
import re
import shutil
import socket
import subprocess
import time
import types
from pathlib import Path

import pytest
from coriolis import exception
from coriolis.providers import backup_writers, base
from coriolis.providers.backup_writers import WriterImpl, faults
from coriolis_ovm_exporter import Client, HTTPError
from coriolis_ovm_exporter.provider import (
    ExportProvider,
    ProviderError,
    ledger,
    nodes,
    places,
    schemas,
)

TARGET = {"backend": "http_backup_writer", "connection_details": {}}


class Transfer:
    """A transfer of Coriolis's: it keeps ``volumes_info`` of runs that succeeded."""

    def __init__(self, node, client, machine, folder, endpoints=None):
        self.connection = {
            "endpoints": endpoints or [node.endpoint],
            "username": node.username,
            "password": node.password,
            "ca_certificate": Path(node.authority).read_text(),
        }
        self.client = client
        self.machine = machine
        self.environment = {}
        self.target = TARGET
        self.told = []
        self.provider = ExportProvider(self)
        self.volumes_info = []
        for name, path in machine.disks.items():
            # A worker's volume is larger than the disk will become.
            volume = folder / f"volume of {name}"
            volume.touch()
            os.truncate(volume, path.stat().st_size + (8 << 20))
            self.volumes_info.append(
                {"disk_id": name, "volume_dev": str(volume), "zeroed": True, "theirs": [1]}
            )

    def progress(self, message, percent):
        self.told.append((message, percent))

    def run(self, keep=True):
        faults.written = 0
        self.told.clear()
        volumes_info = self.provider.replicate_disks(
            None,
            self.connection,
            self.environment,
            self.machine.id,
            {},
            {},
            self.target,
            copy.deepcopy(self.volumes_info),
            True,
        )
        assert [one["disk_id"] for one in volumes_info] == list(self.machine.disks)
        assert all(one["theirs"] == [1] and one["zeroed"] for one in volumes_info)
        if keep:
            self.volumes_info = json.loads(json.dumps(volumes_info))
        return volumes_info

    def check(self):
        """The volumes are the disks; the node has one snapshot, and Coriolis knows which."""
        for volume in self.volumes_info:
            disk = self.machine.disks[volume["disk_id"]]
            size = str(disk.stat().st_size)
            done = subprocess.run(
                ["cmp", "--bytes", size, volume["volume_dev"], str(disk)],
                capture_output=True,
                text=True,
            )
            assert done.returncode == 0, done.stdout + done.stderr
        [snapshot] = self.client.get_snapshots(self.machine.id)
        assert {one["replica_state"]["snapshot"] for one in self.volumes_info} == {snapshot["id"]}
        assert faults.open == 0

    def exchange(self):
        """Each volume comes under the other's name."""
        one, other = (Path(volume["volume_dev"]) for volume in self.volumes_info)
        between = one.with_name("between")
        for volume in (one, other):
            os.truncate(volume, max(one.stat().st_size, other.stat().st_size))
        one.rename(between)
        other.rename(one)
        between.rename(other)

    def labels(self):
        entries = self.client.get_all_snapshots()
        return sorted(
            re.sub("[0-9a-f-]{36}", "ID", entry["label"] or "")
            for entry in entries
            if entry["vm_id"] == self.machine.id
        )

    @property
    def size(self):
        return sum(path.stat().st_size for path in self.machine.disks.values())


@pytest.fixture
def transfer(node, client, machine, tmp_path):
    faults.clear()
    yield Transfer(node, client, machine, tmp_path)
    faults.clear()


def test_it_is_what_coriolis_looks_for():
    for kind in (
        base.BaseEndpointProvider,
        base.BaseEndpointInstancesProvider,
        base.BaseReplicaExportProvider,
        base.BaseReplicaExportValidationProvider,
    ):
        assert issubclass(ExportProvider, kind)
    assert ExportProvider.platform == "ovm"
    assert issubclass(ProviderError, exception.CoriolisException)
    for schema in (schemas.CONNECTION, schemas.SOURCE_ENVIRONMENT):
        assert set(schema.get("required", [])) <= set(schema["properties"])


def test_first_and_later_runs(transfer):
    transfer.run()
    transfer.check()
    # Zeroed volumes get no zeros.
    assert 0 < faults.written < transfer.size
    assert {percent for _, percent in transfer.told} > {100}
    assert all(name in str(transfer.told) for name in transfer.machine.disks)
    for _ in range(3):
        transfer.machine.work()
        transfer.run()
        transfer.check()
        assert 0 < faults.written < transfer.size // 4


def test_an_error_of_a_writer_and_a_base_that_is_deleted(transfer):
    """In this order: a run, one that breaks off, one that goes on; one without its base."""
    transfer.run()
    transfer.check()
    transfer.machine.work()
    faults.fail_after = 200_000
    with pytest.raises(exception.CoriolisException, match="500"):
        transfer.run()
    assert faults.written == 200_000 and faults.open == 0
    assert transfer.labels() == ["coriolis ID copying", "coriolis ID leaving"]
    faults.clear()
    transfer.machine.work()
    transfer.run()
    transfer.check()
    assert faults.written < transfer.size // 4
    assert transfer.labels() == ["coriolis ID holds"]

    transfer.client.delete_all_snapshots(transfer.machine.id)
    transfer.machine.work()
    transfer.run()
    transfer.check()
    # Everything, zeros too: nobody knows what the volumes hold.
    assert faults.written == transfer.size


def sealed_disks(transfer, snapshot):
    """The files of a snapshot."""
    repositories = {path.parents[1] for path in transfer.machine.disks.values()}
    folders = [repository / "CoriolisSnapshots" / snapshot for repository in repositories]
    return sorted(file for folder in folders for file in folder.iterdir() if file.suffix != ".json")


def damage(transfer, snapshot):
    """Somebody changes a disk of a snapshot. Gives its size."""
    disk = sealed_disks(transfer, snapshot)[0]
    subprocess.run(["chattr", "-i", str(disk)], check=True)
    with open(disk, "r+b") as file:
        file.seek(1 << 20)
        file.write(os.urandom(4096))
    return disk.stat().st_size


@pytest.mark.parametrize("is_interrupted", [False, True])
def test_a_base_that_somebody_has_changed_is_none(transfer, is_interrupted):
    """Everything is copied, at once."""
    transfer.run()
    [base] = transfer.client.get_snapshots(transfer.machine.id)
    transfer.machine.work()
    if is_interrupted:
        faults.fail_after = 200_000
        with pytest.raises(exception.CoriolisException, match="500"):
            transfer.run()
        faults.clear()
        transfer.machine.work()
    damage(transfer, base["id"])
    with pytest.raises(HTTPError, match="no longer the file that was sealed"):
        transfer.client.get_snapshot(transfer.machine.id, base["id"])
    transfer.run()
    transfer.check()
    assert faults.written == transfer.size
    assert transfer.labels() == ["coriolis ID holds"]
    transfer.machine.work()
    transfer.run()
    transfer.check()
    assert 0 < faults.written < transfer.size // 4


def test_a_base_that_is_changed_while_a_run_begins_is_none(transfer, monkeypatch):
    transfer.run()
    [base] = transfer.client.get_snapshots(transfer.machine.id)
    transfer.machine.work()
    load = ledger.Replica.load
    damaged = []

    def after_the_look_at_the_base(replica):
        damaged.append(damage(transfer, base["id"]))
        return load(replica)

    with monkeypatch.context() as patched:
        patched.setattr(ledger.Replica, "load", after_the_look_at_the_base)
        transfer.run()
    transfer.check()
    # The other disk gets what changed.
    [size] = damaged
    assert size <= faults.written < transfer.size


def test_what_a_broken_run_has_left_is_deleted_by_hand(transfer):
    transfer.run()
    transfer.machine.work()
    faults.fail_after = 200_000
    with pytest.raises(exception.CoriolisException):
        transfer.run()
    faults.clear()
    for entry in transfer.client.get_all_snapshots():
        if (entry["label"] or "").endswith("copying"):
            transfer.client.delete_snapshot(transfer.machine.id, entry["id"])
    transfer.run()
    transfer.check()
    assert faults.written == transfer.size


def test_a_run_whose_result_coriolis_never_kept(transfer):
    """It was killed after the last writer had closed."""
    transfer.run()
    for _ in range(2):
        transfer.machine.work()
        transfer.run(keep=False)
    transfer.machine.work()
    transfer.run()
    transfer.check()
    assert 0 < faults.written < transfer.size // 4


def test_a_volume_that_is_a_block_too_small_is_no_success(transfer, monkeypatch):
    class Device(WriterImpl):
        """Does not grow."""

        def __init__(self, path):
            self._room = os.stat(path).st_size
            super().__init__(path)

        def _take(self, offset, data):
            if offset + len(data) > self._room:
                raise OSError("no space left on the device")
            super()._take(offset, data)

    monkeypatch.setattr(backup_writers, "WriterImpl", Device)
    for volume in transfer.volumes_info:
        disk = transfer.machine.disks[volume["disk_id"]]
        os.truncate(disk, disk.stat().st_size + (1 << 20))
        os.truncate(volume["volume_dev"], disk.stat().st_size - 4096)
    with pytest.raises(exception.CoriolisException, match="no space"):
        transfer.run()
    assert not any("replica_state" in one for one in transfer.volumes_info)


def test_volumes_are_not_zero_after_a_first_run_that_broke_off(transfer):
    path = transfer.machine.disks[transfer.volumes_info[0]["disk_id"]]
    faults.fail_after = 4 << 20
    with pytest.raises(exception.CoriolisException):
        transfer.run()
    faults.clear()
    # What was written is zero in the next snapshot.
    subprocess.run(
        ["fallocate", "--punch-hole", "--offset", "0", "--length", str(8 << 20), str(path)],
        check=True,
    )
    assert all(one["zeroed"] for one in transfer.volumes_info)
    transfer.run()
    assert faults.written == transfer.size
    # It tells that they are not, to any later first run: it does not go by itself.
    [left] = [e for e in transfer.client.get_all_snapshots() if e["label"].endswith("copying")]
    assert left["expires_at"] is None
    transfer.client.delete_snapshot(transfer.machine.id, left["id"])
    transfer.check()


def test_volumes_are_not_zero_after_a_first_run_that_coriolis_forgot(transfer):
    transfer.run(keep=False)
    transfer.machine.work()
    transfer.run()
    assert faults.written == transfer.size
    kept = transfer.volumes_info[0]["replica_state"]["snapshot"]
    for entry in transfer.client.get_snapshots(transfer.machine.id):
        if entry["id"] != kept:
            transfer.client.delete_snapshot(transfer.machine.id, entry["id"])
    transfer.check()


class Labels:
    """A node, as far as the ledger sees one."""

    def __init__(self, **roles):
        self.roles = roles
        self.cannot_change = None

    def get_all_snapshots(self, space):
        return [
            {
                "id": id,
                "vm_id": "vm",
                "state": "ready",
                "disks": ["a"],
                "label": f"coriolis R {role}",
            }
            for id, role in self.roles.items()
        ]

    def get_snapshot(self, vm, snapshot, chunks):
        assert chunks is False
        return {"disks": [{"name": "a", "size": 1, "parent_path": "/a"}]}

    def change_snapshot(self, vm, snapshot, label, chunks, **changes):
        assert chunks is False
        if self.cannot_change:
            raise self.cannot_change
        self.roles[snapshot] = label.split(" ")[2]

    def delete_snapshot(self, vm, snapshot):
        del self.roles[snapshot]


def replica_of(labels, incremental=True):
    state = {"replica": "R", "vm": "vm", "snapshot": "any"}
    return ledger.Replica(labels, "vm", [{"disk_id": "a", "replica_state": state}], incremental)


def test_no_label_is_left_that_makes_a_base_of_what_is_overwritten():
    labels = Labels(one="holds", two="copying")
    assert replica_of(labels).load()["base"] == "one"
    # Should the old ones not be deleted, they are no base any more.
    state = replica_of(labels, incremental=False).load()
    assert (state["base"], sorted(state["to_drop"])) == (None, ["one", "two"])
    assert set(state["suspect"]) == {"a"} and labels.roles["one"] == "wrong"
    labels = Labels(one="holds")
    labels.cannot_change = ValueError("no answer")
    with pytest.raises(ValueError, match="no answer"):
        replica_of(labels, incremental=False)
    # Of one that is not whole nothing can be changed.
    refused = HTTPError("refused", status_code=409, error="Conflict", details="it is not whole")
    labels.cannot_change = refused
    state = replica_of(labels, incremental=False).load()
    assert state["base"] is None and set(state["suspect"]) == {"a"} and labels.roles == {}


def test_labels_follow_the_state():
    labels = Labels(one="holds")
    replica = replica_of(labels)
    state = replica.load()
    labels.roles["two"] = "copying"
    pending = {"request": {}, "snapshot": "two", "dirty": []}
    replica.save({**state, "pending": pending})
    assert labels.roles["one"] == "holds"
    replica.save({**state, "pending": {**pending, "dirty": ["a"]}})
    assert labels.roles == {"one": "leaving", "two": "copying"}
    assert replica_of(labels).load()["pending"]["snapshot"] == "two"
    # A node has sent what it must not: no later run may believe what is there.
    replica.save({**state, "pending": {**pending, "dirty": ["a"]}, "suspect": {"a": "it lies"}})
    assert labels.roles["one"] == "wrong"
    assert replica_of(Labels(**labels.roles)).load()["base"] is None
    replica.save({**state, "base": "two", "to_drop": ["one"]})
    assert labels.roles == {"one": "wrong", "two": "holds"}
    again = replica_of(labels).load()
    assert (again["base"], again["to_drop"]) == ("two", ["one"])


def test_whole_disks_are_compared_where_that_is_wanted(transfer):
    transfer.environment = {"verify_disk_integrity": True, "compression": "zstd", "streams": 1}
    transfer.run()
    transfer.check()
    transfer.machine.work()
    faults.corrupt = True
    with pytest.raises(ProviderError, match="sha256"):
        transfer.run()
    assert transfer.labels() == ["coriolis ID leaving", "coriolis ID wrong"]
    faults.corrupt = False
    transfer.run()
    transfer.check()
    assert faults.written == transfer.size


def test_a_ctrl_c_in_the_middle(transfer):
    """How Coriolis cancels a task."""
    transfer.run()
    transfer.machine.work()

    def interrupt(written):
        if written > 100_000:
            faults.before_write = lambda written: None
            os.kill(os.getpid(), 2)

    faults.before_write = interrupt
    with pytest.raises(KeyboardInterrupt):
        transfer.run()
    transfer.machine.work()
    transfer.run()
    transfer.check()
    assert faults.written < transfer.size // 4


def test_volumes_that_were_exchanged_get_no_increment(transfer):
    for _ in range(2):
        transfer.run()
        transfer.machine.work()
    transfer.exchange()
    with pytest.raises(ProviderError, match="not as the last run has left it.* copies all of it"):
        transfer.run()
    assert faults.written == 0 and faults.open == 0
    assert transfer.labels() == ["coriolis ID copying", "coriolis ID wrong"]
    transfer.run()
    transfer.check()
    assert faults.written == transfer.size
    transfer.machine.work()
    transfer.run()
    transfer.check()
    assert faults.written < transfer.size // 4


@pytest.mark.parametrize("is_kept", [True, False])
def test_an_older_copy_of_a_volume_gets_no_increment(transfer, tmp_path, is_kept):
    transfer.run()
    volume = Path(transfer.volumes_info[1]["volume_dev"])
    disk = transfer.machine.disks[transfer.volumes_info[1]["disk_id"]]
    older = tmp_path / "older"
    shutil.copyfile(volume, older)
    # Where nobody looks unless it was written; or where it is looked if nobody knows what was.
    offset = 5 << 20 if is_kept else 0
    with open(disk, "r+b") as file:
        file.seek(offset)
        file.write(os.urandom(4096))
    transfer.run(keep=is_kept)
    shutil.copyfile(older, volume)
    transfer.machine.work()
    with pytest.raises(ProviderError, match="not as the last run has left it"):
        transfer.run()
    transfer.run()
    transfer.check()
    assert faults.written == transfer.size


def _is_data(transfer, disk, offset):
    """Where the base holds something, from an offset on."""
    snapshot = transfer.volumes_info[0]["replica_state"]["snapshot"]
    for one in transfer.client.ranges(transfer.machine.id, snapshot, disk, offset=offset):
        if one["kind"] == "data":
            return one["start"]
    raise AssertionError(f"nothing behind {offset}")


@pytest.mark.parametrize("where", ["written before", "start", "end", "here and there"])
def test_a_volume_is_looked_at_in_more_than_one_place(transfer, where):
    volume = transfer.volumes_info[1]["volume_dev"]
    name = transfer.volumes_info[1]["disk_id"]
    disk = transfer.machine.disks[name]
    transfer.run()
    for offset in (5 << 20, 6 << 20):
        with open(disk, "r+b") as file:
            file.seek(offset)
            file.write(os.urandom(4096))
        transfer.run()
    size = disk.stat().st_size
    offset = {
        "written before": 5 << 20,
        "start": 4096,
        "end": size - 1,
        "here and there": _is_data(transfer, name, size // 4 * 2),
    }[where]
    with open(volume, "r+b") as file:
        file.seek(offset)
        [byte] = file.read(1)
        file.seek(offset)
        file.write(bytes([byte ^ 1]))
    with open(disk, "r+b") as file:
        file.seek(6 << 20)
        file.write(os.urandom(4096))
    with pytest.raises(ProviderError, match=f"{name}: its volume is not as the last run has left it"):
        transfer.run()
    assert faults.open == 0
    transfer.run()
    transfer.check()
    assert faults.written == transfer.size


def test_a_worker_whose_checksums_take_long_is_asked_for_a_few(transfer, monkeypatch):
    for _ in range(3):
        transfer.run()
        transfer.machine.work()
    asked = []
    of_writer = WriterImpl.get_disk_checksum

    def get_disk_checksum(self, algorithm, start_offset=0, end_offset=0):
        asked.append((start_offset, end_offset))
        return of_writer(self, algorithm, start_offset, end_offset)

    monkeypatch.setattr(WriterImpl, "get_disk_checksum", get_disk_checksum)
    transfer.run()
    many = len(asked)
    assert all(start < end for start, end in asked)
    monkeypatch.setattr("coriolis_ovm_exporter.provider.transfer._LONG_ENOUGH", 0)
    asked.clear()
    transfer.machine.work()
    transfer.run()
    transfer.check()
    assert len(asked) == 4 * len(transfer.volumes_info) < many


def test_volumes_that_were_exchanged_after_an_interrupted_run_get_none_of_it(transfer):
    transfer.run()
    for disk in transfer.machine.disks.values():
        with open(disk, "r+b") as file:
            file.seek(8 << 20)
            file.write(os.urandom(1 << 20))
    faults.fail_after = 200_000
    with pytest.raises(exception.CoriolisException, match="500"):
        transfer.run()
    faults.clear()
    transfer.exchange()
    with pytest.raises(ProviderError, match="not as the last run has left it"):
        transfer.run()
    assert faults.written == 0
    # They are what Coriolis says now.
    transfer.run()
    transfer.check()
    assert faults.written == transfer.size


def test_what_is_left_of_a_place():
    for parts, left in [
        ([], [(10, 20)]),
        ([(0, 10), (20, 30)], [(10, 20)]),
        ([(0, 12), (14, 15), (19, 40)], [(12, 14), (15, 19)]),
        ([(5, 25)], []),
        ([(11, 13), (12, 13)], [(10, 11), (13, 20)]),
    ]:
        assert list(places.without((10, 20), parts)) == left


def test_a_lost_result_tells_nothing_of_volumes_that_have_ids(
    transfer, tmp_path, monkeypatch, caplog
):
    """A run has written to other volumes, and Coriolis still names those of before."""
    # Nobody makes checksums.
    monkeypatch.setattr(WriterImpl, "get_disk_checksum", lambda *_, **__: None)
    for number, volume in enumerate(transfer.volumes_info):
        volume["volume_id"] = f"id {number}"
    transfer.run()
    transfer.machine.work()
    ours = copy.deepcopy(transfer.volumes_info)
    for volume in transfer.volumes_info:
        other = tmp_path / f"other {volume['disk_id']}"
        shutil.copyfile(volume["volume_dev"], other)
        volume.update(volume_dev=str(other), volume_id=volume["volume_id"] + " of others")
    transfer.run(keep=False)
    transfer.volumes_info = ours
    transfer.machine.work()
    transfer.run()
    transfer.check()
    assert faults.written == transfer.size
    assert "whose result was lost" in caplog.text
    transfer.machine.work()
    transfer.run()
    transfer.check()
    assert faults.written < transfer.size // 4


def test_a_volume_of_another_id_is_copied_in_full(transfer, caplog, monkeypatch):
    # Nobody makes checksums.
    monkeypatch.setattr(WriterImpl, "get_disk_checksum", lambda *_, **__: None)
    for number, volume in enumerate(transfer.volumes_info):
        volume["volume_id"] = f"id {number}"
    for _ in range(2):
        transfer.run()
        transfer.check()
        transfer.machine.work()
    assert faults.written < transfer.size // 4
    volume = transfer.volumes_info[0]
    volume["volume_id"] = "id 7"
    with open(volume["volume_dev"], "r+b") as file:
        file.write(b"x" * (1 << 20))
    transfer.run()
    transfer.check()
    size = transfer.machine.disks[volume["disk_id"]].stat().st_size
    assert size <= faults.written < size + (transfer.size - size) // 2
    assert "its volume was id 0 in the last run, and is id 7 now" in caplog.text
    # All of them.
    for volume in transfer.volumes_info:
        volume["volume_id"] += " anew"
        with open(volume["volume_dev"], "r+b") as file:
            file.write(b"x" * (1 << 20))
    transfer.run()
    transfer.check()
    assert faults.written == transfer.size


def test_a_worker_of_before_there_were_checksums_is_believed(transfer, monkeypatch):
    class Refused(Exception):
        def __init__(self, status):
            super().__init__(f"{status} of the worker's")
            self.response = types.SimpleNamespace(status_code=status)

    def refuse(status):
        def get_disk_checksum(self, algorithm, start_offset=0, end_offset=0):
            raise Refused(status)

        monkeypatch.setattr(WriterImpl, "get_disk_checksum", get_disk_checksum)

    transfer.run()
    transfer.machine.work()
    refuse(404)
    transfer.run()
    transfer.check()
    assert faults.written < transfer.size // 4
    transfer.machine.work()
    refuse(500)
    with pytest.raises(Refused, match="500 of the worker"):
        transfer.run()
    monkeypatch.undo()
    transfer.run()
    transfer.check()


def test_a_shared_disk_is_copied_by_another_machine(transfer):
    shared = transfer.volumes_info[1]
    shared.update({"replicate_disk_data": False, "volume_dev": ""})
    for _ in range(2):
        after = transfer.run()
        assert "replica_state" in after[0]
        assert after[1] == shared
        transfer.machine.work()
    [snapshot] = transfer.client.get_snapshots(transfer.machine.id)
    assert [disk["name"] for disk in snapshot["disks"]] == [after[0]["disk_id"]]


def test_a_volume_that_was_made_anew_is_copied_in_full(transfer):
    transfer.run()
    transfer.machine.work()
    volume = transfer.volumes_info[0]
    os.truncate(volume["volume_dev"], 0)
    os.truncate(volume["volume_dev"], 300 << 20)
    del volume["replica_state"]
    transfer.run()
    transfer.check()
    size = transfer.machine.disks[volume["disk_id"]].stat().st_size
    assert size <= faults.written < size + (transfer.size - size) // 2


def test_snapshots_go_with_the_replica(transfer):
    transfer.run()
    of_others = transfer.client.create_snapshot(transfer.machine.id, label="of others")
    after = transfer.provider.delete_replica_source_snapshots(
        None, transfer.connection, {}, transfer.volumes_info
    )
    assert after == transfer.volumes_info
    [left] = transfer.client.get_snapshots(transfer.machine.id)
    assert left["id"] == of_others["id"]
    again = transfer.provider.delete_replica_source_snapshots(None, transfer.connection, {}, after)
    assert again == after
    transfer.client.delete_snapshot(transfer.machine.id, of_others["id"])
    # A volume that Coriolis has not deleted after all.
    transfer.machine.work()
    transfer.volumes_info = after
    transfer.run()
    transfer.check()
    assert faults.written == transfer.size


def test_volumes_of_another_machine_are_not_zero(transfer):
    state = {"replica": "R", "vm": "another", "snapshot": "any"}
    for volume in transfer.volumes_info:
        volume["replica_state"] = state
    transfer.run()
    transfer.check()
    assert faults.written == transfer.size


def test_machines_are_described(transfer):
    provider, connection = transfer.provider, transfer.connection
    provider.validate_connection(None, connection)
    every = provider.get_instances(None, connection, {})
    assert [one["name"] for one in every] == ["web server", "database = main"]
    assert provider.get_instances(None, connection, {}, limit=1) == every[:1]
    assert provider.get_instances(None, connection, {}, last_seen_id=every[0]["id"]) == every[1:]
    [found] = provider.get_instances(None, connection, {}, instance_name_pattern="^data")
    assert found == every[1]
    for name in (every[0]["id"], "web server", every[0]["instance_name"]):
        info = provider.get_replica_instance_info(None, connection, {}, name)
        assert (info["num_cpu"], info["memory_mb"], info["os_type"]) == (2, 2048, "linux")
        devices = info["devices"]
        sizes = {disk["id"]: disk["size_bytes"] for disk in devices["disks"]}
        assert sizes == {n: p.stat().st_size for n, p in transfer.machine.disks.items()}
        assert {disk["format"] for disk in devices["disks"]} == {"raw"}
        assert len(devices["cdroms"]) == 1 and devices["nics"][0]["mac_address"]
        assert info["boot_order"] == [{"type": "harddisk"}, {"type": "cdrom"}]
    assert provider.validate_replica_export_input(None, connection, every[0]["id"], {}) == info
    resources = provider.deploy_replica_source_resources(None, connection, info, {})
    assert resources == {"migr_resources": {}, "connection_info": {}}
    provider.delete_replica_source_resources(None, connection, {}, {})


def test_what_cannot_be_done_is_said(transfer):
    provider, connection = transfer.provider, transfer.connection
    with pytest.raises(ProviderError, match="web server.*cannot be shut down"):
        provider.shutdown_instance(None, connection, {}, "web server")
    with pytest.raises(ProviderError, match="no node sees a machine 'absent'"):
        provider.get_instance(None, connection, {}, "absent")
    with pytest.raises(ProviderError, match="lacks password"):
        provider.validate_connection(None, {**connection, "password": ""})
    with pytest.raises(ProviderError, match="401"):
        provider.validate_connection(None, {**connection, "password": "wrong"})
    # One node of two is down: validation says so, work goes on.
    half = {**connection, "endpoints": ["https://127.0.0.1:1", *connection["endpoints"]]}
    with pytest.raises(ProviderError, match="127.0.0.1:1"):
        provider.validate_connection(None, half)
    assert provider.get_instances(None, half, {})
    transfer.volumes_info[0]["disk_id"] = "absent.img"
    with pytest.raises(ProviderError, match="absent.img"):
        transfer.run()


def test_a_certificate_that_is_not_checked_is_a_warning(transfer, caplog):
    trusted = transfer.connection
    blind = {**trusted, "ca_certificate": None, "allow_untrusted": True}
    for connection in (trusted, {**trusted, "allow_untrusted": False}, blind):
        assert caplog.text == ""
        transfer.provider.validate_connection(None, connection)
    [warning] = caplog.records
    assert warning.levelname == "WARNING"
    for told in (trusted["endpoints"][0], "allow_untrusted", "is not checked"):
        assert told in warning.getMessage()
    with pytest.raises(ProviderError, match="^allow_untrusted is 'false'; it is True or False"):
        transfer.provider.validate_connection(None, {**trusted, "allow_untrusted": "false"})


def test_a_disk_that_cannot_be_cloned_is_named(transfer):
    config = next(
        Path(path).parents[1] / "VirtualMachines" / transfer.machine.id / "vm.cfg"
        for path in transfer.machine.disks.values()
    )
    text = config.read_text()
    try:
        config.write_text(text.replace("disk = [", "disk = ['phy:/dev/mapper/lun,xvdy,w',\n"))
        for call in (
            lambda: transfer.provider.validate_replica_export_input(
                None, transfer.connection, transfer.machine.id, {}
            ),
            transfer.run,
        ):
            with pytest.raises(ProviderError, match="/dev/mapper/lun.*generic way"):
                call()
    finally:
        config.write_text(text)


@pytest.mark.parametrize(
    ("roles", "base", "pending", "reason"),
    [
        (["holds"], "holds0", None, None),
        # Killed before it wrote, after it had closed, before it deleted the old one.
        (["holds", "copying"], "holds0", None, None),
        (["holds", "leaving"], "holds0", None, None),
        (["leaving", "copying"], "leaving0", "copying0", None),
        ([], None, None, "deleted"),
        (["copying"], None, None, "deleted"),
        (["leaving"], None, None, "nobody knows"),
        (["leaving", "copying", "copying"], None, None, "nobody knows"),
        (["leaving", "leaving", "copying"], None, None, "nobody knows"),
        (["leaving", "wrong"], None, None, "nobody knows"),
        (["copying", "wrong"], None, None, "something else"),
        (["holds", "holds"], None, None, "nobody knows"),
    ],
)
def test_labels_tell_what_volumes_hold(roles, base, pending, reason):
    ours = {"holds": [], "leaving": [], "copying": [], "wrong": []}
    for role in roles:
        id = f"{role}{len(ours[role])}"
        ours[role].append({"id": id, "state": "ready", "disks": ["a", "b"]})
    found = ledger._judge(ours, {"a", "b"})
    assert found[:2] == (base, pending)
    assert (found[2] is None) == (reason is None) and (reason or "") in (found[2] or "")
    if pending:
        # A disk of it has no volume any more; the snapshot is no longer whole.
        assert ledger._judge(ours, {"a"})[0] is None
        ours["copying"][0]["state"] = "broken"
        assert ledger._judge(ours, {"a", "b"})[0] is None


class OtherNode:
    """A second daemon beside the demo's, with the same repository, databases and manager."""

    def __init__(self, node, folder, runs):
        self.folder = folder
        self._list = folder / "domains"
        self.runs(runs)
        tool = folder / "xm"
        header = "Name ID Mem VCPUs State Time(s)"
        tool.write_text(f"#!/bin/sh\necho '{header}'\ncat {self._list}\n")
        tool.chmod(0o755)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        text = (node.folder / "config.toml").read_text()
        text = re.sub('db_file = ".*"', f'db_file = "{folder}/exporter.db"', text)
        text = re.sub('log_file = ".*"', f'log_file = "{folder}/exporter.log"', text)
        text = text.replace("port = 0", f"port = {port}")
        (folder / "config.toml").write_text(f'toolstack = "{tool}"\n{text}')
        self.endpoint = f"https://127.0.0.1:{port}"
        self.process = subprocess.Popen(
            [os.environ["DAEMON"], "-config", str(folder / "config.toml")]
        )
        self._node = node

    def wait(self):
        """Until it answers."""
        node, deadline = self._node, time.monotonic() + 60
        while True:
            try:
                Client.login(self.endpoint, node.username, node.password, node.authority)
                return
            except ConnectionError:
                assert self.process.poll() is None and time.monotonic() < deadline
                time.sleep(0.05)

    def runs(self, machine):
        row = f"{machine.id} 3 2048 2 -b---- 120.4\n" if machine else ""
        self._list.write_text(row)

    def stop(self):
        self.process.terminate()
        self.process.wait(30)


def test_a_machine_that_was_migrated_is_followed(node, client, machine, tmp_path):
    faults.clear()
    others = []
    try:
        for name in ("a", "b"):
            (tmp_path / name).mkdir()
            runs = machine if name == "a" else None
            others.append(OtherNode(node, tmp_path / name, runs))
        for daemon in others:
            daemon.wait()
        one, other = others
        endpoints = [other.endpoint, one.endpoint]
        transfer = Transfer(node, client, machine, tmp_path, endpoints)

        def first():
            found = nodes.find(nodes.log_in(transfer.connection), machine.id)
            assert len(found.clients) == 2
            return found.clients[0].endpoint

        assert first() == one.endpoint
        transfer.run()
        transfer.check()
        machine.work()
        one.runs(None)
        other.runs(machine)
        assert first() == other.endpoint
        transfer.run()
        transfer.check()
        assert 0 < faults.written < transfer.size // 4
        # The node that it came from is gone.
        one.stop()
        machine.work()
        transfer.run()
        transfer.check()
        assert 0 < faults.written < transfer.size // 4
    finally:
        for daemon in others:
            daemon.stop()


def test_what_coriolis_hands_over_damaged_is_said_in_the_providers_words(transfer):
    provider, good = transfer.provider, transfer.connection
    for connection in (
        None,
        [],
        {**good, "endpoints": 5},
        {**good, "endpoints": [None]},
        {**good, "endpoints": [""]},
        {**good, "username": 5},
        {**good, "ca_certificate": 5},
        {**good, "ca_certificate": b"x"},
        {**good, "ca_certificate": "-----BEGIN CERTIFICATE-----\nx\n"},
        {**good, "ca_certificate": "/absent.pem"},
    ):
        with pytest.raises(ProviderError):
            provider.validate_connection(None, connection)
    for name, value in (
        ("limit", -1),
        ("limit", "x"),
        ("last_seen_id", 5),
        ("instance_name_pattern", "["),
        ("instance_name_pattern", 5),
    ):
        with pytest.raises(ProviderError, match=f"^{name} is "):
            provider.get_instances(None, good, {}, **{name: value})
    for name, value in (("streams", "2"), ("streams", 0), ("compression", "gzip")):
        transfer.environment = {name: value}
        with pytest.raises(ProviderError, match=f"^{name} is "):
            transfer.run()
    transfer.environment = {}
    transfer.target = None
    with pytest.raises(ProviderError, match="destination"):
        transfer.run()
    transfer.target = TARGET
    volumes_info = transfer.volumes_info
    for state in ("x", [1], {"vm": transfer.machine.id}, {"vm": "other", "replica": None}):
        transfer.volumes_info = copy.deepcopy(volumes_info)
        transfer.volumes_info[0]["replica_state"] = state
        with pytest.raises(ProviderError, match="replica_state"):
            transfer.run()
        with pytest.raises(ProviderError, match="replica_state"):
            provider.delete_replica_source_snapshots(None, good, {}, transfer.volumes_info)
    transfer.volumes_info = copy.deepcopy(volumes_info)
    transfer.volumes_info[0]["disk_id"] = None
    with pytest.raises(ProviderError, match="disk_id"):
        transfer.run()
    assert transfer.client.get_snapshots(transfer.machine.id) == []


def test_damaged_places_are_left_out(transfer):
    """They are a hint."""
    transfer.run()
    for places in (
        "x",
        [{}],
        [5],
        [{"offset": -5, "length": "x"}],
        [{"offset": 10**15, "length": 4096}],
        [{"offset": 1 << 64, "length": 1}],
    ):
        transfer.machine.work()
        for volume in transfer.volumes_info:
            volume["replica_state"]["places"] = places
        transfer.run()
        transfer.check()
        assert 0 < faults.written < transfer.size // 4
