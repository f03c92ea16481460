"""Whether a run from Python is as fast as the command's: both copy the same machine to files, in turn.

Called by scripts/bench-python.sh. Prints bytes of the disks a second, the best of each, and their
ratio; ends with 1 where Python's is below nine tenths of the command's.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Callable

from coriolis_ovm_exporter import Client

ROUNDS = 5
SIZE = 1 << 30
AS_FAST = 0.9


def main() -> int:
    command, daemon = sys.argv[1:]
    node = subprocess.Popen([daemon, "demo", "--keep"], stdout=subprocess.PIPE, text=True)
    try:
        lines = ""
        while len(re.findall(r" replicate .* --verify", lines)) < 2:
            line = node.stdout.readline() if node.stdout else ""
            assert line, lines
            lines += line
        variables = dict(re.findall(r"\b(OVM_EXPORTER_\w+)=(\S+)", lines))
        authority = re.search(r"\bCA=(\S+)", lines)
        assert authority
        variables["OVM_EXPORTER_CAFILE"] = authority[1]
        return compare(command, variables)
    finally:
        node.send_signal(signal.SIGTERM)
        node.communicate(timeout=60)


def compare(command: str, variables: "dict[str, str]") -> int:
    client = Client.login(
        variables["OVM_EXPORTER_ENDPOINT"],
        variables["OVM_EXPORTER_USERNAME"],
        variables["OVM_EXPORTER_PASSWORD"],
        verify=variables["OVM_EXPORTER_CAFILE"],
    )
    vm = next(vm for vm in client.get_vms() if vm["friendly_name"] == "web server")
    with open(vm["disks"][0]["path"], "r+b") as disk:
        for _ in range(SIZE >> 20):
            disk.write(os.urandom(1 << 20))
    bytes_of_disks = sum(disk["size"] or 0 for disk in client.get_vm(vm["id"])["disks"])

    def by_command(folder: Path) -> None:
        arguments = ["replicate", vm["id"], "--to", str(folder), "--quiet"]
        subprocess.run(
            [command, *arguments],
            env={**os.environ, **variables},
            check=True,
            stdout=subprocess.DEVNULL,
        )

    def by_python(folder: Path) -> None:
        client.replicate(vm["id"], folder, {})

    def by_writers(folder: Path) -> None:
        def writer(disk: "dict[str, object]") -> Callable[[], object]:
            return lambda: open(folder / str(disk["name"]), "w+b", buffering=0)

        client.replicate(vm["id"], writer, {})

    ways = {"command": by_command, "Python, to paths": by_python, "Python, to writers": by_writers}
    best = dict.fromkeys(ways, 0.0)
    for _ in range(ROUNDS):
        for name, way in ways.items():
            folder = Path(tempfile.mkdtemp(prefix="coriolis-bench-", dir=where()))
            try:
                begun = time.monotonic()
                way(folder)
                best[name] = max(best[name], bytes_of_disks / (time.monotonic() - begun))
            finally:
                shutil.rmtree(folder)
                client.delete_all_snapshots(vm["id"])
    for name, speed in best.items():
        print(f"{name:<20}{speed / 1e6:>8.0f} MB/s")
    ratio = best["Python, to paths"] / best["command"]
    print(f"Python to paths has {ratio:.2f} of the command's; {AS_FAST} is asked for")
    return 0 if ratio >= AS_FAST else 1


def where() -> str:
    """Memory, so that no disk's mood is measured."""
    return "/dev/shm" if Path("/dev/shm").is_dir() else tempfile.gettempdir()


if __name__ == "__main__":
    sys.exit(main())
