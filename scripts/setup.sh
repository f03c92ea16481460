#!/bin/sh
# Installs the Debian packages that something needs and does not find. As root it installs them, otherwise
# it names them. The argument is what needs them: demo, test, bench, fuzz, wheel, or packages (`make
# packages` and `make test-packages`).
set -eu

# A C compiler and make for the bundled SQLite, AWS-LC and OpenSSL; perl for OpenSSL's build.
packages="gcc libc6-dev make perl db5.3-util xfsprogs mount util-linux"
if [ "${1:-demo}" = test ]; then
    # setpriv, prlimit, fincore and losetup come with util-linux, lsattr with e2fsprogs.
    # ceph-common for rbd merge-diff: 21 MB to fetch, 87 MB installed.
    packages="$packages ceph-common btrfs-progs e2fsprogs xfsdump python3 python3-venv systemd dash procps curl"
    # Disks as guests have them: tables, file systems, GRUB's first sector, volume groups.
    packages="$packages parted gdisk dosfstools ntfs-3g lvm2 grub-pc-bin cryptsetup-bin"
fi
if [ "${1:-demo}" = wheel ]; then
    packages="$packages python3 python3-venv"
fi
if [ "${1:-demo}" = bench ] || [ "${1:-demo}" = test ]; then
    # Whom we are measured against; `make test` tries the measurements out.
    packages="$packages nginx nbdkit libnbd-bin rsync openssl curl iproute2"
fi
if [ "${1:-demo}" = fuzz ]; then
    # libFuzzer is C++.
    packages="$packages g++"
fi
if [ "${1:-demo}" = packages ]; then
    # rpmbuild comes with rpm, systemctl with systemd, readelf with binutils; curl and ip are for a node.
    packages="$packages binutils curl dash iproute2 rpm systemd"
fi

missing=""
for package in $packages; do
    # A package may be "provided" by another one: then dpkg knows no status of its own.
    dpkg-query --show --showformat='${Status}\n' "$package" 2>/dev/null | grep -q '^install ok installed$' ||
        missing="$missing $package"
done

if [ -n "$missing" ]; then
    if [ "$(id -u)" -ne 0 ]; then
        echo "Please install, as root: apt-get install$missing" >&2
        exit 1
    fi
    echo "Installing:$missing"
    export DEBIAN_FRONTEND=noninteractive
    # Nobody asked for a web server that runs: Debian starts what it installs unless this forbids it.
    policy=/usr/sbin/policy-rc.d
    if [ ! -e "$policy" ]; then
        trap 'rm -f "$policy"' EXIT
        trap 'exit 1' HUP INT TERM
        printf '#!/bin/sh\nexit 101\n' >"$policy"
        chmod 755 "$policy"
    fi
    # shellcheck disable=SC2086 # a list of words
    apt-get install --yes --no-install-recommends $missing >/dev/null 2>&1 || {
        apt-get update --quiet >/dev/null
        apt-get install --yes --no-install-recommends $missing >/dev/null
    }
fi

if [ "${1:-demo}" = test ] && ! cargo nextest --version >/dev/null 2>&1; then
    echo "Installing cargo-nextest"
    cargo install --locked --quiet cargo-nextest
fi

if [ "${1:-demo}" = fuzz ]; then
    if ! cargo +nightly --version >/dev/null 2>&1; then
        echo "Installing the nightly toolchain: sanitizers need it"
        rustup toolchain install --profile minimal nightly
    fi
    if ! cargo fuzz --version >/dev/null 2>&1; then
        echo "Installing cargo-fuzz"
        cargo install --locked --quiet cargo-fuzz
    fi
fi
