#!/bin/sh
# Builds both packages out of static programs, asserts from the headers what the rpm 4.8 of Oracle
# Linux 6 takes, and installs, upgrades and removes them with real rpm and dpkg, each time in a root
# folder that has a shell (dash) and nothing else. systemctl and initctl in it are stubs that write
# down how they were called: a real systemd or upstart cannot run there.
#
#   scripts/test-packages.sh BIN_DIR        as root
set -eu

[ $# -eq 1 ] || { sed -n 's/^#   //p' "$0" >&2; exit 2; }
[ "$(id -u)" -eq 0 ] || { echo "the tests of the packages install into a chroot: they need root" >&2; exit 1; }
export PATH="$PATH:/usr/sbin:/sbin" LC_ALL=C.UTF-8
umask 022
here=$(cd "$(dirname "$0")/.." && pwd)
programs=$(cd "$1" && pwd)
name=coriolis-ovm-exporter
work=$(mktemp -d -p "${TMPDIR:-/var/tmp}" coriolis-packages-XXXXXX)
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM

indent="  "
. "$here/scripts/steps.sh"

# --- the packages

begin "building"
version=$("$programs/$name" --version)
version=${version##* }
packages() { # TREE OUT RELEASE
    SOURCE_DATE_EPOCH=1700000000 PACKAGE_RELEASE=$3 "$1/scripts/packages.sh" "$programs" "$2" >/dev/null
}
packages "$here" "$work/out" 1
begin "building again gives the same bytes"
packages "$here" "$work/again" 1
diff -r "$work/out" "$work/again" || fail "they differ"

begin "building a higher version"
next=$work/next
mkdir "$next"
(cd "$here" && cp -a Cargo.toml README.md CHANGELOG.md LICENSE config.toml.example contrib docs packaging scripts "$next/")
echo "# of the second package" >>"$next/config.toml.example"
echo "# of the second package" >>"$next/contrib/upstart/$name.conf"
packages "$next" "$work/out" 2

package() { # FORMAT RELEASE
    case $1 in
    rpm) echo "$work/out/$name-$version-$2.x86_64.rpm" ;;
    deb) echo "$work/out/${name}_$version-$2_amd64.deb" ;;
    esac
}

# --- what rpm 4.8 reads

rpm_1=$(package rpm 1)
asked() { rpm --query --package --queryformat "$1" "$rpm_1"; }

begin "header: payload and digests"
# Packages of Oracle Linux 6 itself are cpio, and have SHA-256 digests of files. rpm 4.8 checks the
# header by SHA-1 and the whole by MD5; newer ones want SHA-256 of the header.
same "payload" "$(asked '%{PAYLOADFORMAT} %{PAYLOADCOMPRESSOR} %{PAYLOADFLAGS}')" "cpio gzip 6"
same "digests of files" "$(asked '%{FILEDIGESTALGO}')" 8
for digest in SIGMD5 SHA1HEADER SHA256HEADER; do
    case $(asked "%{$digest}") in
    *[!0-9a-f]* | "") fail "no $digest" ;;
    esac
done

begin "header: nothing is required but a shell, and what rpm 4.8 does"
# Not one feature is newer than 4.8, nothing comes from looking into the programs. /bin/sh is what rpm
# adds for scriptlets; the bash of Oracle Linux 6 has that file.
same "requirements" "$(asked '[%{REQUIRENAME} %{REQUIREFLAGS:depflags} %{REQUIREVERSION}\n]' | sed 's/ *$//' | sort -u)" \
    "/bin/sh
rpmlib(CompressedFileNames) <= 3.0.4-1
rpmlib(FileDigests) <= 4.6.0-1
rpmlib(PayloadFilesHavePrefix) <= 4.0-1"
same "provides" "$(asked '[%{PROVIDENAME} %{PROVIDEFLAGS:depflags} %{PROVIDEVERSION}\n]' | sort)" \
    "$name = $version-1
$name(x86-64) = $version-1"

