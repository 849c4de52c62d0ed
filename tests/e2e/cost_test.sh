#!/usr/bin/env bash
# cost_test.sh BUILD: `ember cost` against two brokers and their workers: its figures are held against what this
# test asked, and against each other. How fast anything is, is not asked.
set -euo pipefail
build=$1
source=$(cd "$(dirname "$0")/../.." && pwd)
ember=$build/client/cli/ember
dir=$(mktemp -d)
a=ipc://$dir/a b=ipc://$dir/b
export EMBER_BROKER=$a,$b
unset EMBER_MODEL EMBER_REDIS EMBER_TIMEOUT EMBER_OUTPUT EMBER_WINDOW EMBER_PRICES EMBER_INSTANCE EMBER_HOURLY_COST \
    EMBER_TARGET EMBER_MIN_WORKERS EMBER_UNIQUE EMBER_REQUESTS EMBER_DURATION EMBER_CONCURRENCY
pids=()
trap 'kill "${pids[@]}" 2>/dev/null || true; wait 2>/dev/null || true; rm -rf "$dir"' EXIT
fail() { echo "cost_test: $*" >&2; tail -n 5 "$dir"/*.log >&2 || true; exit 1; }

# expect CODE PATTERN OPTION...: exit status of `ember cost`, and a pattern somewhere in what it says
expect() {
    local want=$1 pattern=$2 code=0 out
    shift 2
    out=$("$ember" cost "$@" 2>&1 </dev/null) || code=$?
    [ "$code" = "$want" ] || fail "$*: exit $code, want $want: $out"
    grep -q -- "$pattern" <<<"$out" || fail "$*: no '$pattern' in: $out"
    ! grep -qiw -- "-\?nan\|-\?inf" <<<"$out" || fail "$*: a number that is none in: $out"
}
# judge FILE EXPRESSION...: each is true of the JSON object in FILE, called j; near() compares two numbers
judge() {
    python3 - "$@" <<'PY' || fail "judge $*"
import json, sys
j = json.load(open(sys.argv[1]), parse_constant=lambda word: sys.exit(f"{word} is no JSON"))
now, saved, cheaper = j["now"], j["saved"], j["cheaper"]
models = {m["model"]: m for m in now["models"]}
routes = {m["model"]: m for r in saved["routes"]["routes"] for m in r["models"]}
def near(x, y): return abs(x - y) <= 1e-6 * max(abs(x), abs(y), 1e-9)
def numbers(x):
    for y in x.values() if isinstance(x, dict) else x if isinstance(x, list) else []:
        yield from numbers(y)
    if isinstance(x, (int, float)) and not isinstance(x, bool): yield x
for e in sys.argv[2:]:
    if not eval(f"({e})"): sys.exit(f"not so: {e}: {json.dumps(j)}")
PY
}
start_broker() { # NAME OTHER
    "$build/broker/ember-broker" --name "$1" --clients "ipc://$dir/$1" --workers "ipc://$dir/w$1" --http off \
        --default-model small --route mix=small:1,big:1 --advertise "ipc://$dir/$2" >>"$dir/$1.log" 2>&1 &
    pids+=($!)
    eval "broker_$1=$!"
}
start_worker() { # PROGRAM NAME OPTION...
    "$build/worker/$1" --name "$2" --broker "ipc://$dir/wa" --broker "ipc://$dir/wb" --redis off --http off --threads 1 \
        "${@:3}" >"$dir/$2.log" 2>&1 &
    pids+=($!)
}
wait_for() { # WHAT COMMAND...: within ten seconds
    local i
    for i in $(seq 100); do
        "${@:2}" >/dev/null 2>&1 && return
        sleep 0.1
    done
    fail "$1 did not come"
}
lists() { # N: workers, at both brokers
    [ "$("$ember" status --all --output json | grep -o '"state":"live"' | wc -l)" = $((2 * $1)) ]
}
calls() { # BROKER MODEL N: so many requests of one new text each
    EMBER_BROKER=$1 "$ember" bench --discovery off --model "$2" --requests "$3" --concurrency 1 --warm-up 0s --duration 60s \
        --seed $((RANDOM)) --output json >"$dir/calls" || fail "calls to $2"
    grep -q "\"calls\":$3,.*\"failed\":0," "$dir/calls" || fail "calls to $2: $(cat "$dir/calls")"
}
# told COMPUTED MEMORY: the workers' heartbeats have told of so many texts
told() {
    "$ember" cost --window 0 --output json | grep -q "\"texts_computed\":$1,\"texts_memory\":$2,"
}

cat >"$dir/prices" <<'P'
# instance  hourly  model  precision  rate
amber-4     0.17    *      f32        100
amber-4     0.17    mini   i8         320
amber-4     0.17    mini   f32        80     # a quarter of that
birch-8     0.30    *      f32        250
birch-8     0.30    mini   i8         800
cedar-2     0.02    small  f32        5
P
grep amber "$dir/prices" >"$dir/one"

# what is wrong is said before a broker is asked
expect 3 "^ember: cost: UNAVAILABLE: no broker answers" --timeout 200ms
expect 2 "no/such/file" --prices no/such/file
echo "amber-4 0.17 mini i8" >"$dir/bad"
expect 2 "bad, line 1: 4 words instead of .instance hourly model precision rate" --prices "$dir/bad"
printf '# x\n\namber-4 0.17 mini i9 3\n' >"$dir/bad"
expect 2 "bad, line 3: 'i9' is no precision" --prices "$dir/bad"
seq -f "i%g 1 m f32 2" 257 >"$dir/bad"
expect 2 "bad, line 257: more than 256 rows" --prices "$dir/bad"
head -c 70000 /dev/zero | tr '\0' '#' >"$dir/bad"
expect 2 "bad: more than 65536 bytes" --prices "$dir/bad"
expect 2 "Is a directory" --prices "$dir"
expect 2 "'oak' is not in .*prices; there are: amber-4, birch-8, cedar-2" --prices "$dir/prices" --instance oak
expect 2 "target: '2' is not a number from 0.05 to 1" --target 2
expect 0 "A price table has a row a line" --help

# a worker that states no cost, and of which nothing is asked
start_broker a b
start_broker b a
start_worker ember-worker-fake w1 --model small=fake:dim=8,us=200 --model big=fake:dim=8,us=4000
wait_for "the first worker" lists 1
expect 0 "^  nothing was asked" --window 300ms
expect 0 "by caches  *not known: nothing was asked" --window 300ms
expect 0 "not known: no worker states its own; give --hourly-cost" --window 0
"$ember" cost --window 200ms --output json >"$dir/json"
judge "$dir/json" 'now["answered"] == 0' 'now["requests_per_s"] == 0' 'now["cost_per_hour"] is None' \
    'now["cost_per_1000_requests"] is None' 'saved["all"]["saved"] is None' 'now["workers_live"] == 1' 'j["brokers"] == 2'

# 62 requests to small with 120 texts, of which 30 are asked twice, and 20 to big
seq -f "text %g" 30 >"$dir/lines"
calls $a small 40
calls $b small 20
calls $b big 20
EMBER_BROKER=$a "$ember" embed --discovery off --file "$dir/lines" --output raw >/dev/null
EMBER_BROKER=$b "$ember" embed --discovery off --file "$dir/lines" --output raw >/dev/null
wait_for "the count of texts" told 110 30
"$ember" cost --window 0 --output json >"$dir/json"
judge "$dir/json" 'now["answered"] == 82' 'j["since_start"]' 'now["requests_per_s"] > 0' \
    'near(saved["caches"]["saved"], 30 / 140)' 'near(saved["caches"]["memory"], 30 / 140)' 'saved["caches"]["redis"] == 0' \
    'saved["caches"]["original_per_hour"] is None' 'near(sum(m["share"] for m in models.values()), 1)' \
    'routes["small"]["answered"] == 62' 'routes["big"]["answered"] == 20' 'routes["big"]["engine_ms_per_request"] > 3.9' \
    'saved["precision"]["saved"] == 0' 'cheaper["cheapest"] is None' '0 < now["busy"] < 1'
"$ember" cost --window 0 --hourly-cost 0.5 --output json >"$dir/json"
judge "$dir/json" 'now["cost_per_hour"] == 0.5' 'now["workers_without_cost"] == 1' \
    'near(saved["caches"]["original_per_hour"], 0.5 / (110 / 140))' \
    'near(now["cost_per_1000_requests"], 0.5 / 3.6 / now["requests_per_s"])' \
    'near(now["cost_per_million_texts"], 1000 * now["cost_per_1000_requests"] * 82 / 140)' \
    'near(sum(m["cost_per_1000_requests"] * m["requests_per_s"] for m in models.values()), 0.5 / 3.6)'
work='sum(m["answered"] * m["engine_ms_per_request"] for m in routes.values())'
judge "$dir/json" "abs(saved['routes']['saved'] - (1 - $work / (82 * routes['big']['engine_ms_per_request']))) < 0.02"
expect 0 "^  cost  *0.1700 an hour, of which 1 worker at 0.17 each" --window 0 --prices "$dir/one"
expect 0 "other instances and precisions: not known without --prices" --window 0
expect 0 "not known; name what the workers run on with --instance" --window 0 --prices "$dir/prices"

# a second worker, which both brokers list, and one with a model in i8
start_worker ember-worker-fake w2 --model small=fake:dim=8,us=200 --model big=fake:dim=8,us=4000 --hourly-cost 0.25
start_worker ember-worker w3 --model "mini=$source/models/ember-mini" --precision i8 --weights-cache off --hourly-cost 0.25
wait_for "three workers" lists 3
expect 0 "^cost_per_hour 1\$" --window 0 --hourly-cost 0.5 --output raw
expect 0 "a worker costs 0.1700 an hour by the table, and 0.2233 now" --window 0 --prices "$dir/one"
expect 0 "and 1 worker that states none and are not counted" --window 0

# what is asked between two reports, at both brokers
"$ember" cost --window 10s --prices "$dir/prices" --instance amber-4 --hourly-cost 0.5 --min-workers 2 --output json >"$dir/json" &
cost=$!
sleep 2
calls $a small 20
calls $b small 10
calls $b mini 25
wait $cost || fail "cost in a window"
judge "$dir/json" 'now["answered"] == 55' 'not j["since_start"]' '9.9 < j["seconds"] < 60' \
    'models["mini"]["precision"] == "i8"' 'models["small"]["precision"] == "f32"' 'models["mini"]["workers"] == 1' \
    'models["small"]["workers"] == 2' 'now["workers_live"] == 3' 'now["cost_per_hour"] == 1' 'models["big"]["share"] == 0' \
    'saved["precision"]["models"][0]["saved"] == 0.75' 'saved["precision"]["models"][0]["rate_ratio"] == 4' \
    'near(saved["precision"]["saved"], 1 - 1 / (1 + 3 * models["mini"]["share"]))' \
    'saved["routes"]["why"] == "only one of its models answered"' \
    'near(1 - saved["all"]["saved"], (1 - saved["caches"]["saved"]) * (1 - saved["precision"]["saved"]))'
judge "$dir/json" 'all(c["workers"] is None or c["workers"] >= 2 for c in cheaper["candidates"])' \
    '{c["why"] for c in cheaper["candidates"] if c["instance"] == "cedar-2"} ==
        {"no i8 row of mini for cedar-2", "no f32 row of mini for cedar-2"}' \
    'cheaper["cheapest"]["instance"] == "amber-4" and cheaper["cheapest"]["present"]' \
    'near(cheaper["cheapest"]["cost_per_hour"], 0.17 * cheaper["cheapest"]["workers"])' \
    'near(cheaper["cheapest"]["saved"], 1 - cheaper["cheapest"]["cost_per_hour"])' \
    '{c["precision"] for c in cheaper["candidates"] if c["instance"] == "birch-8"} == {"f32", "i8", "as now"}'
expect 0 "^Cheapest: [0-9]* x amber-4, precision as now, for .* it saves" --window 0 --prices "$dir/prices" --instance amber-4
expect 0 "answers change a little: see ember-model eval" --window 0 --prices "$dir/prices" --instance amber-4

# a broker that is started anew between two reports counts from there
"$ember" cost --window 8s --hourly-cost 0.5 --output json >"$dir/json" &
cost=$!
sleep 1
kill -KILL "$broker_b"
wait "$broker_b" 2>/dev/null || true
start_broker b a
wait_for "the workers again" lists 3
calls $b small 5
wait $cost || fail "cost with a broker that was started anew"
judge "$dir/json" 'now["answered"] == 5' 'all(x >= 0 for x in numbers(j))' 'j["brokers"] == 2'

# one that is gone is named; the other's figures are told
kill -KILL "$broker_b"
wait "$broker_b" 2>/dev/null || true
expect 3 "^ember: cost: UNAVAILABLE: " --window 0 --timeout 1s
expect 3 "^1 broker, .* 1 gave no report" --window 0 --timeout 1s
echo "cost_test: all as expected"
