#!/bin/bash
# A session with BenchFS: starts two servers on this machine, copies a directory tree in and out, compares it byte by byte,
# measures, stops the servers, and leaves nothing behind. Run it by "make demo".
set -euo pipefail
cd "$(dirname "$0")/.."
PATH=$PWD/build/src/cli:$PWD/build/src/server:$PATH

directory=$(mktemp -d "${TMPDIR:-/tmp}/bfs-XXXXXX")
local_directory=
export BENCHFS_CLUSTER=$directory/cluster.json
unset BENCHFS_SERVERS BENCHFS_KEY

cleanup() {
    local status=$?
    trap '' INT TERM
    if [ -e "$BENCHFS_CLUSTER" ]; then
        benchfs stop >/dev/null 2>&1 || true
    fi
    rm -rf -- "$directory" ${local_directory:+"$local_directory"}
    [ "$status" -eq 0 ] || echo "demo: FAILED (exit status $status)" >&2
    exit "$status"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# Shows a command as it would be typed, runs it, and says how long it took.
show() {
    local begin=${EPOCHREALTIME/[.,]/} end word
    printf '\n$'
    for word in "$@"; do
        [[ $word =~ ^[A-Za-z0-9_./:,=-]+$ ]] && printf ' %s' "$word" || printf ' %q' "$word"
    done
    printf '\n'
    "$@"
    end=${EPOCHREALTIME/[.,]/}
    echo "[$(((end - begin) / 1000)) ms]"
}

# The first tree of 20 MiB to 1 GiB that this machine has.
choose_tree() {
    local tree size
    for tree in /usr/include /usr/share/doc /usr/share/perl /usr/lib/python3 /usr/share /usr/lib/gcc; do
        [ -d "$tree" ] || continue
        size=$(du -s --apparent-size -m -- "$tree" 2>/dev/null | cut -f1)
        if [ "$size" -ge 20 ] && [ "$size" -le 1024 ]; then
            echo "$tree"
            return
        fi
    done
    echo "demo: no directory tree of 20 MiB to 1 GiB found" >&2
    return 1
}

tree=$(choose_tree)
name=${tree##*/}
echo "The tree: $tree, $(du -s --apparent-size -m -- "$tree" | cut -f1) MiB in $(find "$tree" -type f | wc -l) files"

show benchfs start -n 2 --store mem
show benchfs status
show benchfs mkdir /demo
show benchfs cp -r "$tree" benchfs:/demo
show benchfs ls -l /demo
show benchfs cp -r "benchfs:/demo/$name" "$directory"
show diff -r --no-dereference "$tree" "$directory/$name"
echo "identical, byte by byte"
rm -rf -- "${directory:?}/$name"
show benchfs rm -r /demo

# Beside a local directory in memory: what no file system of several processes can reach, on the same machine.
local_directory=$(mktemp -d "$([ -w /dev/shm ] && echo /dev/shm || echo "$directory")/bfs-XXXXXX")
show benchfs bench io --target benchfs: --target "posix:$local_directory" --size 4KiB,1MiB --total 32MiB --output "$directory/io.jsonl"
show benchfs explain "$directory/io.jsonl" --target benchfs:
show benchfs bench md --target benchfs: --target "posix:$local_directory" --files 2000
show benchfs stop
