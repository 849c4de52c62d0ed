#!/usr/bin/env bash
# bench_test.sh BUILD: `ember bench` against a broker and a worker with the fake engine: what it says, its exit
# status, and reports that other programs can read. How fast anything is, is not asked.
set -euo pipefail
build=$1
here=$(cd "$(dirname "$0")" && pwd)
dir=$(mktemp -d)
export EMBER_BROKER=ipc://$dir/clients
unset EMBER_MODEL EMBER_TIMEOUT EMBER_OUTPUT EMBER_RATE EMBER_DURATION
export EMBER_WARM_UP=50ms
pids=()
trap 'kill "${pids[@]}" 2>/dev/null || true; wait 2>/dev/null || true; rm -rf "$dir"' EXIT
fail() { echo "bench_test: $*" >&2; tail -n 5 "$dir"/*.log >&2 || true; exit 1; }

# bench CODE PATTERN OPTION...: exit status, and a pattern somewhere in what it says
bench() {
    local want=$1 pattern=$2 code=0 out
    shift 2
    out=$("$build/client/cli/ember" bench "$@" 2>&1 </dev/null) || code=$?
    [ "$code" = "$want" ] || fail "$*: exit $code, want $want: $out"
    grep -q -- "$pattern" <<<"$out" || fail "$*: no '$pattern' in: $out"
}
# report FILE WANT...: it is well-formed, and what is asked of it is so
report() { python3 "$here/bench_reports.py" "$@" || fail "report $*"; }

"$build/broker/ember-broker" --clients "$EMBER_BROKER" --workers "ipc://$dir/workers" --http off --default-model m \
    --no-worker-grace 200ms >"$dir/broker.log" 2>&1 &
pids+=($!)
"$build/worker/ember-worker-fake" --name w1 --model "m=fake:dim=8,us=50" --model own=fake:head=labels --hourly-cost 0.36 \
    --broker "ipc://$dir/workers" --redis off --http off --threads 1 >"$dir/worker.log" 2>&1 &
pids+=($!)
for i in $(seq 100); do
    "$build/client/cli/ember" embed --timeout 1s ready >/dev/null 2>&1 && break
    [ "$i" -lt 100 ] || fail "the worker did not get ready"
    sleep 0.1
done

# --find-rate: a limit that is always held, one that never is, and a service that never answers
bench 0 "Found: 40 calls/s hold P95 within 60000 ms" --find-rate --slo-p95 60s --rate 20 --rate-max 40 --probe 300ms
bench 0 "It may hold more: nothing higher was asked" --find-rate --slo-p95 60s --rate 20 --rate-max 20 --probe 300ms
bench 6 "No rate holds P95 within 0.001 ms" --find-rate --slo-p95 1us --probe 200ms
bench 3 "no call is answered: no worker serves model 'nope'" --find-rate --model nope --probe 100ms
bench 2 "go without --trace" --find-rate --closed
bench 0 '"facts":{"holds":1,"found_rate":20,"refused_rate":null' --find-rate --slo-p95 60s --rate 20 --rate-max 20 \
    --probe 300ms --output json --report-json "$dir/find.json"
report "$dir/find.json" mode=find-rate settings.task=embed 'rows.1.verdict=holds' facts.found_rate=20

# loads that change and that last
bench 0 "80 calls/s" --ramp 20:80:4 --duration 200ms --report-json "$dir/ramp.json"
report "$dir/ramp.json" mode=ramp "settings.load=open loop, 4 rates from 20 to 80 calls/s" rows.0.rate=20 rows.3.rate=80 failed=0
bench 2 "is not FROM:TO:STEPS" --ramp 20:80
bench 2 "one or the other" --ramp 20:80:2 --soak 1s
bench 0 "^P95 drifts from .* than noise" --soak 2s --rate 400 --report-json "$dir/soak.json"
report "$dir/soak.json" mode=soak failed=0 "rows.0.label=from 0 s"
bench 0 "Drift of P95: not known" --soak 300ms --requests 5 --warm-up 0s

"$build/client/cli/ember" bench --soak 1h --rate 100 --report-json "$dir/ended.json" >"$dir/ended.txt" 2>&1 &
soak=$!
sleep 1
kill "$soak"
wait "$soak" || fail "a soak that is ended early: exit $?: $(cat "$dir/ended.txt")"
report "$dir/ended.json" mode=soak failed=0
"$build/client/cli/ember" bench --soak 1h --rate 0.001 --warm-up 0s >"$dir/ended.txt" 2>&1 & # the next call is far away
soak=$!
sleep 1
kill "$soak"
timeout 30 tail --pid "$soak" -f /dev/null || fail "a soak with few calls does not end"

# calls of several kinds
bench 0 "  embed/short  *[0-9]" --mix embed/short=3,classify/zh:20=1 --labels a,b --rate 100 --duration 500ms \
    --texts-per-call 2 --report-json "$dir/mix.json"
report "$dir/mix.json" settings.task=mix settings.labels=2 failed=0
bench 2 "mix: 'sing=1' is not a list" --mix sing=1
bench 2 "without --trace and --task" --mix embed=1 --task classify
bench 2 "goes with --task classify or --mix" --labels a,b

# two models, and two ways to the same broker, in turns
bench 0 "^Medians of 6 turns each, A: m, B: $EMBER_BROKER" --compare m "$EMBER_BROKER" --rounds 6 --concurrency 2 \
    --duration 150ms --report-json "$dir/compare.json"
EMBER_BROKER=ipc://$dir/nobody bench 0 "than noise" --compare "$EMBER_BROKER" "$EMBER_BROKER" --rounds 1 --duration 100ms
report "$dir/compare.json" mode=compare "rows.0.label=A: m" "rows.3.label=A: m" failed=0
bench 3 "nope answers nothing: no worker serves model 'nope'" --compare m nope --rounds 1 --duration 100ms --warm-up 0s
bench 2 "^ember: bench: INVALID_ARGUMENT: " --compare m x://y
bench 2 "takes two models or brokers" --compare m
bench 2 "is too long for a model" --compare m "$(printf 'x%.0s' $(seq 200))"
bench 2 "'more' is no option" more

# reports: every kind of run, texts that would break a page, and files that stay whole
html() { # FILE OPTION...
    local file=$1
    shift
    bench 0 "" --report-html "$file" --report-json "$file.json" "$@"
    report "$file" "text=$EMBER_BROKER" "$file.json"
    [ "$(find "$dir" -name '*.part' | wc -l)" = 0 ] || fail "a part of a report is left"
}
html "$dir/load.html" --duration 300ms --concurrency 2
html "$dir/load.html" --duration 300ms --rate 200 --mix 'embed/short=2,classify=1' --labels "<script>alert('&')</script>,\"b"
report "$dir/load.html" "text=<script>alert('&')</script>" 'text="b'
report "$dir/load.html.json" settings.labels=2
html "$dir/soak.html" --soak 500ms --rate 200
html "$dir/ramp.html" --ramp 20:60:3 --duration 200ms
html "$dir/find.html" --find-rate --slo-p95 60s --rate 20 --rate-max 40 --probe 200ms
html "$dir/compare.html" --compare m m --rounds 1 --duration 100ms
html "$dir/none.html" --requests 1 --warm-up 0s --duration 100ms
cp "$dir/none.html" "$dir/before.html"
bench 3 "/nonexistent/x" --duration 50ms --report-json /nonexistent/x
bench 3 "UNAVAILABLE: /dev/full" --duration 50ms --report-html /dev/full

# exit status for scripts
bench 0 "0 failed" --duration 200ms --fail-p95 1h --fail-errors 0
bench 6 "Missed: P95 is .* ms, --fail-p95 allows 0.001 ms" --duration 200ms --fail-p95 1us
bench 6 "Missed at 40 calls/s: P95 is" --ramp 20:40:2 --duration 200ms --fail-p95 1us
bench 6 "ember: bench: missed: P95 is" --duration 200ms --fail-p95 1us --output raw
bench 6 "Missed: .* calls failed, --fail-errors allows 0.1%" --model nope --duration 100ms --warm-up 0s --fail-errors 0.1%
bench 6 "no call was answered" --model nope --duration 100ms --warm-up 0s --fail-p95 1h
bench 1 "NOT_FOUND\|UNAVAILABLE" --model nope --duration 100ms --warm-up 0s --fail-errors 100%
bench 2 "is no share such as 0.1%" --fail-errors 2
bench 6 "Missed: P95" --duration 200ms --fail-p95 1us --report-json "$dir/missed.json"
report "$dir/missed.json" facts.exit_status=6

# how many workers
find="--find-rate --slo-p95 60s --rate 20 --rate-max 20 --probe 200ms"
bench 0 "^Workers for 90 calls/s: 5 at most, as 1 of m hold 20, 20 each" $find --workers-for 90
bench 0 "^Cost: 1.8 an hour, 5.556 for a million calls" $find --workers-for 90 --report-json "$dir/plan.json"
report "$dir/plan.json" facts.workers=1 facts.rate_per_worker=20 facts.workers_needed=5 facts.cost_per_hour=1.8
bench 0 "^Cost: 50 an hour" $find --workers-for 90 --hourly-cost 10
bench 2 "goes with --find-rate" --workers-for 90

# the row for a price table: of the only host, of an instance that is named, and of workers nobody knows the cost of
bench 0 "^price table row:  $(uname -n) 0.36 m f32 20  # at least: it may hold more\$" $find
bench 0 "^price table row:  amber-4 0.5 m f32 20  # at least" $find --instance amber-4 --hourly-cost 0.5 --report-json "$dir/row.json"
report "$dir/row.json" price_row.instance=amber-4 price_row.hourly=0.5 price_row.model=m price_row.precision=f32 price_row.rate=20
bench 2 "goes with --find-rate" --instance amber-4
bench 2 "a word of at most 64" $find --instance "amber 4"
"$build/worker/ember-worker-fake" --name w2 --model free=fake: --broker "ipc://$dir/workers" --redis off --http off \
    --threads 1 >"$dir/worker2.log" 2>&1 &
pids+=($!)
for i in $(seq 100); do
    "$build/client/cli/ember" embed --model free --timeout 1s ready >/dev/null 2>&1 && break
    [ "$i" -lt 100 ] || fail "the second worker did not get ready"
    sleep 0.1
done
bench 0 "0 stands for that: give --hourly-cost" $find --model free
bench 0 "^price table row:  .* 0 free f32 20  #" $find --model free

echo "bench_test: all as expected"
