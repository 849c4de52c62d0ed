#!/bin/sh
# units.sh SOURCE: systemd understands our units and their slice, finds them no more exposed than 2.0 of 10, and gives them
# the time to drain.
set -eu
source=${1:?usage: units.sh SOURCE}
command -v systemd-analyze >/dev/null || exit 77
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
status=0
cp "$source/deploy/systemd/ember.slice" "$dir/ember.slice"
# Brokers and workers: time to drain, and a part of the memory that all of them may have.
check_service() {
    drain=$(sed -n 's/^drain-timeout = \([0-9]*\)s$/\1/p' "$source/deploy/conf/$part.conf")
    stop=$(sed -n 's/^TimeoutStopSec=\([0-9]*\)s$/\1/p' "$dir/$unit")
    if [ "${stop:-0}" -le "${drain:?}" ]; then
        echo "units: $unit: killed after ${stop:-?} s, may drain for $drain s" >&2
        status=1
    fi
    if ! grep -q '^Slice=ember.slice$' "$dir/$unit"; then
        echo "units: $unit: not in ember.slice" >&2
        status=1
    fi
}
for unit in ember-broker.service ember-worker@.service ember-scale.service; do
    for keys in no yes; do
        # verify wants programs and users that exist; what they are is not its business
        sed -e 's,^\(ExecStart=\)/usr/bin/[^ ]*,\1/bin/true,' -e '/^User=\|^Group=/d' "$source/deploy/systemd/$unit" >"$dir/$unit"
        if [ $keys = yes ] && [ "$unit" != ember-scale.service ]; then
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
    part=${unit#ember-}
    part=${part%%[.@]*}
    [ "$part" = scale ] || check_service
    if ! said=$(systemd-analyze security --no-pager --offline=yes --threshold=20 "$dir/$unit" 2>&1); then
        echo "$said" | tail -3 >&2
        status=1
    fi
done
if ! said=$(SYSTEMD_UNIT_PATH="$dir:" systemd-analyze verify --man=no "$dir/ember.slice" 2>&1) || echo "$said" | grep -q "ember.slice"; then
    echo "$said" >&2
    status=1
fi
exit $status
