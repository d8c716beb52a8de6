#!/bin/bash
# The suite on a cluster: what results know of it, targets that are down or die, interrupts, and a comparison with a directory.
. "$(dirname "$0")/cluster.sh"

export TMPDIR=$work/tmp
mkdir "$TMPDIR" "$work/directory"
rows=$work/rows.jsonl
here=posix:$work/directory

has() { grep -qF -- "$1" "$rows"; }
lacks() { ! has "$1"; }
results() { [ "$(grep -c '"type":"result"' "$rows")" "$1" "$2" ]; }
readable() { benchfs bench compare "$rows" "$rows" >/dev/null; }
nothing_left() { [ -z "$(ls -A "$work/directory")" ] && [ -z "$(benchfs ls benchfs:/)" ]; }
# Waits at most ten seconds until a condition holds.
until_true() {
    local i
    for i in $(seq 200); do
        "$@" && return 0
        sleep 0.05
    done
    return 1
}
io() { timeout 60 benchfs bench io --size 4KiB --total 64KiB --repeats 1 --target benchfs: --output "$rows" "$@"; }

ok "a target that is down is found first" fails 2 'no cluster' io
ok "it leaves no results" [ ! -e "$rows" ]
echo "earlier results" >"$rows"
ok "again" fails 2 'no cluster' io
ok "and keeps earlier ones" grep -q "earlier results" "$rows"
benchfs start -n 2 --set store.capacity=64MiB --set rpc.rendezvous_threshold=64MiB --set cluster.consistency=relaxed >/dev/null || exit 1
ok "a cluster is measured" io --target "$here"
ok "with its configuration" grep -qE '"configuration":\{"benchfs:":\{"cluster":\{[^}]*"consistency":"relaxed"' "$rows"
ok "its transport" has '"transports":["shm"]'
ok "its servers" has '"servers":2'
ok "however many their configuration has" has '"server_count":2'
ok "a directory that is not there" fails 2 'mkdir /missing/bench-io' io --target benchfs:/missing
ok "a server that is not there" fails 2 'option --server: the cluster has 2 servers' benchfs bench rpc --server 0,2
ok "that it is relaxed" has 'consistency is relaxed'
ok "that rendezvous is off" has 'rendezvous is as good as off'
ok "that the directory has a page cache, or is in memory" eval 'has "page cache" || df --output=fstype "$work/directory" | grep -c tmpfs >/dev/null'
ok "all phases on both" results = 6
ok "nothing is left" nothing_left

ok "both are compared at once" eval \
    'timeout 60 benchfs bench compare md --target benchfs: --target "$here" --files 20 --repeats 4 >"$work/table" 2>&1'
ok "by phase" [ "$(grep -c ' B/A ' "$work/table")" = 6 ]
ok "nothing is left of that" nothing_left

rm "$rows"
# The second combination is never done.
timeout -s INT 100 benchfs bench io --target benchfs: --target "$here" --size 4KiB --passes 1,1000000 --total 16KiB --repeats 1 \
    --output "$rows" >/dev/null 2>"$work/errors" &
bench=$!
ok "the first combination is there at once" until_true results = 6
kill -INT "$(pgrep -P $bench)"
wait $bench
ok "an interrupt ends it" [ $? = 1 ]
ok "it says so" grep -q interrupted "$work/errors"
ok "what finished is kept" readable
ok "nothing is left of the rest" nothing_left

rm "$rows"
timeout 100 benchfs bench io --target benchfs: --size 4KiB --passes 1,1000000 --total 16KiB --repeats 1 \
    --output "$rows" >/dev/null 2>"$work/errors" &
bench=$!
ok "again" until_true results = 3
mapfile -t servers < <(benchfs status --json | grep -oP '"pid": \K[0-9]+')
kill -KILL "${servers[1]}"
wait $bench
ok "a server that dies ends it" [ $? = 1 ]
ok "it is named" grep -qE '^benchfs bench io: target benchfs: server 1 at 127.0.0.1:[0-9]+ does not answer' "$work/errors"
ok "what was measured before is kept" readable
ok "without one of its servers a target is down" fails 2 'server 1 at .* does not answer' io
finish
