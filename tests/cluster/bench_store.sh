#!/bin/bash
# bench store, and the rows of bench targets that lie on a device: every engine that is built in is measured, and nothing is left
# behind, interrupted or not.
. "$(dirname "$0")/cluster.sh"

same() { [ "$1" = "$2" ] || { echo "\"$1\" is not \"$2\""; return 1; }; }
# Waits at most ten seconds until a condition holds.
until_true() {
    local i
    for i in $(seq 200); do
        "$@" && return 0
        sleep 0.05
    done
    return 1
}

export TMPDIR=$work/tmp
mkdir "$TMPDIR"

nothing_left() { [ -z "$(ls -A "$TMPDIR")" ]; }
has_directory() { ! nothing_left; }
measured() { tr -d " " <"$work/rows" | grep -F "\"row\":\"$1\"" | grep -cF '"repeats":3,' >/dev/null; }
not() { ! "$@"; }
is_server() { [ -e "$(echo "$work"/device/*/server/0/lock)" ]; }
rows_of() { tr -d " " <"$work/rows" | grep -F "\"target\":\"$1\"" | grep -c '"ops_per_s":[0-9]*[1-9]'; }

benchfs bench store --store nonsense 2>"$work/known"
engines=$(sed -n 's/.*takes of \(.*\), pwrite and direct,.*/\1/p' "$work/known" | tr -d ,)
ok "it says which engines there are" [ -n "$engines" ]

timeout 100 benchfs bench store --json --verify --repeats 1 --size 4KiB,47008 --total 300000 --depth 1,4 \
    >"$work/rows" 2>"$work/errors"
ok "all engines are measured" same $? 0
ok "nothing went wrong, and what copies nothing says so" same "$(grep -vc 'mem.*handed out, not copied$\|tiered.*handed out, not copied$\|null.*no bytes are moved$' "$work/errors")" 0
ok "once for each" same "$(wc -l <"$work/errors")" 3
for engine in $engines; do
    ok "$engine: five passes of two sizes and depths" same "$(rows_of "$engine")" 20
done
ok "two are compared" eval 'timeout 60 benchfs bench compare store --store mem,null --size 4KiB --depth 1 --total 64KiB --repeats 4 \
    >"$work/table" && [ "$(grep -c " B/A " "$work/table")" = 5 ]'
ok "pwrite beside them, one at a time" same "$(rows_of pwrite)" 10
ok "no file is left" nothing_left

timeout -s INT 100 benchfs bench store --total 64MiB --size 4KiB --repeats 60 >"$work/rows" 2>"$work/errors" &
bench=$!
ok "it makes a directory" until_true has_directory
kill -INT "$(pgrep -P $bench)"
wait $bench
ok "an interrupt ends it" same $? 1
ok "it says so" grep -q interrupted "$work/errors"
ok "no file is left then either" nothing_left

mkdir "$work/device"
timeout 100 benchfs bench targets --quick --json --dir "$work/device" --row close-batch --row checksum-read \
    >"$work/rows" 2>"$work/errors"
ok "a verdict" [ $? -le 1 ]
ok "nothing went wrong" same "$(cat "$work/errors")" ""
ok "groups are counted" measured close-batch
ok "checksums are compared" measured checksum-read
ok "no file is left" nothing_left
ok "nor there" same "$(ls -A "$work/device")" ""

timeout -s INT 100 benchfs bench targets --dir "$work/device" --row restart >"$work/rows" 2>"$work/errors" &
bench=$!
ok "a server keeps its data there" until_true is_server
main=$(pgrep -P $bench)
servers=$(pgrep -P "$main")
ok "it is a process" [ -n "$servers" ]
kill -INT "$main"
wait $bench
ok "an interrupt ends that, too" same $? 1
ok "the server is gone" until_true not kill -0 $servers
ok "no file is left then" nothing_left
ok "nor there" same "$(ls -A "$work/device")" ""
finish
