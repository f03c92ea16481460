#!/bin/sh
# Builds the Python package's wheel, installs it into a fresh virtual environment, and runs its tests
# against the real daemon. Arguments go to pytest. Reaches PyPI.
set -eu
cd "$(dirname "$0")/.."
cargo=${CARGO:-cargo}
target=$(realpath -m "${CARGO_TARGET_DIR:-target}")
export CARGO_TARGET_DIR="$target"

work="$target/python"
rm -rf "$work"
mkdir -p "$work"
python3 -m venv "$work/tools"
"$work/tools/bin/pip" install --quiet --requirement python/requirements-test.txt

# The daemon, as it was built for the integration tests: other features would build it anew.
"$cargo" test --locked --quiet --no-run --test integration
"$work/tools/bin/maturin" build --locked --manifest-path python/Cargo.toml --out "$work/wheels" --quiet
# Nothing but the wheel: it depends on nothing.
python3 -m venv "$work/bare"
# As the documents have it; the platform in the wheel's name is that of the machine that built it.
. scripts/block.sh
block docs/coriolis.md "Setting it up" | sed 's/-abi3-[a-z0-9_]*\.whl/-abi3-*.whl/' >"$work/lines"
(cd "$work/wheels" && PATH="$work/bare/bin:$PATH" PIP_NO_INDEX=1 PIP_QUIET=1 sh -e ../lines)
"$work/tools/bin/pip" install --quiet --no-index "$work"/wheels/*.whl

"$work/tools/bin/mypy" --config-file python/pyproject.toml --package coriolis_ovm_exporter
# It imports what is installed: the stub says what the compiled half has, no more and no less. It comes with mypy.
"$work/tools/bin/stubtest" --mypy-config-file python/pyproject.toml coriolis_ovm_exporter
export DAEMON="$target/debug/coriolis-ovm-exporter" BARE_PYTHON="$work/bare/bin/python"
export PYTHONDONTWRITEBYTECODE=1
trap 'rm -rf "$work/replicas"' EXIT
"$work/tools/bin/pytest" -p no:cacheprovider --basetemp "$work/replicas" --rootdir python -c python/pyproject.toml \
    python/tests "$@"
