#!/bin/sh
# Fuzzes the readers of fuzz/targets. Arguments: seconds for each target, then the targets (none:
# all of them). Prints executions for each; the first input that breaks something ends it.
set -eu

cd "$(dirname "$0")/.."
seconds=$1
shift
[ $# -gt 0 ] || set -- $(cargo +nightly fuzz list)

build=${CARGO_TARGET_DIR:-target}/fuzz
mkdir -p "$build"
build=$(cd "$build" && pwd)
# What was freed is kept for a while to catch its use; by default more than the limit on memory.
export ASAN_OPTIONS="quarantine_size_mb=16${ASAN_OPTIONS:+:$ASAN_OPTIONS}"

cargo tree --locked --manifest-path fuzz/Cargo.toml >/dev/null
cargo +nightly fuzz build --target-dir "$build"
for target; do
    case $target in
    berkeley_db | bolt | guest_disk) longest=65536 ;;
    *) longest=4096 ;;
    esac
    words=fuzz/dictionaries/$target.dict
    corpus=$build/corpus/$target
    log=$build/$target.log
    mkdir -p "$corpus"
    if ! cargo +nightly fuzz run --target-dir "$build" "$target" "$corpus" "fuzz/seeds/$target" -- \
        -max_total_time="$seconds" -timeout=5 -rss_limit_mb=512 -max_len="$longest" \
        $([ -e "$words" ] && echo "-dict=$words") -print_final_stats=1 >"$log" 2>&1; then
        tail -n 60 "$log" >&2
        echo "$target: an input breaks it, see above; the whole log: $log" >&2
        exit 1
    fi
    executions=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
    peak=$(sed -n 's/^stat::peak_rss_mb: *//p' "$log")
    if [ "${executions:-0}" -lt 100 ]; then
        tail -n 60 "$log" >&2
        echo "$target: only ${executions:-0} executions in $seconds s" >&2
        exit 1
    fi
    echo "$target: $executions executions in $seconds s, at most $peak MiB"
done
