# shellcheck shell=sh
# For scripts that do what the documents say: the commands below a heading. Read with "." where the
# documents are, or $here says where.

block() { # FILE HEADING
    awk -v heading="$2" '
        /^```/ { code = !code; inside = code && here && $0 == "```sh"; next }
        !code && /^#+ / { sub(/^#+ /, ""); here = $0 == heading }
        inside { print; lines++ }
        END { exit lines == 0 }' "${here:-.}/$1"
}
