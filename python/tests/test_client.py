"""The first generation's class, and what was added to it."""

import errno
import hashlib
import inspect
import os
import subprocess
from datetime import timedelta
from pathlib import Path

import pytest
import requests
from coriolis_ovm_exporter import (
    Client,
    HTTPError,
    HttpsWriter,
    ProtocolError,
    TransportError,
)

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
        found = parameters(name)
        assert found[: len(expected)] == expected, name
        # What was added may be left out.
        assert all(isinstance(one, tuple) for one in found[len(expected) :]), name
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


def test_what_is_allocated_is_left_out_where_nobody_wants_it(client, machine):
    created = client.create_snapshot(machine.id, chunks=False)
    found = client.get_snapshot(machine.id, created["id"], chunks=False)
    changed = client.change_snapshot(machine.id, created["id"], label="a", chunks=False)
    assert changed["label"] == "a"
    for snapshot in (created, found, changed):
        sizes = {disk["name"]: disk["size"] for disk in snapshot["disks"]}
        assert sizes == {name: path.stat().st_size for name, path in machine.disks.items()}
        assert not any(disk["chunks"] for disk in snapshot["disks"])
    for snapshot in (
        client.create_snapshot(machine.id),
        client.get_snapshot(machine.id, created["id"]),
        client.change_snapshot(machine.id, created["id"], label="b"),
    ):
        assert all(disk["chunks"] for disk in snapshot["disks"])
    with pytest.raises(ValueError, match="chunks=False leaves out what compare_to asks for"):
        client.get_snapshot(machine.id, created["id"], compare_to=ABSENT, chunks=False)
    for call in (
        lambda: client.create_snapshot(machine.id, chunks="no"),
        lambda: client.get_snapshot(machine.id, created["id"], chunks=0),
        lambda: client.change_snapshot(machine.id, created["id"], chunks=None),
    ):
        with pytest.raises(TypeError, match="^chunks is "):
            call()


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
    with pytest.raises(requests.exceptions.SSLError) as caught:
        Client.login(node.endpoint, node.username, node.password)
    assert isinstance(caught.value, requests.ConnectionError)
    assert isinstance(caught.value, ConnectionError)
    assert isinstance(caught.value, TransportError)
    assert "certificate" in str(caught.value)
    with pytest.raises(requests.ConnectionError) as caught:
        Client.login("https://127.0.0.1:1", "admin", "secret", verify=False)
    assert isinstance(caught.value, ConnectionError)
    assert not isinstance(caught.value, requests.exceptions.SSLError)
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


def test_the_end_of_a_disk_is_handed_on(client, machine):
    created = client.create_snapshot(machine.id)
    name, path = next(iter(machine.disks.items()))
    place = (machine.id, created["id"], name)
    size = path.stat().st_size
    tail = path.read_bytes()[-10:]
    assert client.download_chunk(*place, size - 10, 4096) == tail
    with client.download_chunk(*place, size - 10, 4096, stream=True) as answer:
        assert answer.headers["Content-Length"] == "10"
        assert answer.content == tail
    with pytest.raises(HTTPError) as caught:
        client.download_chunk(*place, size, 1)
    assert caught.value.status_code == 416


def test_a_stream_that_was_closed_does_not_look_complete(client, machine):
    created = client.create_snapshot(machine.id)
    name, path = next(iter(machine.disks.items()))
    place = (machine.id, created["id"], name)
    delta = client.delta(*place)
    next(delta)
    delta.close()
    with pytest.raises(ValueError, match="not all of it"):
        list(delta)
    with client.download_chunk(*place, 0, 3 << 20, stream=True) as download:
        pass
    with pytest.raises(ValueError, match="not all of it"):
        download.content  # noqa: B018
    with pytest.raises(ValueError, match="not all of it"):
        list(download.iter_content(4096))
    # One that has ended stays so.
    with client.delta(*place) as delta:
        assert list(delta)
    assert list(delta) == []


def test_content_is_kept_and_nothing_of_it_is_lost(client, machine):
    created = client.create_snapshot(machine.id)
    name, path = next(iter(machine.disks.items()))
    place = (machine.id, created["id"], name, 0, 100_003)
    expected = path.read_bytes()[:100_003]
    answer = client.download_chunk(*place, stream=True)
    assert answer.content == expected == answer.content
    assert b"".join(answer.iter_content(7)) == expected == b"".join(answer.iter_content(None))
    answer = client.download_chunk(*place, stream=True)
    assert next(answer.iter_content(10)) == expected[:10]
    assert answer.content == expected[10:]
    answer = client.download_chunk(*place, stream=True)
    assert b"".join(answer.iter_content(4096)) == expected
    with pytest.raises(RuntimeError, match="iter_content"):
        answer.content  # noqa: B018
    for size, kind in ((-1, ValueError), (0, ValueError), ("1", TypeError), (True, TypeError)):
        with pytest.raises(kind, match="chunk_size"):
            client.download_chunk(*place, stream=True).iter_content(size)


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


class Bytes:
    """A path of another kind than text."""

    def __fspath__(self):
        return b"/absent.pem"


