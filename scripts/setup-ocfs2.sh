#!/bin/sh
# Makes what `make test-ocfs2` and `make test-cluster` boot: qemu and the OCFS2 tools from Debian packages, and below
# <target directory>/ocfs2/ a kernel that has OCFS2 and an initramfs with its modules. The kernel and
# busybox are unpacked there, never installed: a static busybox would take the place of the one that
# most machines have. May be called any number of times; prints nothing when there is
# nothing to do.
#
#   vmlinux     the kernel as ELF, which qemu starts directly
#   initramfs   busybox, the modules, and tests/ocfs2/init.sh
#   busybox     the static one
#   version     of the kernel
set -eu

root=$(cd "$(dirname "$0")/.." && pwd)
target=${CARGO_TARGET_DIR:-$root/target}
place=$target/ocfs2
init=$root/tests/ocfs2/init.sh

export DEBIAN_FRONTEND=noninteractive
# mkfs.ocfs2, depmod and others, which a user's own path may not have.
export PATH="$PATH:/usr/sbin:/sbin"

installed() {
    dpkg-query --show --showformat='${Status}\n' "$1" 2>/dev/null |
        grep -q '^install ok installed$'
}

# Nothing that is there may be removed for it.
add() {
    apt-get install --yes --no-install-recommends --no-remove "$@"
}

# Plain Debian's qemu does not go together with a qemu-utils from the backports.
add_from_backports() {
    suite=$(. /etc/os-release && echo "$VERSION_CODENAME")-backports
    list=$(mktemp)
    echo "deb http://deb.debian.org/debian $suite main" >"$list"
    # Only for these two calls: the machine's own list of sources stays as it is.
    apt-get update --quiet -o Dir::Etc::sourcelist="$list" &&
        add -o Dir::Etc::sourcelist="$list" --target-release "$suite" "$@"
    result=$?
    rm -f "$list"
    return $result
}

missing=""
for package in ocfs2-tools util-linux cpio kmod xz-utils zstd curl qemu-system-x86; do
    installed "$package" || missing="$missing $package"
done
if [ -n "$missing" ]; then
    if [ "$(id -u)" -ne 0 ]; then
        echo "Please install, as root: apt-get install$missing" >&2
        exit 1
    fi
    echo "Installing:$missing"
    log=$(mktemp)
    # shellcheck disable=SC2086 # a list of words
    { add $missing || { apt-get update --quiet && add $missing; } ||
        add_from_backports $missing; } >"$log" 2>&1 || {
        cat "$log" >&2
        exit 1
    }
    rm -f "$log"
fi

mkdir -p "$place"
exec 9>"$place/.lock"
flock 9

# Unpacks a package below a folder that is new. apt lets its unprivileged user write the download
# where it may, and warns where it may not.
unpack() {
    echo "Unpacking: $1"
    rm -rf "$2" "$place/download"
    mkdir -p "$2" "$place/download"
    (
        cd "$place/download"
        apt-get download --quiet -o APT::Sandbox::User=root "$1" >/dev/null 2>&1 ||
            { apt-get update --quiet >/dev/null &&
                apt-get download --quiet -o APT::Sandbox::User=root "$1" >/dev/null; }
    )
    dpkg -x "$place"/download/*.deb "$2"
    rm -rf "$place/download"
}

if [ ! -e "$place/busybox" ]; then
    unpack busybox-static "$place/package-busybox"
    busybox=$place/package-busybox/bin/busybox
    # Newer packages put it below /usr.
    [ -e "$busybox" ] || busybox=$place/package-busybox/usr/bin/busybox
    mv "$busybox" "$place/busybox"
    rm -rf "$place/package-busybox"
    rm -f "$place/initramfs"
fi

# The flavour "cloud" has no OCFS2.
if [ ! -e "$place/vmlinux" ]; then
    kernel_package() {
        apt-cache depends --important linux-image-amd64 |
            sed -n 's/.*Depends: \(linux-image-[0-9].*-amd64\)$/\1/p' | head -n 1
    }
    package=$(kernel_package)
    if [ -z "$package" ]; then
        apt-get update --quiet >/dev/null
        package=$(kernel_package)
    fi
    [ -n "$package" ] || { echo "apt knows no linux-image-amd64" >&2; exit 1; }
    unpack "$package" "$place/package"
    version=${package#linux-image-}

    # Documentation/arch/x86/boot.rst: the boot sector and the set-up code come first; the
    # header says where behind them the compressed kernel lies.
    image=$place/package/boot/vmlinuz-$version
    number() { od -An -t "u$2" -j "$1" -N "$2" "$image" | tr -d ' '; }
    start=$((($(number 497 1) + 1) * 512 + $(number 584 4)))
    tail -c "+$((start + 1))" "$image" | head -c "$(number 588 4)" >"$place/payload"
    case $(od -An -t x1 -N 4 "$place/payload" | tr -d ' ') in
    fd377a58) xz --decompress --stdout --single-stream <"$place/payload" ;;
    28b52ffd) zstd --decompress --stdout --quiet <"$place/payload" ;;
    1f8b*) gzip --decompress --stdout <"$place/payload" ;;
    *)
        echo "the kernel of $package is compressed in an unknown way" >&2
        exit 1
        ;;
    esac >"$place/vmlinux.new" 2>/dev/null || true # what follows it is the size, no stream
    rm "$place/payload"
    [ "$(od -An -c -j 1 -N 3 "$place/vmlinux.new" | tr -d ' ')" = ELF ] ||
        { echo "the kernel of $package could not be unpacked" >&2; exit 1; }
    echo "$version" >"$place/version"
    mv "$place/vmlinux.new" "$place/vmlinux"
    rm -f "$place/initramfs"
fi
version=$(cat "$place/version")

if [ ! -e "$place/initramfs" ] || [ "$place/initramfs" -ot "$init" ] ||
    [ "$place/initramfs" -ot "$0" ]; then
    tree=$place/tree
    rm -rf "$tree"
    mkdir -p "$tree/bin" "$tree/modules" "$tree/dev" "$tree/proc" "$tree/sys" "$tree/tmp"
    # Newer packages put the modules below /usr.
    base=$place/package
    [ -d "$base/lib/modules" ] || base=$base/usr
    depmod -b "$base" "$version"
    # One list of files a purpose, in the order in which they have to be loaded.
    list() {
        name=$1
        shift
        modprobe -d "$base" -S "$version" --show-depends --all "$@" |
            sed -n 's/^insmod \([^ ]*\).*/\1/p' | awk '!seen[$0]++' |
            while read -r file; do
                module=$(basename "${file%.xz}")
                if [ ! -e "$tree/modules/$module" ]; then
                    case $file in
                    *.xz) xz --decompress --stdout "$file" >"$tree/modules/$module" ;;
                    *) cp "$file" "$tree/modules/$module" ;;
                    esac
                fi
                echo "$module"
            done >"$tree/modules/$name.list"
    }
    list base virtio_pci virtio_blk virtio_net crc32c-intel crc32c_generic ocfs2
    list cluster ocfs2_dlm ocfs2_stack_o2cb
    list flakey dm-flakey
    cp "$place/busybox" "$tree/bin/busybox"
    cp "$init" "$tree/init"
    chmod 755 "$tree/init" "$tree/bin/busybox"
    # Not compressed: an emulated processor would take its time over it.
    (cd "$tree" && find . | cpio --create --format=newc --quiet) >"$place/initramfs.new"
    mv "$place/initramfs.new" "$place/initramfs"
    rm -rf "$tree"
fi
