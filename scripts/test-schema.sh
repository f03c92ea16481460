#!/bin/sh
# Has schemathesis make up requests from docs/openapi.json and send them to the real daemon on a
# stand-in node: no 5xx, and nothing that the document does not say. The first argument is how many
# requests it has to be at least. SEED=<number> repeats a run. Needs root and reaches PyPI.
set -eu
cd "$(dirname "$0")/.."
least=${1:-500}
seed=${SEED:-$(od -An -N4 -tu4 /dev/urandom | tr -d ' ')}
cargo=${CARGO:-cargo}
target=$(realpath -m "${CARGO_TARGET_DIR:-target}")
export CARGO_TARGET_DIR="$target"

work="$target/schema"
rm -rf "$work"
mkdir -p "$work"
python3 -m venv "$work/tools"
"$work/tools/bin/pip" install --quiet --requirement scripts/requirements-schema.txt
# As it was built for the integration tests: other features would build it anew.
"$cargo" test --locked --quiet --no-run --test integration

# The node, until the end.
"$target/debug/coriolis-ovm-exporter" demo --keep --seed "$seed" >"$work/node" &
node=$!
trap 'kill "$node" 2>/dev/null || :; wait "$node" 2>/dev/null || :' EXIT
trap 'exit 1' HUP INT TERM
tries=0
until grep -q '^export OVM_EXPORTER_USERNAME' "$work/node"; do
    tries=$((tries + 1))
    if [ "$tries" -gt 1800 ] || ! kill -0 "$node" 2>/dev/null; then
        echo "The node did not come up:" >&2
        cat "$work/node" >&2
        exit 1
    fi
    sleep 0.1
done
"$work/tools/bin/python" scripts/test_schema.py "$work" "$least" "$seed"
