#!/bin/sh
# rules.sh SOURCE: Prometheus understands our configuration, rules and the dashboard's expressions, and each alert fires
# when it should and is silent when it nearly should. promtool is taken from $PROMTOOL, the PATH, or build/tools (scripts/bootstrap --tests).
set -eu
source=${1:?usage: rules.sh SOURCE}
tool=${PROMTOOL:-$(command -v promtool || true)}
[ -n "$tool" ] || tool=$source/build/tools/promtool
[ -x "$tool" ] || exit 77
status=0
quietly() { # COMMAND...: what it says is shown when it fails
    said=$("$@" 2>&1) && return
    echo "$said" >&2
    status=1
}
quietly "$tool" check config "$source/deploy/prometheus/prometheus.yml"
quietly "$tool" check rules --lint=all --lint-fatal "$source"/deploy/prometheus/rules/*.yaml
quietly "$tool" test rules "$source/tests/tidy/alerts_test.yaml"
panels=$(mktemp)
trap 'rm -f "$panels"' EXIT
if python3 "$source/tests/tidy/metrics.py" --as-rules "$source" >"$panels"; then
    quietly "$tool" check rules "$panels"
elif [ $? != 77 ]; then
    status=1
fi
exit $status
