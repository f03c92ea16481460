# shellcheck shell=sh
# For scripts that install packages: a root folder that has a shell (dash) and nothing else, with rpm's
# and dpkg's books in it. Read with "." by whoever has set $work, a folder of its own.

root=""
# Debian's rpm does not install unless it is told that this is meant.
force=--verbose
! rpm --help | grep -q -e --force-debian || force=--force-debian

# Brings a program of this machine along, with the libraries that it wants.
bring() { # PROGRAM PLACE
    cp "$(command -v "$1")" "$root$2"
    ldd "$root$2" | grep -o '/[^ ]*' | while read -r library; do
        mkdir -p "$root$(dirname "$library")"
        cp -L "$library" "$root$library"
    done
}

new_root() {
    [ -z "$root" ] || rm -rf "$root"
    root=$work/root
    mkdir -p "$root/bin" "$root/dev" "$root/etc" "$root/tmp" "$root/usr/local/bin" "$root/usr/bin" \
        "$root/usr/lib" "$root/usr/share/man/man1" "$root/usr/share/doc" "$root/var/tmp" "$root/var/lib/rpm" "$root/var/lib/dpkg/info" \
        "$root/var/lib/dpkg/updates"
    mknod -m 666 "$root/dev/null" c 1 3
    # What a static program asks for random numbers.
    mknod -m 666 "$root/dev/random" c 1 8
    mknod -m 666 "$root/dev/urandom" c 1 9
    bring dash /bin/sh
    # Folders belong to a package of the distribution.
    printf '%s\n' "Package: base" "Status: install ok installed" "Architecture: all" "Version: 1" \
        "Maintainer: nobody" "Description: folders" "" >"$root/var/lib/dpkg/status"
    find "$root" -type d -printf '/%P\n' | sed '1s/.*/\/./' >"$root/var/lib/dpkg/info/base.list"
    : >"$root/calls"
    rpm_ --install "$work/shell-1-1.noarch.rpm"
}

rpm_() {
    command rpm --root "$root" --dbpath /var/lib/rpm "$force" "$@"
}

# What says in that root that there is a /bin/sh.
cat >"$work/shell.spec" <<'SPEC'
Name: shell
Version: 1
Release: 1
Summary: a shell
License: none
BuildArch: noarch
Provides: /bin/sh
%description
%files
SPEC
rpmbuild -bb --quiet --define "_topdir $work/shell" --define "_rpmdir $work" \
    --define "_rpmfilename shell-1-1.noarch.rpm" "$work/shell.spec" >"$work/log" 2>&1 || {
    cat "$work/log" >&2
    echo "cannot make the stand-in for a shell's package" >&2
    exit 1
}
