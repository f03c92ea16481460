"""Whole runs."""

import contextlib
import io
import json
import os
import signal
import tempfile
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
        # All but the last block of the zeros at the end.
        assert written == disk["data"] + disk["zeros"] < disk["size"]
        assert disk["zeros"] <= 4096


class Short(Tape):
    """Has no room for all of the disk."""

    def __init__(self, path, room):
        super().__init__(path)
        self._room = room

    def write(self, data):
        if self._offset + len(data) > self._room:
            raise OSError("no room")
        super().write(data)


def test_a_place_without_room_for_the_zeros_at_the_end_is_no_success(
    client, machine, replica, identical
):
    sizes = {name: path.stat().st_size + (1 << 20) for name, path in machine.disks.items()}
    for name, path in machine.disks.items():
        os.truncate(path, sizes[name])
    state = {}
    short = {name: Short(replica / name, size - 4096) for name, size in sizes.items()}
    for writers in (short, {name: lambda one=one: one for name, one in short.items()}):
        with pytest.raises(OSError, match="no room"):
            client.replicate(machine.id, writers, state, zeroed=list(sizes))
        assert state["base"] is None
    for name, size in sizes.items():
        os.truncate(replica / name, size)
    tapes = {name: Tape(replica / name) for name in sizes}
    client.replicate(machine.id, tapes, state, zeroed=list(sizes))
    identical(replica)
    # Room is made by what is written.
    memory = {name: io.BytesIO() for name in sizes}
    client.replicate(machine.id, memory, {}, zeroed=list(sizes))
    for name, file in memory.items():
        assert file.getvalue() == machine.disks[name].read_bytes()


@pytest.mark.parametrize(
    "told",
    [
        lambda left: -1,
        lambda left: -left,
        lambda left: left + 1,
        lambda left: 1 << 40,
        lambda left: 0,
        lambda left: True,
        lambda left: float(left),
    ],
)
@pytest.mark.parametrize("is_made", [False, True])
def test_a_writer_that_says_nonsense_ends_the_run(client, machine, replica, told, is_made):
    class Odd(Tape):
        def write(self, data):
            super().write(data[:-1])
            return told(len(data))

    state = {}
    tapes = {name: Odd(replica / name) for name in machine.disks}
    writers = {n: (lambda tape=tape: tape) for n, tape in tapes.items()} if is_made else tapes
    with pytest.raises((OSError, TypeError), match="it says that it took|how many bytes"):
        client.replicate(machine.id, writers, state)
    assert state["base"] is None
    assert sum(len(tape.writes) for tape in tapes.values()) == 1


def test_a_writer_may_take_some(client, machine, replica, identical):
    class Sip(Tape):
        def write(self, data):
            count = min(len(data), 77_777)
            super().write(data[:count])
            self._offset += count
            return count

    client.replicate(machine.id, {name: Sip(replica / name) for name in machine.disks}, {})
    identical(replica)


@pytest.mark.parametrize("mode", ["wb", "w+b"])
def test_what_is_emptied_when_it_is_opened_is_copied_in_full(
    client, machine, replica, identical, mode
):
    state = {}
    writers = {name: lambda name=name: open(replica / name, mode) for name in machine.disks}
    client.replicate(machine.id, writers, state)
    identical(replica)
    for _ in range(2):
        outcome = client.replicate(machine.id, writers, state)
        identical(replica)
        assert {disk["how"] for disk in outcome["disks"]} == {"full"}
        assert all("was left with" in disk["why"] for disk in outcome["disks"])
        machine.work()
    # What does not empty them gets what has changed.
    kept = {name: lambda name=name: open(replica / name, "r+b") for name in machine.disks}
    outcome = client.replicate(machine.id, kept, state)
    identical(replica)
    assert {disk["how"] for disk in outcome["disks"]} == {"incremental"}
    # Another file under the name, of the same size.
    machine.work()
    for name in machine.disks:
        size = (replica / name).stat().st_size
        (replica / "new").touch()
        os.truncate(replica / "new", size)
        os.rename(replica / "new", replica / name)
    outcome = client.replicate(machine.id, kept, state)
    identical(replica)
    assert all("another file" in disk["why"] for disk in outcome["disks"])


def test_a_second_part_does_not_build_on_what_was_emptied(client, machine, replica, identical):
    state = {}
    writers = {name: lambda name=name: open(replica / name, "wb") for name in machine.disks}

    def progress(event):
        if event["event"] == "disk_advanced" and event["done"] > 1 << 20:
            raise Trouble("progress")

    with pytest.raises(Trouble):
        client.replicate(machine.id, writers, state, progress=progress)
    machine.work()
    outcome = client.replicate(machine.id, writers, state)
    assert outcome["finished"] is not None
    identical(replica)
    assert the_only_snapshot(client, machine) == outcome["snapshot"]


def test_what_appends_is_refused_however_it_was_opened(client, machine, replica):
    def opened(name):
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND
        return os.fdopen(os.open(replica / name, flags), "r+b")

    for make in (opened, lambda name: open(replica / name, "ab")):
        state = {}
        writers = {name: lambda name=name: make(name) for name in machine.disks}
        with pytest.raises(ValueError, match="appends"):
            client.replicate(machine.id, writers, state)
        assert state["base"] is None
        with contextlib.ExitStack() as stack:
            direct = {name: stack.enter_context(make(name)) for name in machine.disks}
            with pytest.raises(ValueError, match="appends"):
                client.replicate(machine.id, direct, {})
    assert all((replica / name).stat().st_size == 0 for name in machine.disks)


