#!/bin/sh
# After the package's files, or an older version's, are gone: %postun of the RPM, postrm of the DEB.
# Nothing of the node's own is touched, with `dpkg --purge` neither: configuration, certificates,
# secret and index stay.
set -eu

if [ -d /run/systemd/system ] && command -v systemctl >/dev/null 2>&1; then
    systemctl daemon-reload || :
fi
