#!/bin/sh
# hardened.sh BUILD FORTIFIED: what the linker and compiler were asked for is in the programs. FORTIFIED
# is no in builds without optimisation or with sanitizers.
set -eu
build=${1:?usage: hardened.sh BUILD yes|no}
fortified=${2:?usage: hardened.sh BUILD yes|no}
command -v readelf >/dev/null || exit 77
status=0

fail() {
    echo "hardened: $1: $2" >&2
    status=1
}

# has FILE READELF-OPTION PATTERN WHAT
has() {
    readelf -W "$2" "$1" 2>/dev/null | grep -Eq "$3" || fail "$1" "$4"
}

for file in broker/ember-broker worker/ember-worker worker/model_tool/ember-model client/cli/ember client/lib/libember.so; do
    path=$build/$file
    [ -e "$path" ] || { fail "$path" "is not there"; continue; }
    has "$path" -h 'Type: +DYN' "not position independent"
    has "$path" -l 'GNU_RELRO' "no RELRO"
    has "$path" -d 'BIND_NOW|Flags:.* NOW' "bound lazily: RELRO is not full"
    has "$path" -l 'GNU_STACK.* RW +0x' "its stack is executable"
    has "$path" --dyn-syms '__stack_chk_fail' "no stack protector"
    if readelf -Wd "$path" | grep -q TEXTREL; then fail "$path" "relocations in its text"; fi
    if readelf -Wl "$path" | grep -Eq ' RWE '; then fail "$path" "a segment is writable and executable"; fi
    if [ "$fortified" = yes ]; then
        has "$path" --dyn-syms '__[a-z]+_chk@' "no fortified call"
    fi
done
exit $status
