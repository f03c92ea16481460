# shellcheck shell=sh
# For scripts that test step by step: what is being done, and that it failed. Read with "." by whoever may
# set $indent, what stands before each step, and say more of a failure by a function `evidence`.

doing=""
begin() { # STEP
    doing=$1
    echo "${indent-}$doing"
}
evidence() {
    :
}
fail() { # WHAT
    echo "FAILED: $doing: $1" >&2
    evidence >&2 || :
    exit 1
}
same() { # WHAT FOUND EXPECTED
    [ "$2" = "$3" ] || fail "$1
--- expected
$3
--- found
$2"
}
