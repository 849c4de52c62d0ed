#!/bin/sh
# units.sh SOURCE: systemd understands our units, and finds them no more exposed than 2.0 of 10.
set -eu
source=${1:?usage: units.sh SOURCE}
command -v systemd-analyze >/dev/null || exit 77
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
status=0
for unit in ember-broker.service ember-worker@.service; do
    for keys in no yes; do
        # verify wants programs and users that exist; what they are is not its business
        sed -e 's,^\(ExecStart=\)/usr/bin/[^ ]*,\1/bin/true,' -e '/^User=\|^Group=/d' "$source/deploy/systemd/$unit" >"$dir/$unit"
        if [ $keys = yes ]; then
            part=${unit#ember-}
            part=${part%%[.@]*}
            mkdir -p "$dir/$unit.d"
            sed -e 's,^\(ExecStart=\)/usr/bin/[^ ]*,\1/bin/true,' "$source/deploy/systemd/keys/$part.conf" >"$dir/$unit.d/keys.conf"
        fi
        name=$(echo "$unit" | sed 's/@/@1/')
        [ "$name" = "$unit" ] || cp "$dir/$unit" "$dir/$name"
        if ! said=$(SYSTEMD_UNIT_PATH="$dir:" systemd-analyze verify --man=no "$dir/$name" 2>&1); then
            case $said in
            *"Failed to initialize"* | *"not been booted"* | *"Operation not permitted"*) exit 77 ;;
            esac
            echo "$said" >&2
            status=1
        fi
        if echo "$said" | grep -E "^(.*/)?$unit|^$dir" >&2; then status=1; fi
    done
    cp "$source/deploy/systemd/$unit" "$dir/$unit"
    if ! said=$(systemd-analyze security --no-pager --offline=yes --threshold=20 "$dir/$unit" 2>&1); then
        echo "$said" | tail -3 >&2
        status=1
    fi
done
exit $status
