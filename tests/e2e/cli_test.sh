#!/usr/bin/env bash
# cli_test.sh BUILD: the real broker, two workers with the fake engine, and `ember` as people use it: answers,
# exit codes, Chinese, files, a broker that is killed in mid-load, and Redis when there is one.
set -euo pipefail
build=$1
ember=$build/client/cli/ember
dir=$(mktemp -d)
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
for command in embed classify rerank similarity tokenize status cost ping bench; do
    expect 0 "EMBER_\|--timeout" "$ember" help $command
done

redis=off
if command -v redis-server >/dev/null; then
    redis-server --port 0 --unixsocket "$dir/redis" --save '' --appendonly no >"$dir/redis.log" 2>&1 &
    pids+=($!)
    redis=unix://$dir/redis
fi
start_broker() {
    "$build/broker/ember-broker" --clients "$EMBER_BROKER" --workers "ipc://$dir/workers" --http off --default-model m \
        >>"$dir/broker.log" 2>&1 &
    broker=$!
    pids+=($broker)
}
start_broker
for n in 1 2; do
    "$build/worker/ember-worker-fake" --name w$n --model "m=fake:dim=8,us=50" \
        --model own=fake:head=labels --model nli=fake:head=nli --model rank=fake:head=score --broker "ipc://$dir/workers" \
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

# models with heads
expect 2 "labels-max.*1.*64" "$build/worker/ember-worker-fake" --model m=fake: --labels-max 65
expect 2 "request-tokens" "$build/worker/ember-worker-fake" --model m=fake: --request-tokens 0
expect 0 "^  label [0-3] " "$ember" classify --model own x
expect 0 '"text":"a\\tb".*"labels":\["label [0-3]","label [0-3]"\]' \
    "$ember" classify --model own --pair --top 2 --output json a b
expect 2 "3 texts cannot be taken two by two" "$ember" classify --model own --pair a b c
expect 2 "the first text of a pair cannot hold a tab" "$ember" classify --model own --pair a b "c	d" e
expect 0 '"text":"a\\tb\\tc"' "$ember" classify --model own --pair --output json a "b	c"
expect 2 "goes with the model's own labels" "$ember" classify --model own --pair --labels x,y a b
expect 2 "has 4 labels of its own: the request must name none" "$ember" classify --model own --labels x,y a
expect 2 "has no labels of its own: the request must name some" "$ember" classify --model nli a
expect 0 "^[bc]	[01]" "$ember" classify --model nli --labels b,c --template "about {}" --output raw x
expect 2 "1 to 64 labels" "$ember" classify --labels "$(seq -s, 70)" x
printf 'a\tb\nc\td\nno tab\n' >"$dir/pairs"
expect 2 "text 3: no tab between" "$ember" classify --model own --pair --file "$dir/pairs"
[ "$(head -n 2 "$dir/pairs" | "$ember" classify --model own --pair --output raw | wc -l)" = 2 ] || fail "pairs"
expect 2 "query TEXT is needed" "$ember" rerank --model rank x
expect 2 "no/such/file" "$ember" rerank --query q --file no/such/file
expect 1 "model 'm' does not rerank; it can embed, classify, tokenize" "$ember" rerank --model m --query q x
expect 2 "document 2 has 604 tokens" "$ember" rerank --model rank --query q --truncate off x "$(printf '%600s' x)"
[ "$(EMBER_MODEL=rank "$build/client/ember_example_rerank" q a b c d e f 2>/dev/null | wc -l)" = 5 ] || fail "example of rerank"
seq 100 | "$ember" rerank --model rank --query q --output raw >"$dir/ranked"
sort -c -g -r "$dir/ranked" || fail "documents are not in the order of their scores"
cut -f 2 "$dir/ranked" | sort -n | cmp - <(seq 100) || fail "documents are lost or made up"
seq 100 | "$ember" rerank --model rank --query q --output raw --top 7 | cmp - <(head -n 7 "$dir/ranked") || fail "the best 7"
expect 0 '"i":1,.*"rank":[12],"score":0\.' "$ember" rerank --model rank --query q --output json x y

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
rkey=$("$ember" cache key --model rank --query "when?" --output raw "at 12:30, they say")
[ "${rkey##*:}" = "$("$ember" cache key --model rank --query "when?" "at 12:30, they say" | tail -n 1 | bash | cut -d' ' -f1)" ] ||
    fail "key of a rank by hand"
expect 2 "exclude each other" "$ember" cache key --model rank --query a --labels b c
for idle in --template=x{} --multi-label --cut-left; do
    expect 2 "${idle%%=*} is no part of the key of a pair" "$ember" cache key --model own --second b $idle c
    expect 2 "${idle%%=*} is no part of the key of a rank" "$ember" cache key --model rank --query b $idle c
done
expect 2 "prefix is no part of the key of a rank" "$ember" cache key --model rank --query b --prefix a c
expect 2 "template is no part of the key of a vector" "$ember" cache key --template "a {}" c
[ "$("$ember" cache key --labels x,y --template "{}" --output raw c)" = "$("$ember" cache key --labels x,y --output raw c)" ] ||
    fail "the default template is no template"
expect 0 "^ember:m2@01234567:emb:" "$ember" cache key --model m2 --fingerprint 0123456789abcdef --broker tcp://127.0.0.1:1 x
expect 2 "verb\|Usage: ember cache" "$ember" cache
if [ "$redis" != off ]; then
    export EMBER_REDIS=$redis
    "$ember" embed --output raw "it's 退款" >/dev/null
    for i in $(seq 50); do "$ember" cache get "$key" >/dev/null 2>&1 && break; sleep 0.02; done
    expect 0 "header  ember1 emb dim=8" "$ember" cache get "it's 退款"
    expect 0 '"sound":true.*"vector":\[' "$ember" cache get --output json "$key"
    expect 0 "m@.* emb" "$ember" cache stat
    "$ember" rerank --model rank --query "when?" "at 12:30, they say" >/dev/null
    for i in $(seq 50); do "$ember" cache get "$rkey" >/dev/null 2>&1 && break; sleep 0.02; done
    expect 0 "header  ember1 rank tokens=" "$ember" cache get --model rank --query "when?" "at 12:30, they say"
    expect 0 '^score   0\.[0-9]* = 1 / (1 + e^-logit)' "$ember" cache get "$rkey"
    expect 0 '"rank":{"logit":' "$ember" cache get --output json "$rkey"
    expect 0 "rank@.* rank" "$ember" cache stat
    expect 2 "either --model NAME or --all" "$ember" cache purge
    expect 0 "entries removed" "$ember" cache purge --all
    expect 5 "NOT_FOUND" "$ember" cache get "$key"
    expect 3 "UNAVAILABLE" "$ember" cache stat --redis redis://127.0.0.1:1
fi

# loads, and the promise: a broker killed in mid-load costs time, not answers
expect 0 "closed loop, 4 callers" "$ember" bench --concurrency 4 --duration 300ms --warm-up 50ms
expect 0 "open loop, 500 calls/s" "$ember" bench --rate 500 --duration 300ms --warm-up 50ms --report-json "$dir/run.json"
expect 0 "closed loop, 2 callers" "$ember" bench --task rerank --model rank --texts-per-call 5 --concurrency 2 \
    --duration 200ms --warm-up 50ms
expect 0 '"task":"classify","labels":0' "$ember" bench --task classify --model own --duration 200ms --warm-up 50ms --output json
expect 2 "goes with --task classify" "$ember" bench --task rerank --labels a,b
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
