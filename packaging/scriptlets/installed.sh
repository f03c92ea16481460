#!/bin/sh
# After the package's files are in place: %post of the RPM, postinst of the DEB.
#
#   rpm    installed.sh NUMBER            versions that there are now: 1 after the first installation
#   dpkg   installed.sh configure [OLD]   OLD after an upgrade
#
# Enables and starts nothing. After an upgrade, a daemon that runs is started again; one that does
# not start does not break the package, it is said. Nothing but a POSIX shell is needed.
set -eu

name=coriolis-ovm-exporter

case "${1-}:${2-}" in
1: | configure:) upgraded=no ;;
[0-9]*: | configure:?*) upgraded=yes ;;
*) exit 0 ;;
esac

has() {
    command -v "$1" >/dev/null 2>&1
}

complain() {
    echo "$name: $1" >&2
}

# In a folder that becomes a machine later there is systemctl, but no systemd to talk to.
if [ -d /run/systemd/system ] && has systemctl; then
    systemctl daemon-reload || complain "systemd has not read its units again: systemctl daemon-reload"
    if [ $upgraded = yes ]; then
        systemctl try-restart $name.service ||
            complain "the new version does not start: systemctl status $name; $name doctor"
    fi
elif has initctl; then
    # Upstart sees new files by itself, but not always before the next line.
    initctl reload-configuration >/dev/null 2>&1 || :
    if [ $upgraded = yes ]; then
        case "$(initctl status $name 2>/dev/null || :)" in
        *" start/"*)
            # "restart" would keep the job as it was read before.
            initctl stop $name >/dev/null || complain "the old version does not stop: initctl status $name"
            initctl start $name >/dev/null ||
                complain "the new version does not start: /var/log/$name.stderr; $name doctor"
            ;;
        esac
    fi
fi
