#!/bin/bash
# streams.c, which is TAP by itself, on BenchFS.
program=$1 library=$2
shift 2
. "$(dirname "$0")/preload.sh"
benchfs mkdir /d && benchfs cp "$library" benchfs:/d/lib.so || exit 1
LD_PRELOAD=$PRELOAD timeout 60 "$program" /benchfs/d
