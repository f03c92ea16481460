"""What scripts/test-schema.sh runs: rounds of schemathesis, then what the daemon itself has counted."""

import json
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import requests

DOCUMENT = Path("docs/openapi.json").absolute()
CHECKS = (
    "not_a_server_error,status_code_conformance,content_type_conformance,"
    "response_headers_conformance,response_schema_conformance,unsupported_method,"
    "allow_header_conformance,ignored_auth"
)
# Requests for each example that an operation is given, over all rounds; rounded down.
EACH = 60


class Node:
    """What `demo --keep` prints of itself."""

    def __init__(self, text: str) -> None:
        told = lambda name: re.search(rf"\b{name}=(\S+)", text)[1]
        self.endpoint = told("OVM_EXPORTER_ENDPOINT")
        self.authority = told("CA")
        self.session = requests.Session()
        # Else an authority in the environment takes its place.
        self.session.trust_env = False
        self.session.verify = self.authority
        credentials = {"username": told("OVM_EXPORTER_USERNAME"), "password": told("OVM_EXPORTER_PASSWORD")}
        answer = self.session.post(f"{self.endpoint}/api/v1/auth/login", json=credentials)
        answer.raise_for_status()
        self.authorization = f"Bearer {answer.json()['token']}"
        self.session.headers["Authorization"] = self.authorization

    def ask(self, method: str, path: str) -> requests.Response:
        answer = self.session.request(method, self.endpoint + path)
        answer.raise_for_status()
        return answer

    def answered(self) -> Counter:
        """Requests by route, method and status, as the daemon has counted them."""
        counts: Counter = Counter()
        pattern = r'^ovm_exporter_requests_total\{route="(.*)",method="(.*)",status="(\d+)"\} (\d+)$'
        for route, method, status, count in re.findall(pattern, self.ask("GET", "/metrics").text, re.M):
            counts[route, method, int(status)] += int(count)
        return counts


def run(node: Node, work: Path, name: str, parameters: dict, more: list, seed: int, examples: int) -> int:
    """One round; how many requests were made up."""
    print(f"--- {name}, seed {seed}", flush=True)
    config = work / "schemathesis.toml"
    lines = [f"{json.dumps(key)} = {json.dumps(value)}" for key, value in parameters.items()]
    # An event stream goes on for ever.
    config.write_text("max-stream-events = 1\n[parameters]\n" + "\n".join(lines) + "\n")
    command = [
        work / "tools/bin/schemathesis", "--config-file", config, "run", DOCUMENT,
        "--url", node.endpoint, "--tls-verify", node.authority,
        "--header", f"Authorization: {node.authorization}",
        "--checks", CHECKS, "--max-examples", examples, "--seed", seed,
        "--generation-database", "none", "--request-timeout", 60, "--continue-on-failure",
        "--warnings", "off", "--suppress-health-check", "all", "--no-color", *more,
    ]  # fmt: skip
    # It leaves files where it is run.
    command = [str(word) for word in command]
    done = subprocess.run(command, cwd=work, stdout=subprocess.PIPE, text=True)
    print(done.stdout, flush=True)
    if done.returncode != 0:
        sys.exit(f"schemathesis has found something; SEED={seed} repeats it")
    return int(re.search(r"^ +(\d+) generated, \1 passed", done.stdout, re.M)[1])


def main() -> None:
    work, least, seed = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    node = Node((work / "node").read_text())
    first, second = (vm["id"] for vm in node.ask("GET", "/api/v1/vms").json()[:2])
    base, newer = (node.ask("POST", f"/api/v1/vms/{first}/snapshots").json() for _ in range(2))
    disk = min(newer["disks"], key=lambda disk: disk["size"])["name"]
    there = {
        "path.vm": first, "path.snapshot": newer["id"], "path.disk": disk, "query.compareTo": base["id"],
    }  # fmt: skip
    examples = max(1, least // EACH)
    rounds = [
        ("what is there", there, ["--exclude-method", "DELETE", "--exclude-operation-id", "createSnapshot"]),
        # What links lead to has its own id.
        ("what comes and goes", {"path.vm": second}, ["--include-path-regex", "^/api/v1/vms/[^/]+/snapshots"]),
        ("what is not there", {}, []),
    ]
    made = sum(run(node, work, *each, seed, examples) for each in rounds)

    answered = node.answered()
    statuses: Counter = Counter()
    for (_, _, status), count in answered.items():
        statuses[status] += count
    print(f"{made} requests were made up; the daemon has answered {dict(sorted(statuses.items()))}")
    assert made >= least, f"{made} requests are fewer than {least}"
    assert sum(statuses.values()) >= least
    failed = {key: count for key, count in answered.items() if key[2] >= 500}
    assert not failed, f"the daemon has counted {failed}"
    # Each operation was asked with success, or it was not really asked.
    for path, item in json.loads(DOCUMENT.read_text())["paths"].items():
        for method in set(item) - {"parameters"}:
            good = sum(
                count
                for (route, asked, status), count in answered.items()
                if (route, asked) == (path, method.upper()) and status < 400
            )
            assert good, f"{method.upper()} {path} never succeeded"


main()