def test_a_number_is_no_path(node, tmp_path):
    """It would be taken for a file that is open, and closed."""
    read, write = os.pipe()
    pem = Path(node.authority).read_bytes()
    try:
        for number in (read, write, 0, 1):
            with pytest.raises(TypeError, match="^verify is .*path"):
                Client(node.endpoint, "token", verify=number)
            with pytest.raises(TypeError, match="^verify is .*path"):
                Client.login(node.endpoint, node.username, node.password, verify=number)
            for name in ("authority", "certificate", "key"):
                keys = {"authority": pem, "certificate": pem, "key": pem, name: number}
                with pytest.raises(TypeError, match=f"^{name} is .*path"):
                    HttpsWriter("https://worker", "/dev/vdb", **keys)
        os.fstat(read), os.fstat(write), os.fstat(0), os.fstat(1)
    finally:
        os.close(read)
        os.close(write)
    for path in (b"/absent.pem", Bytes()):
        with pytest.raises(TypeError, match="^verify is .*str"):
            Client(node.endpoint, "token", verify=path)
    for content in (b"", b"nothing", b"-----BEGIN CERTIFICATE-----\nx\n"):
        (tmp_path / "ca.pem").write_bytes(content)
        with pytest.raises(ValueError, match="PEM|certificate"):
            Client(node.endpoint, "token", verify=tmp_path / "ca.pem")
    with pytest.raises(ValueError, match="^endpoint is empty"):
        Client("", "token")


@pytest.mark.parametrize(
    ("call", "given"),
    [
        ("download_chunk", {"offset": -1}),
        ("download_chunk", {"offset": 1 << 64}),
        ("download_chunk", {"offset": None}),
        ("download_chunk", {"offset": 0.0}),
        ("download_chunk", {"length": 0}),
        ("download_chunk", {"length": 1 << 70}),
        ("ranges", {"offset": None}),
        ("ranges", {"offset": -1}),
        ("ranges", {"full_without_base": "no"}),
        ("delta", {"offset": "0"}),
        ("delta", {"end": -1}),
        ("delta", {"end": 1 << 64}),
        ("digests", {"block": -1}),
        ("digests", {"block": 1.5}),
    ],
)
def test_where_in_a_disk_is_said_in_bytes(client, call, given):
    """And what is not is refused by the call, with the argument's name."""
    [(name, value)] = given.items()
    place = {"vmID": "vm", "snapID": ABSENT, "diskID": "disk"}
    if call == "download_chunk":
        place.update(offset=0, length=1)
    kind = ValueError if isinstance(value, int) else TypeError
    with pytest.raises(kind, match=f"^{name} is "):
        getattr(client, call)(**{**place, **given})


@pytest.mark.parametrize("id", ["", ".", "..", "a\0b", "\ud800", None, 5])
def test_an_id_leads_to_nothing_else(client, id):
    kind = ValueError if isinstance(id, str) else TypeError
    for name in (
        "get_vm",
        "get_snapshots",
        "create_snapshot",
        "delete_all_snapshots",
    ):
        with pytest.raises(kind, match="^vmID is "):
            getattr(client, name)(id)
    for name in ("get_snapshot", "delete_snapshot", "change_snapshot"):
        with pytest.raises(kind, match="^vmID is "):
            getattr(client, name)(id, ABSENT)
    with pytest.raises(kind, match="^diskID is "):
        client.get_disk_size("vm", ABSENT, id)
    with pytest.raises(kind, match="^vm is "):
        client.replicate(id, "/absent", {})


@pytest.mark.parametrize(
    ("name", "value", "kind"),
    [
        ("streams", None, TypeError),
        ("streams", 0, ValueError),
        ("streams", 65, ValueError),
        ("streams", True, TypeError),
        ("parallel_disks", 0, ValueError),
        ("parallel_disks", 10**6, ValueError),
        ("patience", float("nan"), ValueError),
        ("patience", float("inf"), ValueError),
        ("patience", -1, ValueError),
        ("patience", "1", TypeError),
        ("expires_in", float("nan"), TypeError),
        ("expires_in", 0, ValueError),
        ("expires_in", timedelta(seconds=-5), ValueError),
        ("label", "\ud800", ValueError),
        ("label", 5, TypeError),
        ("consistency", "freeze", ValueError),
        ("refine", None, TypeError),
        ("refine", "all", ValueError),
        ("compression", "gzip", ValueError),
        ("verify", 1, TypeError),
        ("overwrite", None, TypeError),
        ("catch_up", "false", TypeError),
        ("nodes", ["x"], TypeError),
        ("nodes", None, TypeError),
        ("disks", "0004fb0000120000.img", TypeError),
        ("disks", [5], TypeError),
        ("disks", 5, TypeError),
    ],
)
def test_what_an_option_cannot_be_is_said_with_its_name(client, machine, replica, name, value, kind):
    with pytest.raises(kind, match=rf"^{name}(\[0\])? is ") as caught:
        client.replicate(machine.id, replica, {}, **{name: value})
    assert not isinstance(caught.value, OverflowError)
    assert client.get_snapshots(machine.id) == []
    assert list(replica.iterdir()) == []


def test_what_a_snapshot_cannot_be_given_is_said_with_its_name(client):
    for given in ({"label": "\ud800"}, {"expires_in": -1}, {"disks": "disk"}, {"consistency": "x"}):
        [name] = given
        with pytest.raises((TypeError, ValueError), match=f"^{name} is "):
            client.create_snapshot("vm", **given)
    with pytest.raises(TypeError, match="^colour cannot be changed"):
        client.change_snapshot("vm", ABSENT, colour="red")
