"""The first generation's class, and what was added to it."""

import errno
import hashlib
import inspect
import os
import subprocess

import pytest
import requests
from coriolis_ovm_exporter import Client, HTTPError, ProtocolError, TransportError

ABSENT = "11111111-2222-4333-8444-555555555555"


def test_it_has_the_signatures_of_the_first_generations_class():
    def parameters(name):
        found = inspect.signature(getattr(Client, name)).parameters.values()
        return [
            (one.name, one.default) if one.default is not one.empty else one.name
            for one in found
            if one.name != "self"
        ]

    for name, expected in {
        "__init__": ["endpoint", "token", ("verify", None)],
        "login": ["endpoint", "username", "password", ("verify", None)],
        "get_vms": [],
        "get_vm": ["vmID"],
        "get_snapshots": ["vmID"],
        "get_snapshot": ["vmID", "snapshotID", ("compare_to", None), ("squash", False)],
        "get_disk_size": ["vmID", "snapID", "diskID"],
        "download_chunk": ["vmID", "snapID", "diskID", "offset", "length", ("stream", False)],
        "delete_snapshot": ["vmID", "snapshotID"],
        "delete_all_snapshots": ["vmID"],
    }.items():
        assert parameters(name) == expected, name
    assert parameters("create_snapshot")[0] == "vmID"
    assert all(isinstance(one, tuple) for one in parameters("create_snapshot")[1:])


def test_a_disk_is_copied_as_code_for_that_class_does_it(client, machine, replica, identical):
    created = client.create_snapshot(machine.id)
    assert [found["id"] for found in client.get_snapshots(machine.id)] == [created["id"]]
    assert client.get_vm(machine.id)["snapshots"] == [created["id"]]
    base = None
    for _ in range(2):
        snapshot = client.get_snapshot(machine.id, created["id"], compare_to=base, squash=True)
        for disk in snapshot["disks"]:
            ids = (machine.id, created["id"], disk["name"])
            size = client.get_disk_size(*ids)
            assert size == machine.disks[disk["name"]].stat().st_size
            path = replica / disk["name"]
            path.touch()
            with open(path, "r+b") as copy:
                for chunk in disk["chunks"]:
                    copy.seek(chunk["start"])
                    copy.write(client.download_chunk(*ids, chunk["start"], chunk["length"]))
                copy.truncate(size)
        identical(replica)
        machine.work()
        base, created = created["id"], client.create_snapshot(machine.id)
    assert client.delete_snapshot(machine.id, base) is None
    assert client.delete_snapshot(machine.id, base) is None
    assert client.delete_all_snapshots(machine.id) is None
    assert client.get_snapshots(machine.id) == []


def test_neighbours_stay_apart_unless_squashed(client, machine):
    created = client.create_snapshot(machine.id)
    joined = client.get_snapshot(machine.id, created["id"], squash=True)
    apart = client.get_snapshot(machine.id, created["id"])
    for one, other in zip(joined["disks"], apart["disks"]):
        assert len(one["chunks"]) <= len(other["chunks"])
        total = {sum(c["length"] for c in disk["chunks"]) for disk in (one, other)}
        assert len(total) == 1


def test_errors_are_those_of_requests(node, client, machine):
    with pytest.raises(requests.HTTPError) as caught:
        client.get_snapshot(machine.id, ABSENT)
    assert isinstance(caught.value, HTTPError)
    assert caught.value.response.status_code == 404
    assert set(caught.value.response.json()) >= {"error", "details"}
    assert ABSENT in str(caught.value)
    with pytest.raises(requests.HTTPError) as caught:
        Client.login(node.endpoint, node.username, "wrong", verify=node.authority)
    assert caught.value.status_code == 401
    with pytest.raises(requests.HTTPError) as caught:
        Client(node.endpoint, "no token", verify=node.authority).get_vms()
    assert caught.value.status_code == 401
    # The stand-in node's authority is none of the platform's.
    with pytest.raises(requests.ConnectionError) as caught:
        Client.login(node.endpoint, node.username, node.password)
    assert isinstance(caught.value, TransportError)
    assert "certificate" in str(caught.value)
    with pytest.raises(requests.ConnectionError) as caught:
        Client.login("https://127.0.0.1:1", "admin", "secret", verify=False)
    assert isinstance(caught.value, ConnectionError)
    with pytest.raises(ProtocolError):
        Client.login("http://127.0.0.1:1", "admin", "secret", verify=False)
    with pytest.raises(FileNotFoundError):
        Client.login(node.endpoint, "admin", "secret", verify="/absent.pem")
    with pytest.raises(ValueError, match="UUID"):
        client.get_snapshot(machine.id, "../../etc")


def test_certificates_are_checked_unless_told_not_to(node, monkeypatch):
    assert Client.login(node.endpoint, node.username, node.password, verify=False).get_vms()
    # As requests does.
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", node.authority)
    client = Client.login(node.endpoint, node.username, node.password)
    assert Client(node.endpoint + "/", client.token).get_vms() == client.get_vms()


