#!/bin/sh
# From the package to a snapshot by curl, with nothing but the lines that an admin reads: those of the
# README (how to install, how to sign in) and those that `init` prints. The node is a scratch root with a
# shell and curl, in namespaces of its own: it has the name ovs1.example, only a loopback, and whatever
# is left in it ends with this script. Around it are the demo's repository, agent databases and manager.
# Upstart is a stand-in that reads the job's file.
#
#   scripts/test-node.sh BIN_DIR        as root; BIN_DIR holds static programs
set -eu

name=coriolis-ovm-exporter
here=$(cd "$(dirname "$0")/.." && pwd)
export PATH="$PATH:/usr/sbin:/sbin" LC_ALL=C.UTF-8

if [ "${1:-}" != --inside ]; then
    [ $# -eq 1 ] || { sed -n 's/^#   //p' "$0" >&2; exit 2; }
    programs=$(cd "$1" && pwd)
    work=$(mktemp -d -p "${TMPDIR:-/var/tmp}" coriolis-node-XXXXXX)
    trap 'rm -rf "$work"' EXIT
    # Mounts, the loop device and all processes go with the namespaces.
    unshare --mount --net --uts --ipc --pid --fork --kill-child --mount-proc \
        "$0" --inside "$programs" "$work" &
    inside=$!
    # It lets no other signal end it, and takes the script with it.
    trap 'kill -KILL "$inside" 2>/dev/null || :; wait "$inside" || :; exit 1' HUP INT TERM
    wait "$inside"
    exit
fi
programs=$2
work=$3
umask 022

indent="    "
. "$here/scripts/steps.sh"
evidence() {
    tail -n 30 "$work"/said* "$work/root/var/log/$name.log" "$work/root/var/log/$name.stderr" 2>/dev/null
}
has() { # FILE TEXT
    grep -qF -e "$2" "$1" || fail "no '$2' in: $(cat "$1")"
}
. "$here/scripts/block.sh"

echo ovs1.example >/proc/sys/kernel/hostname
ip link set lo up

# --- the node without us

. "$here/scripts/scratch-root.sh"
new_root
mkdir -p "$root/proc" "$root/run" "$root/sbin" "$root/var/log" "$root/etc/ovs-agent"
mount -t proc proc "$root/proc"
echo "127.0.0.1 localhost ovs1.example" >"$root/etc/hosts"
for program in curl sed sleep; do
    bring $program /usr/bin/$program
done

cat >"$root/sbin/initctl" <<'UPSTART'
#!/bin/sh
# What upstart makes of a job's file, as far as ours needs it.
set -eu
job=/etc/init/${2-}.conf
state=/run/${2-}.pid
pid=0
[ ! -e "$state" ] || read -r pid <"$state"
runs() { [ "$pid" -ne 0 ] && kill -0 "$pid" 2>/dev/null; }
case $1 in
reload-configuration) ;;
status) if runs; then echo "$2 start/running, process $pid"; else echo "$2 stop/waiting"; fi ;;
start)
    # In the job, "stop" ends it.
    { echo 'stop() { exit 1; }'; sed -n '/^pre-start script$/,/^end script$/p' "$job" | sed '1d;$d'; } >/run/pre-start
    sh -e /run/pre-start
    umask "$(sed -n 's/^umask //p' "$job")"
    sh -c "$(sed -n '/^exec /p' "$job")" </dev/null >/dev/null 2>&1 &
    echo $! >"$state"
    echo "$2 start/running, process $!"
    ;;
stop)
    kill "$pid"
    while runs; do sleep 0.1; done
    echo "$2 stop/waiting"
    ;;
esac
UPSTART
printf '#!/bin/sh\nexec /sbin/initctl start "$@"\n' >"$root/sbin/start"
chmod 755 "$root/sbin/initctl" "$root/sbin/start"

begin "a repository, agent databases and a manager"
mkdir "$work/demo"
: >"$work/around"
TMPDIR=$work/demo "$programs/$name" demo --around "$root/etc/ovs-agent/db" >"$work/around" 2>"$work/said.demo" &
demo=$!
tries=0
until [ "$(grep -c '^machine ' "$work/around")" -eq 2 ]; do
    kill -0 $demo 2>/dev/null && [ $tries -lt 300 ] || fail "the demo's node does not come"
    tries=$((tries + 1))
    sleep 0.1
done
repository=$(sed -n 's/^repository //p' "$work/around")
vm=$(sed -n 's/^machine //p' "$work/around" | head -n 1)
password=$(sed -n 's/^manager .* //p' "$work/around")
mkdir -p "$root$repository"
mount --bind "$repository" "$root$repository"

# --- our part: the README's lines

on_node() { # LINE; as root logs in
    env -i HOME=/ PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin chroot "$root" /bin/sh -ec "$1"
}
make() {
    command make --silent --directory "$here" CARGO=true RELEASE="$programs" PACKAGES="$work/packages" "$@"
}
rpm() {
    (cd "$work/packages" && rpm_ "$@")
}
served() {
    tries=0
    until on_node "curl -sf --cacert /etc/$name/ca-pub.pem https://localhost:5544/health/ready" >"$work/said.ready" 2>&1; do
        [ $tries -lt 300 ] || fail "the daemon does not get ready"
        tries=$((tries + 1))
        sleep 0.1
    done
}

