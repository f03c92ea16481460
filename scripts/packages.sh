#!/bin/sh
# Makes an RPM and a DEB out of two static programs.
#
#   scripts/packages.sh BIN_DIR OUT_DIR
#
# BIN_DIR holds coriolis-ovm-exporter and ovm-exporter. The version is theirs; PACKAGE_RELEASE=2 is for
# a second package of the same version. Both packages have the same files and scriptlets
# (packaging/). With the same programs and the same commit they come out byte for byte the same.
set -eu

[ $# -eq 2 ] || { sed -n 's/^#   //p' "$0" >&2; exit 2; }
root=$(cd "$(dirname "$0")/.." && pwd)
programs=$(cd "$1" && pwd)
mkdir -p "$2"
out=$(cd "$2" && pwd)
daemon=$programs/coriolis-ovm-exporter
command=$programs/ovm-exporter
release=${PACKAGE_RELEASE:-1}
umask 022

for program in "$daemon" "$command"; do
    "$root/scripts/check-static.sh" "$program" >/dev/null
done
version=$("$daemon" --version)
version=${version##* }
[ "$("$command" --version)" = "ovm-exporter $version" ] ||
    { echo "$daemon has version $version, but $("$command" --version)" >&2; exit 1; }
# Programs that an older build has left do not go with the files of this tree.
grep -q "^version = \"$version\"\$" "$root/Cargo.toml" ||
    { echo "$daemon has version $version, which is not that of $root/Cargo.toml" >&2; exit 1; }
case $version in
*[!0-9.]*)
    # "~" sorts right, but rpm 4.8 does not know it.
    echo "version $version: rpm 4.8 has no way to write a pre-release" >&2
    exit 1
    ;;
esac

if [ -z "${SOURCE_DATE_EPOCH:-}" ]; then
    SOURCE_DATE_EPOCH=$(git -C "$root" log -1 --format=%ct 2>/dev/null || date +%s)
fi
export SOURCE_DATE_EPOCH

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM

# --- what both packages hold

stage=$work/stage
put() { # MODE FILE PLACE
    install -D -m "$1" "$2" "$stage$3"
}
put 0755 "$daemon" /usr/local/bin/coriolis-ovm-exporter
put 0755 "$command" /usr/local/bin/ovm-exporter
install -d -m 0700 "$stage/etc/coriolis-ovm-exporter"
put 0644 "$root/config.toml.example" /etc/coriolis-ovm-exporter/config.toml.example
put 0644 "$root/contrib/upstart/coriolis-ovm-exporter.conf" /etc/init/coriolis-ovm-exporter.conf
put 0644 "$root/contrib/systemd/coriolis-ovm-exporter.service" \
    /usr/lib/systemd/system/coriolis-ovm-exporter.service

documents=/usr/share/doc/coriolis-ovm-exporter
for file in README.md CHANGELOG.md LICENSE; do
    put 0644 "$root/$file" "$documents/$file"
done
for file in "$root"/docs/*; do
    put 0644 "$file" "$documents/docs/$(basename "$file")"
done

man=$stage/usr/share/man/man1
mkdir -p "$man"
"$daemon" man "$man"
"$command" man "$man"
gzip -9 --no-name "$man"/*.1
chmod 0644 "$man"/*

mkdir "$work/completions"
complete() { # SHELL FOLDER PREFIX SUFFIX
    for program in coriolis-ovm-exporter ovm-exporter; do
        "$programs/$program" completions "$1" >"$work/completions/$program"
        put 0644 "$work/completions/$program" "$2/$3$program$4"
    done
}
complete bash /usr/share/bash-completion/completions "" ""
complete fish /usr/share/fish/vendor_completions.d "" .fish
complete zsh /usr/share/zsh/site-functions _ ""

# Whenever the tree was checked out.
date_all() { find "$stage" -exec touch --no-dereference --date="@$SOURCE_DATE_EPOCH" {} +; }
date_all

# --- the RPM

rpmbuild -bb --quiet --target x86_64-linux \
    --define "_topdir $work/rpm" --define "_rpmdir $work/rpm" \
    --define "_rpmfilename %{NAME}-%{VERSION}-%{RELEASE}.%{ARCH}.rpm" \
    --define "stage $stage" --define "scriptlets $root/packaging/scriptlets" \
    --define "package_version $version" --define "package_release $release" \
    "$root/packaging/coriolis-ovm-exporter.spec" >"$work/log" 2>&1 ||
    { cat "$work/log" >&2; exit 1; }

# --- the DEB

# Debian's own places.
mv "$stage/usr/share/zsh/site-functions" "$stage/usr/share/zsh/vendor-completions"
put 0644 "$root/packaging/copyright" "$documents/copyright"
mkdir "$stage/DEBIAN"
(cd "$stage" && find usr -type f -print0 | LC_ALL=C sort -z | xargs -0 md5sum) >"$stage/DEBIAN/md5sums"
sed -e "s/@VERSION@/$version-$release/" \
    -e "s/@SIZE@/$(du -sk --apparent-size "$stage" | cut -f 1)/" \
    "$root/packaging/control" >"$stage/DEBIAN/control"
install -m 0644 "$root/packaging/conffiles" "$stage/DEBIAN/conffiles"
install -m 0755 "$root/packaging/scriptlets/installed.sh" "$stage/DEBIAN/postinst"
install -m 0755 "$root/packaging/scriptlets/removing.sh" "$stage/DEBIAN/prerm"
install -m 0755 "$root/packaging/scriptlets/removed.sh" "$stage/DEBIAN/postrm"
date_all
dpkg-deb --build --root-owner-group -Zgzip -z6 "$stage" \
    "$work/coriolis-ovm-exporter_$version-${release}_amd64.deb" >/dev/null

mv "$work"/rpm/*.rpm "$work"/*.deb "$out/"
ls -l "$out/coriolis-ovm-exporter-$version-$release.x86_64.rpm" \
    "$out/coriolis-ovm-exporter_$version-${release}_amd64.deb"
