"""A replica on a worker of Coriolis's that is written without Python: by a client, and by the provider."""

import os
import shutil
import subprocess

import pytest
from coriolis.providers.backup_writers import faults
from coriolis_ovm_exporter import HttpsWriter, ReplicationError
from coriolis_ovm_exporter.provider import ProviderError
from test_provider import Transfer
from worker import Worker


@pytest.fixture
def worker(tmp_path):
    worker = Worker(tmp_path / "worker")
    yield worker
    worker.close()


class DirectTransfer(Transfer):
    """A transfer of Coriolis's whose bytes do not pass its own writers."""

    def __init__(self, worker, *rest):
        super().__init__(*rest)
        self.worker = worker
        self.target = worker.connection()
        self.environment = {"native_writer": True, "verify_disk_integrity": True}

    def run(self, keep=True):
        self.worker.written = 0
        self.worker.calls.clear()
        self.worker.jobs.clear()
        try:
            outcome = super().run(keep)
            # A run that breaks off may leave one that it did not wait for.
            assert not self.worker.jobs
            return outcome
        finally:
            assert not self.worker.held
            # Coriolis's code had no part in it.
            assert faults.written == 0

    def check(self):
        super().check()
        assert self.worker.calls.count("checksumJob") >= len(self.volumes_info)


@pytest.fixture
def transfer(worker, node, client, machine, tmp_path):
    faults.clear()
    yield DirectTransfer(worker, node, client, machine, tmp_path)
    faults.clear()


def test_a_transfer_from_its_first_run_to_one_without_base(transfer):
    worker = transfer.worker
    transfer.run()
    transfer.check()
    # Zeroed volumes get no zeros.
    assert 0 < worker.written < transfer.size
    assert {percent for _, percent in transfer.told} > {100}
    # Writes, punches, growth.
    for _ in range(3):
        transfer.machine.work()
        transfer.run()
        transfer.check()
        assert 0 < worker.written < transfer.size // 4

    # Interrupted: the worker refuses in the middle, for good.
    transfer.machine.work()
    worker.fault = lambda call, worker: 507 if call == "write" and worker.written else None
    with pytest.raises(ReplicationError, match="507.*as the test wants it") as raised:
        transfer.run()
    assert raised.value.disk in transfer.machine.disks
    assert worker.written > 0
    assert transfer.labels() == ["coriolis ID copying", "coriolis ID leaving"]
    worker.fault = lambda call, worker: None
    transfer.machine.work()
    transfer.run()
    transfer.check()
    assert worker.written < transfer.size // 4
    assert transfer.labels() == ["coriolis ID holds"]

    # The base is deleted: everything, zeros too, since nobody can tell what the volumes hold.
    transfer.client.delete_all_snapshots(transfer.machine.id)
    transfer.machine.work()
    transfer.run()
    transfer.check()
    assert worker.written == transfer.size


def test_volumes_that_were_exchanged_are_copied_in_full(transfer, caplog):
    transfer.environment["verify_disk_integrity"] = False
    for _ in range(2):
        transfer.run()
        transfer.machine.work()
    # What Coriolis keeps says where it is looked.
    assert all(volume["replica_state"]["places"] for volume in transfer.volumes_info)
    transfer.exchange()
    transfer.run()
    transfer.check()
    assert transfer.worker.written == transfer.size
    assert caplog.text.count("all of it is copied") == 2
    assert "not as the last run has left it" in str(transfer.told)
    transfer.machine.work()
    transfer.run()
    transfer.check()
    assert transfer.worker.written < transfer.size // 4


def test_an_older_copy_of_a_volume_is_copied_in_full(transfer, tmp_path):
    transfer.environment["verify_disk_integrity"] = False
    for number, volume in enumerate(transfer.volumes_info):
        volume["volume_id"] = f"id {number}"
    transfer.run()
    volume = transfer.volumes_info[1]
    shutil.copyfile(volume["volume_dev"], tmp_path / "older")
    disk = transfer.machine.disks[volume["disk_id"]]
    with open(disk, "r+b") as file:
        file.seek(5 << 20)
        file.write(os.urandom(4096))
    transfer.run()
    shutil.copyfile(tmp_path / "older", volume["volume_dev"])
    transfer.machine.work()
    transfer.run()
    transfer.check()
    # Of the other one Coriolis says that it is the same.
    size = disk.stat().st_size
    assert size <= transfer.worker.written < size + (transfer.size - size) // 2