block README.md "On a node" >"$work/lines"
while read -r line <&3; do
    begin "${line%%   *}"
    case $line in
    "make "* | "rpm "*) eval "$line" >"$work/said" 2>&1 || fail "it ends with $?" ;;
    "$name init "*) on_node "$line" >"$work/init" 2>&1 || fail "it ends with $?: $(cat "$work/init")" ;;
    "start "*)
        on_node "$line" >"$work/said" 2>&1 || fail "it ends with $?"
        served
        ;;
    "$name doctor "*)
        doctors=$((${doctors:-0} + 1))
        on_node "$line" >"$work/said" 2>&1 || fail "it ends with $?"
        same "what is not good" "$(grep -v '^good' "$work/said" || :)" ""
        has "$work/said" "it answers"
        ;;
    *) fail "this line of the README is not tried: $line" ;;
    esac
done 3<"$work/lines"
same "how often the README has doctor" "${doctors:-0}" 1
same "what init says comes next" "$(sed -n '/^Next$/,/^$/s/^  //p' "$work/init")" \
    "start $name
$name doctor"

# Types lines as the admin does, one after the other, with what only the admin knows.
cat >"$root/paste" <<'PASTE'
set -eu
cd /etc/coriolis-ovm-exporter
asked=0
command=
while IFS= read -r line <&3; do
    command="$command$line
"
    case $line in *"|" | *"\\") continue ;; esac
    case $command in
    *"curl "*)
        asked=$((asked + 1))
        eval "$command" >"/tmp/said.$asked"
        ;;
    *) eval "$command" ;;
    esac
    command=
done 3</lines
echo "$TOKEN" >/tmp/token
echo "$SNAPSHOT" >/tmp/snapshot
PASTE
# The id in the answer to whoever took one.
printf '%s\n' 's/^{"id":"\([0-9a-f-]*\)".*/\1/p' >"$root/id"
paste() { # WHAT; lines come from standard input
    begin "log in, take a snapshot, list it, delete it: $1"
    rm -f "$root"/tmp/said.* "$root/tmp/token" "$root/tmp/snapshot"
    sed -e "s/\"password\":\"…\"/\"password\":\"$password\"/" \
        -e "s/VM=….*/VM=$vm/" \
        -e "s|SNAPSHOT=….*|SNAPSHOT=\$(sed -n -f /id /tmp/said.3)|" >"$root/lines"
    on_node ". /paste" >"$work/said" 2>&1 || fail "a line ends with $?"
    cp "$root"/tmp/said.* "$work/"
    snapshot=$(cat "$root/tmp/snapshot")
    case $snapshot in ????????-????-????-????-????????????) ;; *) fail "no snapshot: $snapshot" ;; esac
    has "$work/said.2" "\"id\":\"$vm\""
    has "$work/said.3" "\"id\":\"$snapshot\""
    has "$work/said.4" "\"id\":\"$snapshot\""
    same "requests" "$(ls "$root/tmp" | grep -c said)" 5
    same "what is left on the repository" "$(ls "$repository/CoriolisSnapshots")" ""
}

sed -n '/^Then, with curl/,/^[^ ]/s/^  //p' "$work/init" | paste "as init prints it"
block README.md "Signing in" | paste "as the README has it"

# --- an upgrade, with a snapshot and a token of before

ask() { # MORE
    on_node "cd /etc/$name; curl -s --cacert ca-pub.pem -H 'Authorization: Bearer $(cat "$root/tmp/token")' \
        $1 https://ovs1.example:5544/api/v1/vms/$vm/snapshots"
}
process() {
    cat "$root/run/$name.pid"
}
begin "upgrade: the daemon is another one; configuration, secret and snapshot are the same"
ask "-X POST" >"$work/said" || fail "no snapshot"
snapshot=$(sed -n -f "$root/id" "$work/said")
[ -n "$snapshot" ] || fail "no snapshot: $(cat "$work/said")"
before=$(process)
own=$(sha256sum "$root/etc/$name/"*.toml "$root/etc/$name/"*.pem)
export PACKAGE_RELEASE=2
make packages >"$work/said" 2>&1 || fail "make packages"
rpm -U "$(cd "$work/packages" && echo $name-*-2.x86_64.rpm)" >"$work/said" 2>&1 || fail "rpm -U"
served
[ "$(process)" != "$before" ] || fail "the old daemon runs still"
same "the node's files" "$(sha256sum "$root/etc/$name/"*.toml "$root/etc/$name/"*.pem)" "$own"
ask "" >"$work/said" || fail "no list"
has "$work/said" "\"id\":\"$snapshot\""
on_node "$name doctor" >"$work/said" 2>&1 || fail "doctor ends with $?"
same "what is not good" "$(grep -v '^good' "$work/said" || :)" ""

begin "removed: the daemon is gone, the node's files stay"
on_node "cd /etc/$name; curl -s -o /dev/null -w '%{http_code}' --cacert ca-pub.pem -X DELETE \
    -H 'Authorization: Bearer $(cat "$root/tmp/token")' \
    https://ovs1.example:5544/api/v1/vms/$vm/snapshots/$snapshot" >"$work/said" || fail "the snapshot stays"
same "the answer to the deletion" "$(cat "$work/said")" 200
before=$(process)
rpm -e $name >"$work/said" 2>&1 || fail "rpm -e"
! kill -0 "$before" 2>/dev/null || fail "the daemon runs still"
same "the node's files" "$(sha256sum "$root/etc/$name/"*.toml "$root/etc/$name/"*.pem)" "$own"

begin "nothing of ours keeps the repository"
umount "$root$repository" || fail "it is busy"
kill $demo
wait $demo || :
[ ! -e "$repository" ] || fail "the demo's node has left something"