begin "header: every tag"
# Tags of rpm 4.8, and on the last line those that it does not know and passes over.
known=" Arch Archivesize Basenames Buildhost Buildtime Classdict Description Dirindexes Dirnames
 Fileclass Filecolors Filedevices Filedigestalgo Filedigests Fileflags Filegroupname Fileinodes
 Filelangs Filelinktos Filemodes Filemtimes Filerdevs Filesizes Fileusername Fileverifyflags Group
 Headeri18ntable License Name Optflags Os Payloadcompressor Payloadflags Payloadformat Platform
 Postin Postinprog Postun Postunprog Preun Preunprog Provideflags Providename Provideversion
 Release Requireflags Requirename Requireversion Rpmversion Sha1header Sigmd5 Sigsize Size Sourcerpm
 Summary Url Version
 Encoding Payloaddigest Payloaddigestalgo Payloaddigestalt Sha256header "
tags=$(rpm --query --package --xml "$rpm_1" | sed -n 's/.*<rpmTag name="\([^"]*\)".*/\1/p' | sort -u)
for tag in Name $tags; do
    case $known in
    *[[:space:]]"$tag"[[:space:]]*) ;;
    *) fail "what does rpm 4.8 make of the tag $tag?" ;;
    esac
done

begin "header: scriptlets are for /bin/sh, and good for dash and bash"
same "interpreters" "$(asked '%{POSTINPROG} %{PREUNPROG} %{POSTUNPROG}')" "/bin/sh /bin/sh /bin/sh"
for scriptlet in POSTIN PREUN POSTUN; do
    asked "%{$scriptlet}" >"$work/scriptlet"
    dash -n "$work/scriptlet" || fail "$scriptlet"
    bash -n "$work/scriptlet" || fail "$scriptlet"
done

begin "header: the DEB requires nothing"
deb_1=$(package deb 1)
same "dependencies" "$(dpkg-deb --field "$deb_1" Depends Pre-Depends Recommends)" ""
same "version" "$(dpkg-deb --field "$deb_1" Version)" "$version-1"

# --- a node, or what a package sees of one

. "$here/scripts/scratch-root.sh"
dpkg_() {
    # The machine's own dpkg may be set up to leave out documentation.
    dpkg --root="$root" --path-include='/usr/*' --force-confold "$@" >"$work/dpkg.log" 2>&1 || {
        cat "$work/dpkg.log" >&2
        return 1
    }
}
install_() { # FORMAT RELEASE
    : >"$root/calls"
    case $1 in
    rpm) rpm_ --upgrade "$(package rpm "$2")" >"$work/said" 2>&1 ;;
    deb) dpkg_ --install "$(package deb "$2")" ;;
    esac || { cat "$work/said" >&2; fail "installing the $1, release $2"; }
}
remove() { # FORMAT
    : >"$root/calls"
    case $1 in
    rpm) rpm_ --erase $name >"$work/said" 2>&1 ;;
    deb) dpkg_ --remove $name ;;
    esac || { cat "$work/said" >&2; fail "removing the $1"; }
}

stub() { # PATH; its lines come from standard input
    {
        echo '#!/bin/sh'
        # shellcheck disable=SC2016 # for the stub
        echo 'echo "${0##*/} $*" >>/calls'
        cat
    } >"$root$1"
    chmod 755 "$root$1"
}
called() { # WHEN EXPECTED
    same "what was called $1" "$(cat "$root/calls")" "$2"
}

listing() { # everything in the root, without what rpm and dpkg keep and what this test wrote
    (cd "$root" && find . \( -path ./var/lib/rpm -o -path ./var/lib/dpkg -o -path ./calls -o -path ./state \
        -o -path ./etc/$name \) -prune -o -printf '%M %u %g %p %l\n' | sort -k 4)
}
node_files() {
    (cd "$root/etc/$name" && find . -type f ! -name '*.example' -exec sha256sum {} + | sort -k 2)
}

