#!/usr/bin/env bash
# cli_test.sh BUILD: the real broker, two workers with the fake engine, and `ember` as people use it: answers,
# exit codes, Chinese, files, a broker that is killed in mid-load, and Redis when there is one.
set -euo pipefail
build=$1
ember=$build/client/cli/ember
dir=$(mktemp -d)
port=$((20000 + $$ % 10000))
export EMBER_BROKER=ipc://$dir/clients
unset EMBER_MODEL EMBER_REDIS EMBER_TIMEOUT EMBER_OUTPUT
pids=()
trap 'kill "${pids[@]}" 2>/dev/null || true; wait 2>/dev/null || true; rm -rf "$dir"' EXIT
fail() { echo "cli_test: $*" >&2; tail -n 5 "$dir"/*.log >&2 || true; exit 1; }

# expect CODE PATTERN COMMAND...: exit code, and a pattern somewhere in what it says
expect() {
    local want=$1 pattern=$2 code=0 out
    shift 2
    out=$("$@" 2>&1 </dev/null) || code=$?
    [ "$code" = "$want" ] || fail "$*: exit $code, want $want: $out"
    grep -q -- "$pattern" <<<"$out" || fail "$*: no '$pattern' in: $out"
}

expect 3 "^ember: ping: UNAVAILABLE: no broker answers at ipc://" "$ember" ping --timeout 200ms
expect 3 "^ember: embed: UNAVAILABLE: no broker answers at ipc://" "$ember" embed --timeout 200ms x
expect 2 "no command is called 'sing'" "$ember" sing
expect 2 "Usage: ember COMMAND" "$ember"
expect 0 "Commands:" "$ember" help
expect 2 "see --help" "$ember" embed --nonsense
expect 2 "is no endpoint" "$ember" ping --broker localhost
expect 2 "two or more texts" "$ember" similarity one
for command in embed classify similarity tokenize status ping bench; do
    expect 0 "EMBER_\|--timeout" "$ember" help $command
done

redis=off
if command -v redis-server >/dev/null; then
    redis-server --port $port --bind 127.0.0.1 --save '' --appendonly no >"$dir/redis.log" 2>&1 &
    pids+=($!)
    redis=redis://127.0.0.1:$port
fi
start_broker() {
    "$build/broker/ember-broker" --clients "$EMBER_BROKER" --workers "ipc://$dir/workers" --http off \
        >>"$dir/broker.log" 2>&1 &
    broker=$!
    pids+=($broker)
}
start_broker
for n in 1 2; do
    "$build/worker/ember-worker-fake" --name w$n --model "m=fake:dim=8,us=50" --broker "ipc://$dir/workers" \
        --redis "$redis" --http off --threads 1 >"$dir/worker$n.log" 2>&1 &
    pids+=($!)
done
for i in $(seq 100); do
    [ "$("$ember" status --output json 2>/dev/null | grep -o '"name":"w[12]"' | sort -u | wc -l)" = 2 ] && break
    [ "$i" -lt 100 ] || fail "the workers did not get ready"
    sleep 0.1
done

expect 0 "answer from" "$ember" ping
expect 0 "w1 .*live" "$ember" status
expect 0 "8 numbers" "$ember" embed "where is my parcel?" 我的包裹在哪里
expect 0 '"text":"我的包裹在哪里".*"dim":8' "$ember" embed --output json 我的包裹在哪里
expect 0 '"dim":4.*"encoding":"i8","base64":' "$ember" embed --output json --dimensions 4 --encoding i8 x
expect 0 "投诉" "$ember" classify --labels 投诉,咨询,建议 我要退货
expect 0 "^[bc]	0" "$ember" classify --labels b,c --output raw x
expect 0 "1.0000  a$" "$ember" similarity a a b
expect 0 "\[CLS\]" "$ember" tokenize 你好
expect 5 "NOT_FOUND: no worker serves model 'nope'" "$ember" embed --model nope x
expect 2 "labels 0 and 1 are the same" "$ember" classify --labels a,a x
expect 2 "no/such/file" "$ember" embed --file no/such/file

# lines of a file: in order, and a wrong one named by its number
seq 3000 >"$dir/lines"
"$ember" tokenize --file "$dir/lines" --output json | sed 's/.*"text":"\([0-9]*\)".*/\1/' | cmp - "$dir/lines" ||
    fail "lines of a file come back in another order"
[ "$("$ember" embed --output raw <"$dir/lines" | wc -c)" = $((3000 * 8 * 4)) ] || fail "raw vectors"
printf 'good\nbad \xff\n' >"$dir/bad"
expect 2 "text 2: the text is not UTF-8 at byte 4" "$ember" embed --file "$dir/bad"

# the key is what the printed command says, and the entry is there
key=$("$ember" cache key --output raw "it's 退款")
[ "${key##*:}" = "$("$ember" cache key "it's 退款" | tail -n 1 | bash | cut -d' ' -f1)" ] || fail "key by hand"
ckey=$("$ember" cache key --labels 'b,a:\c' --output raw 退款)
[ "${ckey##*:}" = "$("$ember" cache key --labels 'b,a:\c' 退款 | tail -n 1 | bash | cut -d' ' -f1)" ] ||
    fail "key of labels by hand"
expect 0 "^ember:m2@01234567:emb:" "$ember" cache key --model m2 --fingerprint 0123456789abcdef --broker tcp://127.0.0.1:1 x
expect 2 "verb\|Usage: ember cache" "$ember" cache
if [ "$redis" != off ]; then
    export EMBER_REDIS=$redis
    "$ember" embed --output raw "it's 退款" >/dev/null
    for i in $(seq 50); do "$ember" cache get "$key" >/dev/null 2>&1 && break; sleep 0.02; done
    expect 0 "header  ember1 emb dim=8" "$ember" cache get "it's 退款"
    expect 0 '"sound":true.*"vector":\[' "$ember" cache get --output json "$key"
    expect 0 "m@.* emb" "$ember" cache stat
    expect 2 "either --model NAME or --all" "$ember" cache purge
    expect 0 "entries removed" "$ember" cache purge --all
    expect 5 "NOT_FOUND" "$ember" cache get "$key"
    expect 3 "UNAVAILABLE" "$ember" cache stat --redis redis://127.0.0.1:1
fi

# loads, and the promise: a broker killed in mid-load costs time, not answers
expect 0 "closed loop, 4 callers" "$ember" bench --concurrency 4 --duration 300ms --warm-up 50ms
expect 0 "open loop, 500 calls/s" "$ember" bench --rate 500 --duration 300ms --warm-up 50ms --json "$dir/run.json"
grep -q '"p99.9_us":' "$dir/run.json" || fail "no report as JSON"
for signal in KILL TERM; do
    "$ember" bench --retry --concurrency 8 --duration 1200ms --warm-up 0 --output json >"$dir/load.json" 2>&1 &
    bench=$!
    sleep 0.4
    kill -$signal $broker
    wait $broker 2>/dev/null || true
    start_broker
    wait $bench || fail "SIG$signal: a load did not survive the broker: $(cat "$dir/load.json")"
    grep -q '"failed":0,' "$dir/load.json" || fail "SIG$signal: answers were lost: $(cat "$dir/load.json")"
    sleep 0.3
done
echo "cli_test: all as expected"
