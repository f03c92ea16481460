#!/bin/sh
# Checks that a program needs no other file to start: no interpreter, no shared libraries.
set -eu

program=$1
headers=$(readelf --wide --program-headers --dynamic "$program")
if echo "$headers" | grep -E 'INTERP|\(NEEDED\)' >&2; then
    echo "$program is not statically linked" >&2
    exit 1
fi
if command -v file >/dev/null; then
    file "$program"
fi
# "statically linked"; it calls that no dynamic executable, and a failure, on some systems.
ldd "$program" || true
ls -l "$program"
