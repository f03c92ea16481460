#!/bin/sh
# Checks that a program needs no other file to start (no interpreter, no shared libraries), and that
# it was built without debug assertions.
set -eu

program=$1
headers=$(readelf --wide --program-headers --dynamic "$program")
if echo "$headers" | grep -E 'INTERP|\(NEEDED\)' >&2; then
    echo "$program is not statically linked" >&2
    exit 1
fi
# What tests kill a daemon with is not in a program that nodes run.
for word in CORIOLIS_OVM_EXPORTER_FAULT directory.hidden.again; do
    if grep --quiet --text --fixed-strings "$word" "$program"; then
        echo "$program can be told to kill itself: it has $word in it" >&2
        exit 1
    fi
done
if command -v file >/dev/null; then
    file "$program"
fi
# "statically linked"; it calls that no dynamic executable, and a failure, on some systems.
ldd "$program" || true
ls -l "$program"
