#!/bin/bash
# bench store: every engine that is built in is measured, and nothing is left behind, interrupted or not.
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
rows_of() { tr -d " " <"$work/rows" | grep -F "\"target\":\"$1\"" | grep -c '"ops_per_s":[0-9]*[1-9]'; }

benchfs bench store --store nonsense 2>"$work/known"
engines=$(sed -n 's/.*takes of \(.*\), pwrite and direct,.*/\1/p' "$work/known" | tr -d ,)
ok "it says which engines there are" [ -n "$engines" ]

timeout 100 benchfs bench store --json --verify --repeats 1 --size 4KiB,47008 --total 300000 --depth 1,4 \
    >"$work/rows" 2>"$work/errors"
ok "all engines are measured" same $? 0
ok "nothing went wrong" same "$(cat "$work/errors")" ""
for engine in $engines; do
    ok "$engine: five passes of two sizes and depths" same "$(rows_of "$engine")" 20
done
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
finish
