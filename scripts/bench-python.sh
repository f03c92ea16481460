#!/bin/sh
# How fast a run from Python is beside the command's, on release builds (PROFILE=dev: on what the tests
# have built). Needs root, and to be alone on the machine.
set -eu
cd "$(dirname "$0")/.."
cargo=${CARGO:-cargo}
target=$(realpath -m "${CARGO_TARGET_DIR:-target}")
export CARGO_TARGET_DIR="$target"
profile=${PROFILE:-release}

work="$target/python-bench"
rm -rf "$work"
mkdir -p "$work"
if [ "$profile" = dev ]; then
    programs="$target/debug"
    "$cargo" test --locked --quiet --no-run --test integration
else
    programs="$target/release"
    "$cargo" build --locked --release --bins
fi
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --requirement python/requirements-test.txt
"$work/venv/bin/maturin" build --locked --profile "$profile" --manifest-path python/Cargo.toml \
    --out "$work/wheels" --quiet
"$work/venv/bin/pip" install --quiet --no-index "$work"/wheels/*.whl
"$work/venv/bin/python" python/bench.py "$programs/ovm-exporter" "$programs/coriolis-ovm-exporter"