installed_files() { # FORMAT: as they must be
    zsh=site-functions
    [ "$1" = rpm ] || zsh=vendor-completions
    for file in "-rwxr-xr-x ./usr/local/bin/$name" "-rwxr-xr-x ./usr/local/bin/ovm-exporter" \
        "drwx------ ./etc/$name" "-rw-r--r-- ./etc/$name/config.toml.example" \
        "-rw-r--r-- ./etc/init/$name.conf" "-rw-r--r-- ./usr/lib/systemd/system/$name.service" \
        "-rw-r--r-- ./usr/share/man/man1/$name.1.gz" "-rw-r--r-- ./usr/share/man/man1/ovm-exporter.1.gz" \
        "-rw-r--r-- ./usr/share/man/man1/$name-init.1.gz" \
        "-rw-r--r-- ./usr/share/bash-completion/completions/$name" \
        "-rw-r--r-- ./usr/share/bash-completion/completions/ovm-exporter" \
        "-rw-r--r-- ./usr/share/fish/vendor_completions.d/$name.fish" \
        "-rw-r--r-- ./usr/share/zsh/$zsh/_ovm-exporter" \
        "-rw-r--r-- ./usr/share/doc/$name/README.md" "-rw-r--r-- ./usr/share/doc/$name/LICENSE" \
        "-rw-r--r-- ./usr/share/doc/$name/docs/doctor.md"; do
        path=${file#* }
        found=$(cd "$root" && find "$path" -maxdepth 0 -printf '%M %u %g\n' 2>&1) || fail "$path: $found"
        same "$path" "$found" "${file%% *} root root"
    done
    same "what is in /etc/$name" "$(ls -A "$root/etc/$name")" config.toml.example
}

# --- without an init system: everything about files

for format in rpm deb; do
    begin "$format: installed"
    new_root
    before=$(listing)
    install_ $format 1
    installed_files $format
    cmp "$here/config.toml.example" "$root/etc/$name/config.toml.example"
    cmp "$here/contrib/upstart/$name.conf" "$root/etc/init/$name.conf"
    cmp "$here/contrib/systemd/$name.service" "$root/usr/lib/systemd/system/$name.service"
    cmp "$programs/$name" "$root/usr/local/bin/$name"
    cmp "$programs/ovm-exporter" "$root/usr/local/bin/ovm-exporter"
    same "the program" "$(chroot "$root" /usr/local/bin/$name --version)" "$name $version"
    if [ $format = rpm ]; then
        same "rpm --verify" "$(rpm_ --verify $name)" ""
    else
        same "dpkg --verify" "$(dpkg --root="$root" --verify $name)" ""
    fi
    # By systemd's own search, and with nobody's help.
    same "systemctl is-enabled" "$(systemctl --root="$root" is-enabled $name.service || :)" disabled

    begin "$format: init without the devices of random numbers says so, and writes nothing"
    mkdir "$work/devices"
    mv "$root/dev/random" "$root/dev/urandom" "$work/devices/"
    status=0
    chroot "$root" /usr/local/bin/$name init --name node.example >"$work/said" 2>&1 || status=$?
    same "init's exit status" "$status" 1
    grep -q "^$name: no random numbers: /dev/random and /dev/urandom" "$work/said" ||
        { cat "$work/said" >&2; fail "init does not say what is missing"; }
    same "what is in /etc/$name" "$(ls -A "$root/etc/$name")" config.toml.example
    mv "$work/devices/random" "$work/devices/urandom" "$root/dev/"
    rmdir "$work/devices"

    begin "$format: init, then upgraded"
    chroot "$root" /usr/local/bin/$name init --name node.example >"$work/said" 2>&1 ||
        { cat "$work/said" >&2; fail "init"; }
    chroot "$root" /usr/local/bin/$name check-config >"$work/said" 2>&1 ||
        { cat "$work/said" >&2; fail "check-config"; }
    : >"$root/etc/$name/exporter.db"
    own=$(node_files)
    for file in config.toml ca-pub.pem ca-key.pem srv-pub.pem srv-key.pem; do
        [ -e "$root/etc/$name/$file" ] || fail "init made no $file"
    done
    install_ $format 2
    same "the node's files after the upgrade" "$(node_files)" "$own"
    same "the folder" "$(stat -c %a "$root/etc/$name")" 700
    cmp "$next/config.toml.example" "$root/etc/$name/config.toml.example"
    cmp "$next/contrib/upstart/$name.conf" "$root/etc/init/$name.conf"

    begin "$format: removed"
    remove $format
    if [ $format = deb ]; then
        [ -e "$root/etc/init/$name.conf" ] || fail "dpkg --remove has taken a conffile"
        dpkg_ --purge $name || fail "purging"
    fi
    same "the node's files after the end" "$(node_files)" "$own"
    same "what is left" "$(ls -A "$root/etc/$name" | grep example || :)" ""
    same "what else is left" "$(listing)" "$before"
    called "without an init system" ""

    begin "$format: removed before anybody used it"
    new_root
    install_ $format 1
    remove $format
    [ $format = rpm ] || dpkg_ --purge $name
    same "what is left" "$(listing)" "$before"
    [ ! -e "$root/etc/$name" ] || fail "/etc/$name is left"
done

# --- systemd

for format in rpm deb; do
    for result in 0 1; do
        begin "$format: systemd, whose answer is $result"
        new_root
        mkdir -p "$root/run/systemd/system"
        echo "exit $result" | stub /usr/bin/systemctl
        install_ $format 1
        called "when installed" "systemctl daemon-reload"
        install_ $format 2
        # rpm ends with what the old version has to say.
        reload_again=$([ $format = deb ] || echo "
systemctl daemon-reload")
        case $format in
        rpm) called "when upgraded" "systemctl daemon-reload
systemctl try-restart $name.service$reload_again" ;;
        # dpkg has that before.
        deb) called "when upgraded" "systemctl daemon-reload