def test_two_disks_do_not_go_to_one_place(client, machine, replica):
    path = replica / "one"
    path.touch()
    tape = Tape(replica / "tape")
    with contextlib.ExitStack() as stack:

        def opened():
            return stack.enter_context(open(path, "r+b"))

        file = opened()
        for one, other in (
            (tape, tape),
            (lambda: tape, tape),
            (lambda: tape, lambda: tape),
            (file, file),
            (file, opened()),
            (file, path),
            (path, file),
            (path, opened),
            (lambda: open(path, "r+b"), lambda: open(path, "r+b")),
        ):
            os.truncate(path, 0)
            for parallel in (1, 4):
                state = {}
                writers = dict(zip(machine.disks, (one, other)))
                with pytest.raises(ValueError, match="go to the same target"):
                    client.replicate(machine.id, writers, state, parallel_disks=parallel)
                assert state.get("base") is None
                os.truncate(path, 0)
                client.delete_all_snapshots(machine.id)


def test_files_that_are_sent_on_and_deleted_are_no_place_twice(client, machine, replica):
    @contextlib.contextmanager
    def sent(name):
        with tempfile.TemporaryFile(dir=replica) as file:
            yield file
            file.seek(0)
            (replica / name).write_bytes(file.read())

    writers = {name: lambda name=name: sent(name) for name in machine.disks}
    client.replicate(machine.id, writers, {}, parallel_disks=1)
    for name, disk in machine.disks.items():
        assert (replica / name).read_bytes() == disk.read_bytes()


def test_a_file_that_holds_something_is_not_said_to_be_zero(client, machine, replica, identical):
    for name in machine.disks:
        (replica / name).write_bytes(b"x" * (9 << 20))
    with contextlib.ExitStack() as stack:
        direct = {n: stack.enter_context(open(replica / n, "r+b")) for n in machine.disks}
        with pytest.raises(ReplicationError, match="overwrit"):
            client.replicate(machine.id, direct, {}, zeroed=list(direct))
    made = {name: lambda name=name: open(replica / name, "r+b") for name in machine.disks}
    outcome = client.replicate(machine.id, made, {}, zeroed=list(made))
    identical(replica)
    assert all("was said to be zeros" in disk["why"] for disk in outcome["disks"])


def test_zeroed_names_disks(client, machine, replica):
    one, other = machine.disks
    tapes = {name: Tape(replica / name) for name in machine.disks}
    for zeroed in (f"disks: {one}", one, b"x"):
        with pytest.raises(TypeError, match="zeroed"):
            client.replicate(machine.id, tapes, {}, zeroed=zeroed)
    with pytest.raises(ValueError, match="has no disk 'nope'"):
        client.replicate(machine.id, tapes, {}, zeroed=[one, "nope"])
    assert client.get_snapshots(machine.id) == []
    assert not any(tape.writes for tape in tapes.values())


def test_what_cannot_be_verified_or_told_is_refused_before(client, machine, replica, monkeypatch):
    tapes = {name: Tape(replica / name) for name in machine.disks}
    made = {name: lambda name=name: tapes[name] for name in tapes}
    for writers in (tapes, made, lambda disk: tapes[disk["name"]]):
        with pytest.raises(ValueError, match="verify reads back"):
            client.replicate(machine.id, writers, {}, verify=True)
    with pytest.raises(TypeError, match="progress"):
        client.replicate(machine.id, tapes, {}, progress=5)
    monkeypatch.chdir(replica)
    with pytest.raises(ValueError, match="empty path"):
        client.replicate(machine.id, "", {})
    assert client.get_snapshots(machine.id) == []
    assert not any(tape.writes for tape in tapes.values())
    # One that can be called, but not so: the state knows the snapshot, and the next run uses it.
    state = {}
    with pytest.raises(TypeError):
        client.replicate(machine.id, tapes, state, progress=lambda: None)
    client.replicate(machine.id, tapes, state)
    assert the_only_snapshot(client, machine) == state["base"]


def test_one_run_has_a_state_at_a_time(client, machine, replica, identical):
    kept = {}

    class Keeper:
        def load(self):
            return kept or None

        def save(self, state):
            kept.clear()
            kept.update(state)

    for state in ({}, Keeper()):
        tapes = {name: Tape(replica / name) for name in machine.disks}
        caught = []

        def again():
            with pytest.raises(OSError, match="another run has this state"):
                client.replicate(machine.id, tapes, state)
            caught.append(True)

        def progress(event):
            if not caught:
                again()
                thread = threading.Thread(target=again)
                thread.start()
                thread.join()

        outcome = client.replicate(machine.id, tapes, state, progress=progress)
        assert caught == [True, True]
        assert the_only_snapshot(client, machine) == outcome["snapshot"]
        # Afterwards it is free, also where a run has failed.
        with pytest.raises(ReplicationError):
            client.replicate("absent", tapes, state)
        client.replicate(machine.id, tapes, state)
        identical(replica)
        client.delete_all_snapshots(machine.id)


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