def test_without_checksums_only_a_volumes_id_makes_an_increment(transfer):
    transfer.environment["verify_disk_integrity"] = False
    transfer.worker.fault = lambda call, worker: 404 if call == "checksumJob" else None
    transfer.run()
    transfer.machine.work()
    transfer.run()
    Transfer.check(transfer)
    assert transfer.worker.written == transfer.size
    assert "makes no checksums" in str(transfer.told)
    for number, volume in enumerate(transfer.volumes_info):
        volume["volume_id"] = f"id {number}"
    # It was not said when they were written to.
    transfer.run()
    assert transfer.worker.written == transfer.size
    for _ in range(2):
        transfer.machine.work()
        transfer.run()
        Transfer.check(transfer)
        assert transfer.worker.written < transfer.size // 4
    transfer.volumes_info[0]["volume_id"] = "id 7"
    transfer.run()
    Transfer.check(transfer)
    disk = transfer.machine.disks[transfer.volumes_info[0]["disk_id"]]
    assert transfer.worker.written == disk.stat().st_size


def test_what_passes_is_tried_again(transfer):
    worker = transfer.worker
    left = {"acquire": 1, "write": 3, "checksumJob": 1}

    def fault(call, worker):
        if left.get(call, 0):
            left[call] -= 1
            return "cut" if left[call] == 1 else 500
        return None

    worker.fault = fault
    transfer.run()
    transfer.check()
    assert set(left.values()) == {0}


def test_a_release_that_fails_ends_the_run(transfer):
    transfer.run()
    transfer.machine.work()
    left = ["release"]

    def fault(call, worker):
        if call in left:
            left.remove(call)
            return 500
        return None

    transfer.worker.fault = fault
    with pytest.raises(ReplicationError, match="release the device.*500"):
        transfer.run()
    assert not left
    transfer.run()
    transfer.check()


def test_a_checksum_that_differs_is_not_believed(transfer):
    transfer.run()
    transfer.machine.work()
    transfer.worker.corrupt = True
    with pytest.raises(ReplicationError, match="does not hold what snapshot .* the first at") as it:
        transfer.run()
    assert it.value.disk in transfer.machine.disks
    assert transfer.labels() == ["coriolis ID copying", "coriolis ID wrong"]
    transfer.worker.corrupt = False
    transfer.run()
    transfer.check()
    assert transfer.worker.written == transfer.size


def test_volumes_are_not_zero_after_a_first_run_that_broke_off(transfer):
    transfer.worker.fault = lambda call, worker: 507 if call == "write" and worker.written else None
    with pytest.raises(ReplicationError, match="507"):
        transfer.run()
    transfer.worker.fault = lambda call, worker: None
    transfer.run()
    assert transfer.worker.written == transfer.size
    [left] = [e for e in transfer.client.get_all_snapshots() if e["label"].endswith("copying")]
    transfer.client.delete_snapshot(transfer.machine.id, left["id"])
    transfer.check()


def test_a_ctrl_c_while_the_worker_does_not_answer(transfer):
    transfer.run()
    transfer.machine.work()

    def fault(call, worker):
        if call != "write":
            return None
        worker.fault = lambda call, worker: 503 if call == "write" else None
        os.kill(os.getpid(), 2)
        return 503

    transfer.worker.fault = fault
    with pytest.raises(KeyboardInterrupt):
        transfer.run()
    transfer.worker.fault = lambda call, worker: None
    transfer.machine.work()
    transfer.run()
    transfer.check()
    assert transfer.worker.written < transfer.size // 4


def test_a_worker_that_is_told_of_wrongly(transfer):
    details = transfer.target["connection_details"]
    for wrong, said in (
        ({**details, "certificates": {"ca_crt": "x"}}, "lacks client_crt, client_key"),
        ({}, "lacks ip, port, certificates"),
        ({**details, "certificates": {**details["certificates"], "client_key": "x"}}, "our key"),
    ):
        transfer.target = {"backend": "http_backup_writer", "connection_details": wrong}
        with pytest.raises(ProviderError, match=said):
            transfer.run()


