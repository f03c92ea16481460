#!/bin/sh
# Prints the path of a Python that can `import berkeleydb` (the real libdb 5.3), and makes that
# environment first when it is not there: a virtual environment below the target directory.
# May be called any number of times, also at the same time.
set -eu

version=18.1.17
root=$(cd "$(dirname "$0")/.." && pwd)
target=${CARGO_TARGET_DIR:-$root/target}
venv=$target/python-berkeleydb-$version
python=$venv/bin/python

mkdir -p "$target"
exec 9>"$target/.python-berkeleydb.lock"
flock 9

if [ -e "$venv/complete" ] && "$python" -c 'import berkeleydb.db' 2>/dev/null; then
    echo "$python"
    exit 0
fi

# The module is compiled against libdb's header. As root what is missing is installed.
missing=
[ -e /usr/include/db.h ] || missing="$missing libdb5.3-dev"
command -v cc >/dev/null || missing="$missing gcc"
python3 -c 'import ensurepip, venv' 2>/dev/null || missing="$missing python3-venv"
python3 -c 'import os, sysconfig as s; os.stat(os.path.join(s.get_paths()["include"], "Python.h"))' \
    2>/dev/null || missing="$missing python3-dev"
if [ -n "$missing" ]; then
    if [ "$(id -u)" != 0 ]; then
        echo "Debian packages are missing, install them as root:$missing" >&2
        exit 1
    fi
    # shellcheck disable=SC2086  # a list of words
    if ! { apt-get install -y $missing || { apt-get update && apt-get install -y $missing; }; } >&2
    then
        echo "these Debian packages could not be installed:$missing" >&2
        exit 1
    fi
fi

rm -rf "$venv"
python3 -m venv "$venv" >&2
"$venv/bin/pip" install --quiet --disable-pip-version-check "berkeleydb==$version" >&2
"$python" -c 'import berkeleydb.db'
touch "$venv/complete"
echo "$python"
