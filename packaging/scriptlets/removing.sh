#!/bin/sh
# Before the package's files go: %preun of the RPM, prerm of the DEB.
#
#   rpm    removing.sh NUMBER   versions that stay: 0 when the package goes, else an upgrade
#   dpkg   removing.sh remove   (or upgrade, deconfigure, …)
#
# The daemon is stopped when the package goes. Nothing but a POSIX shell is needed.
set -eu

name=coriolis-ovm-exporter

case "${1-}" in
0 | remove) ;;
*) exit 0 ;;
esac

has() {
    command -v "$1" >/dev/null 2>&1
}

complain() {
    echo "$name: $1" >&2
}

if has systemctl; then
    # Works on files, so also where no systemd runs. "--now" came with version 220.
    systemctl --no-reload disable $name.service >/dev/null 2>&1 || :
fi
if [ -d /run/systemd/system ] && has systemctl; then
    systemctl stop $name.service || complain "the daemon does not stop: systemctl status $name"
elif has initctl; then
    case "$(initctl status $name 2>/dev/null || :)" in
    *" start/"*)
        initctl stop $name >/dev/null || complain "the daemon does not stop: initctl status $name"
        ;;
    esac
fi
