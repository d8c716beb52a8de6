#!/bin/bash
# benchfs run: exit codes, stages, signals, and that nothing stays.
. "$(dirname "$0")/../cluster/cluster.sh"
export TMPDIR=$work
unset BENCHFS_CLUSTER
BENCHFS_CLUSTER=$work/none # for cluster.sh's own cleaning up
shared_before=$(ls /dev/shm)

status_is() {
    local expected=$1 status=0
    shift
    timeout --kill-after=10 60 "$@" || status=$?
    [ "$status" -eq "$expected" ] || { echo "exit status $status, expected $expected"; return 1; }
}

nothing_left() {
    ls "$work"/benchfs-run.* 2>/dev/null && return 1
    pgrep -f "benchfsd.*$work/benchfs-run" && return 1
    return 0
}

ok "the command's exit code" status_is 7 benchfs run -- bash -c 'exit 7'
ok "success" status_is 0 benchfs run -n 2 -- bash -c 'echo x >/benchfs/x; test -s /benchfs/x'
ok "killed by a signal" status_is 137 benchfs run -- bash -c 'kill -KILL $$'
ok "not found" fails 127 "none" benchfs run -- "$work/none"
ok "not executable" fails 126 "Permission denied" benchfs run -- /etc/passwd
ok "nothing is left" nothing_left

mkdir -p "$work/in/deep"
echo data >"$work/in/deep/file"
ok "stage in and out" status_is 0 benchfs run --stage-in "$work/in:/a/b" --stage-out "/a/out:$work/out" -- \
    bash -c 'cp -r /benchfs/a/b /benchfs/a/out; echo more >>/benchfs/a/out/deep/file'
ok "what came out" test "$(cat "$work/out/deep/file")" = $'data\nmore'
ok "staged out although the command failed" status_is 3 benchfs run --stage-out "/r:$work/r" -- \
    bash -c 'echo partial >/benchfs/r; exit 3'
ok "the partial result" test "$(cat "$work/r")" = partial
ok "into a directory" status_is 0 benchfs run --stage-in "$work/r:/dir/" -- test -s /benchfs/dir/r
ok "stage out of what is not there" status_is 1 benchfs run --stage-out "/none:$work/x" -- true
ok "another prefix" status_is 0 benchfs run --prefix /scratch/mine -- \
    bash -c 'echo x >/scratch/mine/x; test "$(ls /scratch/mine)" = x'
ok "a program inside" status_is 5 benchfs run --stage-in "$(command -v bash):/bin/sh2" -- /benchfs/bin/sh2 -c 'exit 5'
ok "options of start" status_is 0 benchfs run -n 1 --store mem --set store.capacity=256MiB -- \
    bash -c 'test $(stat -f -c "%b * %S" /benchfs | sed "s/*/\\\\*/" | xargs expr) -le 268435456'

ok "no colon" fails 2 "not SRC:DST" benchfs run --stage-in abc -- true
ok "not absolute" fails 2 "absolute" benchfs run --stage-in "$work/in:rel" -- true
ok "missing source" fails 1 "No such file" benchfs run --stage-in "$work/no:/x" -- true
ok "no command" fails 2 "no command" benchfs run -n 1
ok "bad option value" fails 2 "number of servers" benchfs run -n 0 -- true

# interrupted SIGNAL EXIT-CODE: the command says when it runs, gets the signal, and writes what is staged out.
interrupted() {
    local fifo=$work/fifo.$1 status=0
    mkfifo "$fifo"
    timeout 60 benchfs run --stage-out "/s:$work/s.$1" -- \
        bash -c 'trap "echo caught >/benchfs/s; exit 9" INT TERM; echo run >"$1"; while :; do sleep 0.05; done' x "$fifo" &
    local pid=$! child
    read -r _ <"$fifo"
    child=$(pgrep -P "$pid" -x benchfs) || child=$pid
    kill "-$1" "$child"
    wait "$pid" || status=$?
    [ "$status" -eq 9 ] && [ "$(cat "$work/s.$1")" = caught ] && nothing_left
}
ok "SIGTERM goes to the command, data comes out" interrupted TERM
ok "SIGINT goes to the command, data comes out" interrupted INT

die_by_signal() {
    local fifo=$work/fifo.die status=0
    mkfifo "$fifo"
    timeout 60 benchfs run -- bash -c 'echo run >"$1"; exec sleep 50' x "$fifo" &
    local pid=$! child
    read -r _ <"$fifo"
    child=$(pgrep -P "$pid" -x benchfs) || child=$pid
    kill -TERM "$child"
    wait "$pid" || status=$?
    [ "$status" -eq 143 ] && nothing_left
}
ok "a command that dies of SIGTERM" die_by_signal
ok "nothing is left at the end" nothing_left

finish