def test_a_chunk_can_be_streamed(client, machine):
    created = client.create_snapshot(machine.id)
    name, path = next(iter(machine.disks.items()))
    place = (machine.id, created["id"], name, 4096, 3_000_001)
    with open(path, "rb") as disk:
        disk.seek(4096)
        expected = disk.read(3_000_001)
    with client.download_chunk(*place, stream=True) as answer:
        answer.raise_for_status()
        pieces = list(answer.iter_content(chunk_size=65536))
    assert {len(piece) for piece in pieces[:-1]} == {65536}
    assert b"".join(pieces) == expected
    assert client.download_chunk(*place, stream=True).content == expected
    assert client.download_chunk(*place) == expected


def test_ranges_and_a_delta_say_the_same_and_make_the_disk(client, machine):
    first = client.create_snapshot(machine.id)
    before = {name: path.read_bytes() for name, path in machine.disks.items()}
    machine.work()
    second = client.create_snapshot(machine.id)
    for name, path in machine.disks.items():
        place = (machine.id, second["id"], name)
        ranges = list(client.ranges(*place, compare_to=first["id"]))
        made = {}
        for how in ("ranges", "delta"):
            copy = bytearray(before[name])
            size = client.get_disk_size(*place)
            copy = copy[:size] + bytes(max(0, size - len(copy)))
            if how == "ranges":
                for one in ranges:
                    end = one["start"] + one["length"]
                    is_zero = one["kind"] == "zero"
                    copy[one["start"] : end] = (
                        bytes(one["length"])
                        if is_zero
                        else client.download_chunk(*place, one["start"], one["length"])
                    )
            else:
                with client.delta(*place, compare_to=first["id"], compression="lz4") as delta:
                    assert delta.header["base"] == first["id"]
                    assert delta.header["size"] == size
                    for item in delta:
                        if item.kind != "reached":
                            end = item.offset + item.length
                            copy[item.offset : end] = item.data or bytes(item.length)
                    assert list(delta) == []
            made[how] = hashlib.sha256(copy).hexdigest()
        expected = hashlib.sha256(path.read_bytes()).hexdigest()
        assert made == {"ranges": expected, "delta": expected}
        assert client.digests(*place)["whole"] == expected
        assert sum(one["length"] for one in ranges) < path.stat().st_size // 4
    blocks = client.digests(*place, algorithm="blake3", block=1 << 20)["digests"]
    assert len(blocks) == -(-size // (1 << 20))
    with pytest.raises(ValueError, match="sha256"):
        client.digests(*place, algorithm="md5")
    with pytest.raises(HTTPError):
        list(client.ranges(*place, compare_to=ABSENT))
    full = client.ranges(*place, compare_to=ABSENT, full_without_base=True)
    assert sum(one["length"] for one in full) == size


def test_labels_and_terms_can_be_set_and_changed(client, machine):
    created = client.create_snapshot(machine.id, label="nightly", expires_in=3600)
    [entry] = [one for one in client.get_all_snapshots() if one["id"] == created["id"]]
    assert entry["label"] == "nightly" and entry["expires_at"]
    client.change_snapshot(machine.id, created["id"], label="kept", expires_in=None)
    [entry] = [one for one in client.get_all_snapshots() if one["id"] == created["id"]]
    assert entry["label"] == "kept" and entry["expires_at"] is None
    assert client.get_node()["repositories"]


def test_a_forked_process_is_told_to_log_in_again(node):
    client = node.client()
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            client.get_vms()
        except RuntimeError as error:
            os.write(write, str(error).encode())
        # Its threads are in the other process: nothing waits for them.
        del client
        os._exit(0)
    os.close(write)
    assert os.waitpid(child, 0)[1] == 0
    with os.fdopen(read) as told:
        assert "forked" in told.read()


def test_without_requests_and_without_coriolis():
    """In an environment that has nothing but the wheel."""
    script = """
import coriolis_ovm_exporter, importlib.util
assert importlib.util.find_spec("requests") is None
assert importlib.util.find_spec("coriolis") is None
from coriolis_ovm_exporter.provider import ExportProvider
assert issubclass(coriolis_ovm_exporter.HTTPError, OSError)
try:
    coriolis_ovm_exporter.Client.login("https://127.0.0.1:1", "a", "b", verify=False)
except ConnectionError as error:
    assert isinstance(error, coriolis_ovm_exporter.TransportError)
    print("refused", coriolis_ovm_exporter.__version__)
try:
    ExportProvider().shutdown_instance(None, {}, {}, "web")
except coriolis_ovm_exporter.ExporterError as error:
    print(error)
"""
    done = subprocess.run(
        [os.environ["BARE_PYTHON"], "-c", script], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("refused 0.") and "cannot be shut down" in done.stdout


def test_errno_is_there_for_what_derives_from_oserror(client, machine):
    with pytest.raises(OSError) as caught:
        client.get_vm("absent")
    assert caught.value.errno is None or caught.value.errno in errno.errorcode
