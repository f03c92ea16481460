"""Whole runs."""

import contextlib
import json
import os
import signal
import threading
import time

import pytest
from coriolis_ovm_exporter import HTTPError, ReplicationError


def the_only_snapshot(client, machine):
    [found] = client.get_snapshots(machine.id)
    return found["id"]


def files(machine, replica, mode="r+b"):
    """An open file for each disk."""
    for name in machine.disks:
        (replica / name).touch()
    return {name: open(replica / name, mode) for name in machine.disks}


def test_a_machine_is_copied_to_files_and_followed(client, machine, replica, identical):
    state = replica.parent / "state.json"
    first = client.replicate(machine.id, replica, state)
    assert {disk["how"] for disk in first["disks"]} == {"full"}
    identical(replica)
    machine.work()
    second = client.replicate(machine.id, replica, state, verify=True)
    assert {disk["how"] for disk in second["disks"]} == {"incremental"}
    assert {disk["checked"] for disk in second["disks"]} == {True}
    assert second["previous"] == first["snapshot"]
    identical(replica)
    assert the_only_snapshot(client, machine) == second["snapshot"]


def test_paths_file_objects_and_a_dictionary(client, machine, replica, identical):
    state = {}
    one, other = machine.disks
    (replica / other).touch()
    for _ in range(3):
        with open(replica / other, "r+b") as file:
            outcome = client.replicate(machine.id, {one: replica / one, other: file}, state)
        identical(replica)
        assert state["base"] == outcome["snapshot"] == the_only_snapshot(client, machine)
        # As it would lie in somebody's database.
        state = json.loads(json.dumps(state))
        machine.work()
    assert {disk["how"] for disk in outcome["disks"]} == {"incremental"}
    # Without the state, files that hold something are somebody else's.
    with open(replica / other, "r+b") as file, pytest.raises(ReplicationError, match="overwrit"):
        client.replicate(machine.id, {one: replica / one, other: file}, {})


def test_a_file_object_is_compared_where_the_base_is_gone(client, machine, replica, identical):
    state = {}
    with contextlib.ExitStack() as stack:
        writers = {n: stack.enter_context(f) for n, f in files(machine, replica).items()}
        client.replicate(machine.id, writers, state)
        machine.work()
        client.delete_all_snapshots(machine.id)
        outcome = client.replicate(machine.id, writers, state, verify=True)
    assert {disk["how"] for disk in outcome["disks"]} == {"digests"}
    assert {disk["checked"] for disk in outcome["disks"]} == {True}
    identical(replica)


class Tape:
    """Seek and write, and nothing else, as Coriolis's writers have it."""

    def __init__(self, path):
        path.touch()
        self._path = path
        self.writes = []
        self.threads = set()
        self._offset = 0

    def seek(self, offset):
        self._offset = offset

    def write(self, data):
        assert type(data) is bytes
        self.threads.add(threading.get_ident())
        self.writes.append((self._offset, len(data)))
        with open(self._path, "r+b") as file:
            file.seek(self._offset)
            file.write(data)


def test_zeros_are_written_to_who_cannot_zero_on_this_thread(client, machine, replica, identical):
    tapes = {name: Tape(replica / name) for name in machine.disks}
    state = {}
    outcome = client.replicate(machine.id, tapes, state)
    identical(replica)
    for disk in outcome["disks"]:
        tape = tapes[disk["name"]]
        # Every byte, once: nobody has said that it is zero.
        assert sum(length for _, length in tape.writes) == disk["size"]
        assert disk["data"] + disk["zeros"] == disk["size"]
        assert tape.threads == {threading.get_ident()}
        tape.writes.clear()
    machine.work()
    outcome = client.replicate(machine.id, tapes, state)
    identical(replica)
    for disk in outcome["disks"]:
        assert disk["how"] == "incremental" and disk["zeros"] > 0
        written = sum(length for _, length in tapes[disk["name"]].writes)
        assert written == disk["data"] + disk["zeros"] < disk["size"] // 4


def test_zeros_are_left_out_where_the_target_is_zero(client, machine, replica, identical):
    tapes = {name: Tape(replica / name) for name in machine.disks}
    for name, path in machine.disks.items():
        os.truncate(replica / name, path.stat().st_size)
    outcome = client.replicate(machine.id, tapes, {}, zeroed=list(tapes))
    identical(replica)
    for disk in outcome["disks"]:
        assert disk["zeros_skipped"] > 0
        written = sum(length for _, length in tapes[disk["name"]].writes)
        assert written == disk["data"] < disk["size"]


class Opened:
    """A writer that tells of its errors when it is closed."""

    log = []
    error = None

    def __init__(self, path):
        self._path = path

    def __enter__(self):
        self.log.append("open")
        return Tape(self._path)

    def __exit__(self, kind, error, traceback):
        self.log.append(kind.__name__ if kind else "closed")
        if self.error is not None:
            raise self.error


def test_the_base_advances_only_when_every_writer_has_closed(
    client, machine, replica, identical, monkeypatch
):
    monkeypatch.setattr(Opened, "log", [])
    state = {}
    seen = []

    def writers(disk):
        assert set(disk) == {"name", "size", "path"}
        return lambda: Opened(replica / disk["name"])

    def progress(event):
        if event["event"] == "advanced":
            seen.append(list(Opened.log))

    first = client.replicate(machine.id, writers, state, progress=progress)
    assert seen == [["open", "open", "closed", "closed"]] or seen == [
        ["open", "closed", "open", "closed"]
    ]
    identical(replica)
    machine.work()
    Opened.log.clear()
    monkeypatch.setattr(Opened, "error", OSError("the worker answers 500"))
    with pytest.raises(OSError, match="the worker answers 500"):
        client.replicate(machine.id, writers, state)
    assert state["base"] == first["snapshot"]
    # As many were left as were entered.
    assert Opened.log.count("open") * 2 == len(Opened.log) > 0
    monkeypatch.setattr(Opened, "error", None)
    machine.work()
    outcome = client.replicate(machine.id, writers, state)
    # The half applied snapshot first, then a fresh one.
    assert outcome["finished"] not in (None, outcome["snapshot"])
    identical(replica)
    assert the_only_snapshot(client, machine) == outcome["snapshot"]


