#!/bin/sh
# A stand-in for xm. In its folder: `domains/NAME` holds a domain's state letters; `log` gets a line
# for each thing that happens, with nanoseconds; `behaviour/WORD` holds a word for each coming call
# of WORD, of which the first is taken; `slow` is how many seconds a pause call takes after the
# domain has been paused.
folder=${0%/*}

log() {
    echo "$(date +%s%N) $*" >> "$folder/log"
}

set_state() {
    echo "$2" > "$folder/new.$$"
    mv "$folder/new.$$" "$folder/domains/$1"
}

behaviour() {
    file=$folder/behaviour/$1
    [ -s "$file" ] || { echo well; return; }
    head -n 1 "$file"
    sed 1d "$file" > "$file.$$"
    mv "$file.$$" "$file"
}

has_domain() {
    [ -e "$folder/domains/$1" ] || { echo "Error: Domain '$1' does not exist." >&2; exit 1; }
}

pause() {
    log paused "$1"
    set_state "$1" --p---
}

unpause() {
    set_state "$1" -b----
    log unpaused "$1"
}

hang() {
    exec sleep 600
}

case $1 in
list)
    case $(behaviour list) in
    fails) echo "Error: Unable to connect to xend" >&2; exit 1 ;;
    hangs) hang ;;
    esac
    echo "Name                                        ID   Mem VCPUs      State   Time(s)"
    echo "Domain-0                                     0   834     4     r-----   9301.7"
    for file in "$folder"/domains/*; do
        [ -e "$file" ] && read -r state < "$file" && echo "${file##*/} 3 2048 2 $state 120.4"
    done
    exit 0
    ;;
pause)
    log call-pause "$2"
    how=$(behaviour pause)
    case $how in
    fails) echo "Error: cannot pause" >&2; exit 1 ;;
    hangs) hang ;;
    lies) exit 0 ;;
    esac
    has_domain "$2"
    # In the background of a server that does not know that nobody waits any more.
    [ "$how" = hangs-then-late ] && {
        setsid "$0" late "$2" > /dev/null 2>&1 < /dev/null &
        hang
    }
    pause "$2"
    case $how in
    stops-guard) kill -STOP "$PPID" ;;
    then-fails) echo "Error: no answer from xend" >&2; exit 1 ;;
    then-hangs) hang ;;
    esac
    [ -e "$folder/slow" ] && sleep "$(cat "$folder/slow")"
    exit 0
    ;;
late)
    sleep 3
    pause "$2"
    ;;
unpause)
    log call-unpause "$2"
    how=$(behaviour unpause)
    case $how in
    fails) echo "Error: no answer from xend" >&2; exit 1 ;;
    hangs) hang ;;
    esac
    has_domain "$2"
    unpause "$2"
    case $how in
    then-hangs) hang ;;
    esac
    exit 0
    ;;
*)
    echo "Error: what is $1" >&2
    exit 1
    ;;
esac
