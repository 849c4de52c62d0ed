#!/bin/sh
# redis.sh SOURCE: redis-server starts with our sample, keeps to a cache's settings, and lets workers and people do what
# src/cache asks for and nothing else.
set -eu
source=${1:?usage: redis.sh SOURCE}
command -v redis-server >/dev/null && command -v redis-cli >/dev/null || exit 77
dir=$(mktemp -d)
pid=""
trap '[ -z "$pid" ] || kill "$pid" 2>/dev/null; rm -rf "$dir"' EXIT
socket=$dir/redis.sock
sed -e "s|^aclfile .*|aclfile $dir/users.acl|" -e "s|^port .*|port 0\nunixsocket $socket\ndir $dir|" \
    "$source/deploy/redis/redis.conf" >"$dir/redis.conf"
cp "$source/deploy/redis/users.acl" "$dir/users.acl"
# An own user, to look at settings with.
echo "user judge on nopass ~* +@all" >>"$dir/users.acl"
redis-server "$dir/redis.conf" >"$dir/log" 2>&1 &
pid=$!
status=0
fail() {
    echo "redis: $*" >&2
    status=1
}
as() { # USER COMMAND...
    user=$1 password=x
    shift
    case $user in ember | people) password=$(sed -n "s/^user $user on >\([^ ]*\).*/\1/p" "$dir/users.acl") ;; esac
    redis-cli -s "$socket" --user "$user" --pass "$password" --no-auth-warning "$@" 2>&1
}
for i in $(seq 100); do
    [ "$(as health ping || true)" = PONG ] && break
    kill -0 "$pid" 2>/dev/null && [ "$i" -lt 100 ] || { cat "$dir/log" >&2; exit 1; }
    sleep 0.05
done

is() { # NAME VALUE
    got=$(as judge config get "$1" | tail -n 1)
    [ "$got" = "$2" ] || fail "$1 is '$got', not '$2'"
}
is maxmemory-policy allkeys-lfu
is save ""
is appendonly no
[ "$(as judge config get maxmemory | tail -n 1)" -gt 0 ] || fail "no maxmemory"

may() { # USER COMMAND ARGUMENT...: what is wrong with its arguments is not our question
    said=$(as judge acl dryrun "$@")
    [ "$said" = OK ] || fail "$1 may not: $said"
}
may_not() {
    said=$(as judge acl dryrun "$@")
    [ "$said" != OK ] || fail "$1 may $2"
}
try() { # USER COMMAND: with the arguments of ours
    case $2 in
    AUTH) may "$1" auth "$1" x ;;
    SELECT) may "$1" select 1 ;;
    PING | INFO) may "$1" "$2" ;;
    MGET) may "$1" mget ember:m@1:emb:a ember:m@1:emb:b ;;
    SET) may "$1" set ember:m@1:emb:a v EX 10 ;;
    GET | TTL | UNLINK) may "$1" "$2" ember:m@1:emb:a ;;
    SCAN) may "$1" scan 0 COUNT 10 MATCH 'ember:*' ;;
    MEMORY) may "$1" memory usage ember:m@1:emb:a ;;
    *) fail "src/cache sends $2, which this test does not know" ;;
    esac
}
n=0
for command in $(sed -n 's/.*resp_text(&self->out, "\([A-Z]*\)").*/\1/p' "$source/src/cache/cache_redis.c" | grep -v '^EX$'); do
    n=$((n + 1))
    try ember "$command"
done
for command in $(sed -n 's/.*const char \*[a-z_]*argv\[[0-9]*\] = {"\([A-Z]*\)".*/\1/p' "$source/src/cache/cache_people.c") SELECT UNLINK; do
    n=$((n + 1))
    try people "$command"
done
[ $n -ge 12 ] || fail "only $n commands found in src/cache"

for user in ember people health; do
    may_not $user flushall
    may_not $user flushdb
    may_not $user keys '*'
    may_not $user config get maxmemory
    may_not $user eval 'return 1' 0
    may_not $user restore ember:x 0 y
    may_not $user shutdown
    may_not $user acl list
    may_not $user get other:key
done
may_not ember unlink ember:m@1:emb:a
may_not ember set other:key v
may_not people set ember:m@1:emb:a v
may_not health get ember:m@1:emb:a
# And in earnest, not only by asking.
[ "$(as ember set ember:m@1:emb:a v EX 10)" = OK ] && [ "$(as ember mget ember:m@1:emb:a)" = v ] || fail "a worker cannot write and read"
as ember flushall | grep -q NOPERM || fail "a worker can FLUSHALL"
redis-cli -s "$socket" mget ember:m@1:emb:a 2>&1 | grep -q NOAUTH || fail "who does not log in is served"
exit $status