class Trouble(Exception):
    """Of the caller's own."""


@pytest.mark.parametrize("where", ["writer", "progress", "save", "signal"])
def test_an_exception_ends_the_run_and_the_next_one_goes_on(
    client, machine, replica, identical, where
):
    tapes = {name: Tape(replica / name) for name in machine.disks}
    kept = {}
    client.replicate(machine.id, tapes, kept)
    base = kept["base"]
    machine.work()
    calls = {"writes": 0, "is_off": False}

    def trouble(what):
        if calls["is_off"] or what != where:
            return
        if what == "signal":
            # Heard where Python is, or where it waits for the run.
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0)
        else:
            raise Trouble(what)

    class Writer(Tape):
        def write(self, data):
            calls["writes"] += 1
            if calls["writes"] == 20:
                trouble("writer")
                trouble("signal")
            super().write(data)

    class Keeper:
        def load(self):
            return kept

        def save(self, state):
            if (state["pending"] or {}).get("dirty"):
                trouble("save")
            kept.clear()
            kept.update(state)

    def progress(event):
        if event["event"] == "disk_started":
            trouble("progress")

    writers = {name: Writer(replica / name) for name in machine.disks}
    expected = KeyboardInterrupt if where == "signal" else Trouble
    with pytest.raises(expected):
        client.replicate(machine.id, writers, Keeper(), progress=progress)
    assert kept["base"] == base
    calls["is_off"] = True
    machine.work()
    outcome = client.replicate(machine.id, writers, Keeper(), progress=progress)
    identical(replica)
    assert {disk["how"] for disk in outcome["disks"]} == {"incremental"}
    assert the_only_snapshot(client, machine) == outcome["snapshot"]


def test_a_signal_ends_a_run_that_python_has_nothing_to_do_with(
    client, machine, replica, identical
):
    """Paths are written without Python: the waiting thread hears the signal."""
    state = {}
    seen = []

    def progress(event):
        # The first bytes are there.
        if event["event"] == "disk_advanced" and not seen:
            seen.append(event)
            signal.setitimer(signal.ITIMER_REAL, 0.001)

    def handler(number, frame):
        raise Trouble("alarm")

    before = signal.signal(signal.SIGALRM, handler)
    try:
        with pytest.raises(Trouble):
            client.replicate(machine.id, replica, state, progress=progress)
    finally:
        signal.signal(signal.SIGALRM, before)
    assert state["base"] is None and seen
    outcome = client.replicate(machine.id, replica, state)
    identical(replica)
    assert the_only_snapshot(client, machine) == outcome["snapshot"]


def test_other_threads_run_meanwhile(client, machine, replica):
    """The GIL is held while Python is called, and at no other time."""
    counted = [0]
    is_over = threading.Event()

    def count():
        while not is_over.is_set():
            counted[0] += 1
            time.sleep(0.001)

    thread = threading.Thread(target=count)
    thread.start()
    try:
        begun, at_first = time.monotonic(), counted[0]
        client.replicate(machine.id, replica, {})
        passed = time.monotonic() - begun
    finally:
        is_over.set()
        thread.join()
    # A thread that gets the GIL when it wants it wakes several hundred times a second; one that waits
    # for the whole run, once.
    assert counted[0] - at_first > 20 * passed > 0


def test_progress_tells_a_run(client, machine, replica):
    events = []
    outcome = client.replicate(machine.id, replica, {}, progress=events.append)
    names = [event["event"] for event in events]
    assert names[0] == "snapshot_taken" and "advanced" in names
    for name, disk in machine.disks.items():
        of_disk = [event for event in events if event.get("disk") == name]
        assert of_disk[0] == {
            "event": "disk_started",
            "disk": name,
            "size": disk.stat().st_size,
            "how": "full",
            "why": of_disk[0]["why"],
        }
        assert of_disk[-1]["event"] == "disk_finished"
    assert events[0]["snapshot"] == outcome["snapshot"]


def test_what_cannot_be_a_run_is_refused(client, machine, replica):
    one, other = machine.disks
    with pytest.raises(ReplicationError) as caught:
        client.replicate(machine.id, {one: replica / one}, {})
    assert caught.value.disk == other and not caught.value.transient
    with pytest.raises(TypeError, match="neither a path"):
        client.replicate(machine.id, {one: 5, other: 5}, {})
    with pytest.raises(TypeError, match="neither a directory"):
        client.replicate(machine.id, 5, {})
    with pytest.raises(TypeError, match="load and save"):
        client.replicate(machine.id, replica, 5)
    with open(replica / "log", "ab") as file, pytest.raises(ValueError, match="appends"):
        client.replicate(machine.id, {one: file, other: file}, {})
    with pytest.raises(ValueError, match="zstd"):
        client.replicate(machine.id, replica, {}, compression="gzip")
    with pytest.raises(ReplicationError) as caught:
        client.replicate("absent", replica, {})
    assert isinstance(caught.value.__cause__, HTTPError)
    assert caught.value.__cause__.status_code == 404
    assert client.get_snapshots(machine.id) == []
