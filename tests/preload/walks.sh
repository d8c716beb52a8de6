#!/bin/bash
# walks.c: what fts returns on BenchFS is what it returns elsewhere.
program=$1
shift
. "$(dirname "$0")/preload.sh"
benchfs mkdir /d && mkdir "$work/d" || exit 1
"$program" "$work/d" | sed "s#$work/d#TOP#g" >"$work/expected" || exit 1
LD_PRELOAD=$PRELOAD timeout 60 "$program" /benchfs/d | sed 's#/benchfs/d#TOP#g' >"$work/found"
ok "fts on BenchFS walks as elsewhere" diff "$work/expected" "$work/found"
ok "and through both" test "$(wc -l <"$work/found")" -gt 1000
finish
