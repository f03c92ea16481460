"""A stand-in node with the real daemon on XFS, taken down at the end."""

import os
import random
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List

import pytest
from coriolis_ovm_exporter import Client

# The provider looks for Coriolis when it is imported.
sys.path.insert(0, str(Path(__file__).parent / "stand_in"))

# A run in the background of a shell script has SIGINT ignored, and Python leaves that so.
signal.signal(signal.SIGINT, signal.default_int_handler)

BLOCK = 4096


class Node:
    """What ``demo --keep`` prints of itself."""

    def __init__(self, text: str) -> None:
        def told(name: str) -> str:
            return re.search(rf"\b{name}=(\S+)", text)[1]

        self.endpoint = told("OVM_EXPORTER_ENDPOINT")
        self.authority = told("CA")
        self.username = told("OVM_EXPORTER_USERNAME")
        self.password = told("OVM_EXPORTER_PASSWORD")
        self.folder = Path(self.authority).parent

    def client(self) -> Client:
        return Client.login(self.endpoint, self.username, self.password, verify=self.authority)


class Machine:
    """A guest, and what it does to its disks."""

    def __init__(self, vm: Dict[str, Any], chance: random.Random) -> None:
        self.id = vm["id"]
        self.disks = {disk["name"]: Path(disk["path"]) for disk in vm["disks"] if not disk["cdrom"]}
        self._chance = chance

    def work(self) -> None:
        """Writes, discards, growth: of every disk."""
        for path in self.disks.values():
            size = path.stat().st_size
            with open(path, "r+b") as disk:
                disk.truncate(size + BLOCK * self._chance.randint(1, 64))
                for _ in range(30):
                    disk.seek(BLOCK * self._chance.randrange(size // BLOCK))
                    disk.write(self._chance.randbytes(BLOCK))
            for _ in range(3):
                length = BLOCK * self._chance.randint(1, 512)
                offset = BLOCK * self._chance.randrange((size - length) // BLOCK)
                punch = ["fallocate", "--punch-hole", "--offset", offset, "--length", length, path]
                subprocess.run([str(word) for word in punch], check=True)


@pytest.fixture(scope="session")
def node() -> Iterator[Node]:
    daemon = subprocess.Popen(
        [os.environ["DAEMON"], "demo", "--keep"], stdout=subprocess.PIPE, text=True
    )
    try:
        lines: List[str] = []
        # The last line that it prints.
        while len(re.findall(r" replicate .* --verify", "".join(lines))) < 2:
            line = daemon.stdout.readline()
            assert line, f"the demo ended with {daemon.wait()}: {''.join(lines)}"
            lines.append(line)
        yield Node("".join(lines))
    finally:
        daemon.send_signal(signal.SIGTERM)
        daemon.communicate(timeout=60)


@pytest.fixture(scope="session")
def client(node: Node) -> Client:
    return node.client()


@pytest.fixture(scope="session")
def chance() -> random.Random:
    seed = int(os.environ.get("SEED") or random.SystemRandom().getrandbits(32))
    print(f"SEED={seed} repeats this")
    return random.Random(seed)


@pytest.fixture
def machine(client: Client, chance: random.Random) -> Iterator[Machine]:
    """A machine with two disks and no snapshot."""
    vm = next(vm for vm in client.get_vms() if vm["friendly_name"] == "web server")
    machine = Machine(vm, chance)
    assert len(machine.disks) == 2
    assert client.get_snapshots(machine.id) == []
    yield machine
    client.delete_all_snapshots(machine.id)


@pytest.fixture
def replica(tmp_path: Path) -> Path:
    folder = tmp_path / "replica"
    folder.mkdir()
    return folder


@pytest.fixture
def identical(machine: Machine) -> Callable[[Path], None]:
    """Whether a replica is what the guest's disks hold: nobody writes to them meanwhile."""

    def check(folder: Path, names: Callable[[str], str] = lambda name: name) -> None:
        for name, disk in machine.disks.items():
            copied = folder / names(name)
            assert copied.stat().st_size == disk.stat().st_size, name
            done = subprocess.run(["cmp", str(copied), str(disk)], capture_output=True, text=True)
            assert done.returncode == 0, done.stdout + done.stderr

    return check