def test_a_clients_replica_on_a_worker(worker, client, machine, tmp_path):
    certificates = {
        "authority": worker.keys / "ca.pem",
        "certificate": (worker.keys / "client.pem").read_bytes(),
        "key": (worker.keys / "client.key").read_text(),
    }
    writers = {}
    for name, disk in machine.disks.items():
        volume = tmp_path / name
        volume.touch()
        os.truncate(volume, disk.stat().st_size + (8 << 20))
        writers[name] = HttpsWriter(worker.endpoint, str(volume), **certificates, in_flight=2)
    state = {}
    # Nobody has said what lies there.
    with pytest.raises(ReplicationError, match="or may, and this replica has never written"):
        client.replicate(machine.id, writers, state)
    assert worker.written == 0
    for how in ("full", "incremental"):
        zeroed = list(machine.disks) if how == "full" else ()
        outcome = client.replicate(machine.id, writers, state, zeroed=zeroed, verify=True)
        assert [disk["how"] for disk in outcome["disks"]] == [how] * 2
        assert [disk["checked"] for disk in outcome["disks"]] == [True] * 2
        for name, disk in machine.disks.items():
            done = subprocess.run(
                ["cmp", "--bytes", str(disk.stat().st_size), str(disk), str(tmp_path / name)]
            )
            assert done.returncode == 0
        machine.work()
    one, other = (tmp_path / name for name in machine.disks)
    for volume in (one, other):
        os.truncate(volume, max(one.stat().st_size, other.stat().st_size))
    one.rename(tmp_path / "between")
    other.rename(one)
    (tmp_path / "between").rename(other)
    worker.written = 0
    with pytest.raises(ReplicationError, match="not as the last run has left it") as raised:
        client.replicate(machine.id, writers, state)
    assert raised.value.disk in machine.disks and worker.written == 0
    outcome = client.replicate(machine.id, writers, state, overwrite=True, verify=True)
    assert [disk["how"] for disk in outcome["disks"]] == ["full"] * 2
    # Another volume, by what its owner says.
    for number, name in enumerate(machine.disks):
        writers[name] = HttpsWriter(
            worker.endpoint, str(tmp_path / name), **certificates, identity=f"id {number}"
        )
    outcome = client.replicate(machine.id, writers, state)
    assert [disk["how"] for disk in outcome["disks"]] == ["incremental"] * 2
    writers[name] = HttpsWriter(
        worker.endpoint, str(tmp_path / name), **certificates, identity="id 7"
    )
    with pytest.raises(ReplicationError, match="this replica has never written"):
        client.replicate(machine.id, writers, state)
    shown = repr(next(iter(writers.values())))
    assert worker.endpoint in shown and "PRIVATE" not in shown


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"endpoint": "http://worker"}, "https://HOST:5566"),
        ({"authority": b"nothing"}, "authority"),
        ({"key": b"nothing"}, "our key"),
        ({"packing": "xz"}, "auto, always, never"),
        ({"patience": -1.0}, "negative"),
        ({"patience": float("nan")}, "^patience is nan"),
        ({"in_flight": 0}, "^in_flight is 0"),
        ({"in_flight": 65}, "^in_flight is 65"),
        ({"chunk": 1}, "^chunk is 1"),
        ({"chunk": 1 << 40}, "^chunk is "),
        ({"device": ""}, "^device is empty"),
        ({"device": "/dev/vdb\0"}, "^device is .*NUL"),
    ],
)
def test_what_cannot_be_used_is_said_at_once(worker, change, said):
    good = {
        "endpoint": "https://worker",
        "device": "/dev/vdb",
        "authority": worker.keys / "ca.pem",
        "certificate": worker.keys / "client.pem",
        "key": worker.keys / "client.key",
    }
    HttpsWriter(**good)
    with pytest.raises(ValueError, match=said):
        HttpsWriter(**{**good, **change})
