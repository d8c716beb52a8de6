#!/bin/bash
# bench targets: the rows that mount measure something, and leave nothing behind, interrupted or not.
. "$(dirname "$0")/mounts.sh"

export TMPDIR=$work/tmp
mkdir "$TMPDIR"

has_mounts() { grep -qF " $TMPDIR/" /proc/self/mounts; }
nothing_left() { ! has_mounts && [ -z "$(ls -A "$TMPDIR")" ]; }
measured() { tr -d " " <"$work/rows" | grep -F "\"row\":\"$1\"" | grep -cF '"repeats":3,' >/dev/null; }

timeout 100 benchfs bench targets --quick --json --row fuse-stat-strict --row fuse-stat-relaxed \
    >"$work/rows" 2>"$work/errors"
ok "a verdict" [ $? -le 1 ]
ok "nothing went wrong" same "$(cat "$work/errors")" ""
ok "stat in a strict mount beside the reference" measured fuse-stat-strict
ok "stat in a relaxed mount" measured fuse-stat-relaxed
ok "no mount and no file is left" nothing_left

timeout -s INT 100 benchfs bench targets --row fuse-write-1MiB >"$work/rows" 2>"$work/errors" &
bench=$!
ok "it mounts" until_true has_mounts
kill -INT "$(pgrep -P $bench)"
wait $bench
ok "an interrupt ends it" same $? 1
ok "it says so" grep -q interrupted "$work/errors"
ok "no mount and no file is left then either" nothing_left
finish
