#!/bin/bash
# bench ior, mdtest, iozone, io500, mixed and replay on a cluster beside a directory: each phase is measured on both, nothing is left
# behind, and wrong usage is one line.
. "$(dirname "$0")/cluster.sh"

export TMPDIR=$work/tmp
mkdir "$TMPDIR" "$work/directory"
both=(--target benchfs: --target "posix:$work/directory" --repeats 1 --processes 2)

# measure BENCHMARK OPTION...: the results go to $work/rows
measure() { timeout 60 benchfs bench "$@" "${both[@]}" --output "$work/rows" >"$work/table" && ! grep -q wrong "$work/table"; }
# phases BENCHMARK PHASE...: each of them was measured on both, and did something
phases() {
    local benchmark=$1 phase target
    shift
    for phase in "$@"; do
        for target in benchfs: "posix:$work/directory"; do
            # All of it is read: a grep -q that ends early would end the first one by SIGPIPE.
            [ "$(grep -F "\"benchmark\":\"$benchmark\",\"target\":\"$target\",\"phase\":\"$phase\"" "$work/rows" |
                grep -c '"operations":[1-9]')" -gt 0 ] || { echo "no $phase on $target"; return 1; }
        done
    done
}
nothing_left() { [ -z "$(ls -A "$work/directory")" ] && [ -z "$(benchfs ls benchfs:/)" ]; }

benchfs start -n 2 --set store.capacity=256MiB >/dev/null || exit 1

ok "ior, easy and random" measure ior --mode easy,random --block 128KiB --size 4096 --depth 1,4
ok "it writes and reads" phases ior write read
ok "ior, hard" measure ior --mode hard --segments 20 --verify
ok "it does, too" phases ior write read
ok "mdtest, easy and hard" measure mdtest --mode easy,hard --files 20 --tree-depth 1 --branch 2
ok "all phases" phases mdtest tree-create directory-create directory-stat directory-remove file-create file-stat readdir \
    file-read file-remove tree-remove
ok "iozone" measure iozone --size 4KiB,64KiB --total 256KiB --depth 1,4
ok "all of its phases" phases iozone write rewrite read reread random-read random-write backward-read stride-read
ok "io500" measure io500 --time 20ms --total 4MiB --files 200
ok "all of its phases" phases io500 ior-easy-write mdtest-easy-write ior-hard-write mdtest-hard-write find ior-easy-read \
    mdtest-easy-stat ior-hard-read mdtest-hard-stat mdtest-easy-delete mdtest-hard-read mdtest-hard-delete
ok "a score for each" [ "$(grep '"type":"score"' "$work/rows" | grep -c '"note":"not a submission"')" = 2 ]
ok "which is told" [ "$(grep -c 'not a submission' "$work/table")" = 2 ]
ok "mixed" measure mixed --rate 500 --time 100ms --total 64KiB --arrivals poisson,fixed --depth 1,4
ok "all of its operations" phases mixed read write stat create all
ok "nothing is left" nothing_left

# What two processes did on the cluster, and what strace saw of a program, done again.
timeout 60 benchfs bench mdtest --target "record:$work/trace:benchfs:" --mode hard --files 10 --processes 2 --repeats 1 >/dev/null
ok "a run is recorded" [ "$(grep -c '"op":"unlink"' "$work/trace")" = 20 ]
ok "it is replayed" measure replay --trace "$work/trace" --verify
ok "all it did" phases replay open close read write stat mkdir rmdir unlink readdir all
ok "without errors" [ "$(grep -c '"type":"result".*"errors":0' "$work/rows")" = "$(grep -c '"type":"result"' "$work/rows")" ]
cat >"$work/strace" <<'END'
100 1700000000.000100 openat(AT_FDCWD, "/data/input", O_RDONLY) = 3
100 1700000000.000200 read(3, "abc"..., 65536) = 10000
100 1700000000.000300 clone(child_stack=NULL, flags=CLONE_CHILD_CLEARTID|SIGCHLD) = 101
101 1700000000.000400 openat(AT_FDCWD, "/data/output", O_WRONLY|O_CREAT|O_TRUNC, 0644) = 4
101 1700000000.000500 write(4, "abc"..., 10000) = 10000
101 1700000000.000600 exit_group(0) = ?
101 1700000000.000700 +++ exited with 0 +++
100 1700000000.000800 close(3) = 0
100 1700000000.000900 rename("/data/output", "/data/input") = 0
100 1700000000.001000 +++ exited with 0 +++
END
ok "strace's output is replayed" measure replay --trace "$work/strace" --speed 0,1 --verify
ok "as it was" phases replay open read write rename close all
ok "it becomes a trace" benchfs bench convert --trace "$work/strace" --output "$work/converted"
ok "which is replayed" measure replay --trace "$work/converted" --only /data
ok "nothing is left of it" nothing_left

here=posix:$work/directory
ok "an unknown mode" fails 2 '--mode takes easy, hard or random, not "soft"' benchfs bench ior --target "$here" --mode soft
ok "a block that does not fit" fails 2 'no multiple' benchfs bench ior --target "$here" --block 10000 --size 4096
ok "too many directories" fails 2 'more than 1000000 directories' benchfs bench mdtest --target "$here" --tree-depth 9 --branch 10
ok "a record that does not fit" fails 2 'less than one record' benchfs bench iozone --target "$here" --size 1MiB --total 4KiB
ok "nothing to do" fails 2 'must be more than 0' benchfs bench mixed --target "$here" --read 0 --write 0 --stat 0 --create 0
ok "unknown arrivals" fails 2 'poisson or fixed' benchfs bench mixed --target "$here" --arrivals late
ok "no trace" fails 2 'which trace' benchfs bench replay --target "$here"
ok "one that is not there" fails 2 'cannot read trace' benchfs bench replay --target "$here" --trace "$work/none"
ok "something else" fails 2 'line 1: no JSON object' benchfs bench replay --target "$here" --trace "$BENCHFS_CLUSTER"
ok "a strange speed" fails 2 'takes a factor' benchfs bench replay --target "$here" --trace "$work/trace" --speed fast
ok "nothing there" fails 2 'nothing to replay below /none' benchfs bench replay --target "$here" --trace "$work/trace" --only /none
ok "a trace that exists" fails 1 'File exists' benchfs bench convert --trace "$work/strace" --output "$work/converted"
ok "a record of nothing" fails 2 'needs a file and a target' benchfs bench ior --target record:/tmp/x
ok "nothing is left by those" nothing_left
finish
