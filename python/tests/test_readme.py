"""The README's example does what it says, and its types are right."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def block(file, heading):
    """The Python below a heading of a document."""
    _, below = (ROOT / file).read_text().split(f"# {heading}\n", 1)
    return re.search(r"```python\n(.*?)```", below, re.DOTALL)[1]


def example():
    return block("README.md", "From Python")


def test_it_runs(node, machine, replica, identical, tmp_path):
    text = example()
    for written, meant in {
        "https://ovs1.example:5544": node.endpoint,
        "ca-pub.pem": node.authority,
        '"admin"': repr(node.username),
        '"password"': repr(node.password),
        "0004fb0000060000ccaf98a0baa2c186": machine.id,
        "/var/lib/replicas/web.json": str(tmp_path / "web.json"),
        '"/replicas/web"': repr(str(replica)),
    }.items():
        assert written in text, written
        text = text.replace(written, meant)
    for how in ("full", "incremental"):
        done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert how in done.stdout
        identical(replica)
        machine.work()


def test_its_types_are_right(tmp_path):
    file = tmp_path / "example.py"

    def check(text):
        file.write_text(text)
        return subprocess.run(
            [sys.executable, "-m", "mypy", "--strict", f"--cache-dir={tmp_path}", str(file)],
            capture_output=True,
            text=True,
        )

    done = check(example())
    assert done.returncode == 0, done.stdout
    # And wrong ones are seen.
    wrong = check(example().replace("client.replicate(", "client.replicate(5, ", 1))
    assert wrong.returncode == 1, wrong.stdout