systemctl daemon-reload
systemctl try-restart $name.service" ;;
        esac
        remove $format
        called "when removed" "systemctl --no-reload disable $name.service
systemctl stop $name.service
systemctl daemon-reload"
    done

    begin "$format: a folder that has systemctl, where no systemd runs"
    new_root
    echo "exit 1" | stub /usr/bin/systemctl
    install_ $format 1
    install_ $format 2
    called "when installed and upgraded" ""
    remove $format
    called "when removed" "systemctl --no-reload disable $name.service"
done

# --- upstart

upstart() { # STATE
    mkdir -p "$root/sbin"
    echo "$1" >"$root/state"
    stub /sbin/initctl <<'STUB'
case $1 in
status)
    read -r state </state
    echo "$2 $state"
    ;;
stop) echo stop/waiting >/state ;;
start) echo "start/running, process 2" >/state ;;
esac
STUB
}
for format in rpm deb; do
    begin "$format: upstart, the daemon runs"
    new_root
    upstart stop/waiting
    install_ $format 1
    called "when installed" "initctl reload-configuration"
    same "the daemon" "$(cat "$root/state")" stop/waiting
    upstart "start/running, process 1"
    install_ $format 2
    called "when upgraded" "initctl reload-configuration
initctl status $name
initctl stop $name
initctl start $name"
    remove $format
    called "when removed" "initctl status $name
initctl stop $name"
    same "the daemon" "$(cat "$root/state")" stop/waiting

    begin "$format: upstart, the daemon is off and stays off; a job that was changed by hand stays"
    new_root
    upstart stop/waiting
    install_ $format 1
    echo "# of this node" >>"$root/etc/init/$name.conf"
    job=$(cat "$root/etc/init/$name.conf")
    install_ $format 2
    called "when upgraded" "initctl reload-configuration
initctl status $name"
    same "the job" "$(cat "$root/etc/init/$name.conf")" "$job"
    remove $format
    called "when removed" "initctl status $name"

    begin "$format: upstart that answers nothing"
    new_root
    mkdir -p "$root/sbin"
    echo "exit 1" | stub /sbin/initctl
    install_ $format 1
    install_ $format 2
    remove $format
    called "when removed" "initctl status $name"
done

# --- a node, from the README's first line to curl

begin "the RPM, init, start, doctor, curl, an upgrade: the README's lines and those that init prints"
"$here/scripts/test-node.sh" "$programs"

echo "Packages: all as it should be"
