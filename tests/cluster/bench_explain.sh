#!/bin/bash
# Results of a cluster tell their stages, calibrated limits are what explain holds them against, and what cannot be read is one
# line.
# Usage: bench_explain.sh DELAY-MODULE PROGRAM-DIRECTORY...
delay=$1
shift
. "$(dirname "$0")/cluster.sh"

export TMPDIR=$work/tmp
mkdir "$TMPDIR" "$work/directory"
results=$work/results limits=$work/limits

measure() {
    timeout 60 benchfs bench ior --target benchfs: --target "posix:$work/directory" --block 128KiB --size 4KiB --repeats 2 \
        --processes 2 --output "$results" >/dev/null
}
# stages PHASE: the result of the phase on the cluster has stages, of as many requests as there were transfers at least, and
# the load of both servers
stages() {
    grep '"type":"result"' "$results" | grep -F '"target":"benchfs:"' | grep "\"phase\":\"$1\"" >"$work/line" || return 1
    for stage in total client_queue wire server_queue handler storage reply; do
        grep -qE "\"stages\":.*\"$stage\":\{\"count\":[0-9]" "$work/line" || { echo "no $stage"; return 1; }
    done
    grep -qE "\"$2\":\{\"count\":(1[2-9][0-9]|[2-9][0-9][0-9])" "$work/line" && grep -q '"servers":\[{"id":0,.*{"id":1,' "$work/line"
}
plain_has_none() { ! grep -F '"target":"posix:' "$results" | grep -c '"stages"' >/dev/null; }
calibrate() { timeout 60 benchfs bench calibrate --time 1ms --repeats 2 --output "$limits" >"$work/table"; }
limit() { grep -qE "\"name\":\"$1\",.*\"value\":[1-9]" "$limits"; }
explain() { timeout 60 benchfs explain "$@" >"$work/said"; }
says() { grep -qE -- "$1" "$work/said" || { cat "$work/said"; return 1; }; }

benchfs start -n 2 --set store.capacity=64MiB >/dev/null || exit 1
ok "results of a cluster and of a directory" measure
benchfs stop >/dev/null
ok "stages of writes" stages write WRITE_CHUNK
ok "stages of reads" stages read READ_CHUNK
ok "a directory has none" plain_has_none
mv "$results" "$work/kept"
benchfs start -n 2 --set store.capacity=64MiB --set metrics.shared=false >/dev/null
ok "results of servers that share nothing" measure
benchfs stop >/dev/null
ok "stages of writes, too" stages write WRITE_CHUNK
ok "and of reads" stages read READ_CHUNK
ok "nothing was missing" eval '! grep -c "do not tell all" "$results" >/dev/null'
ok "who asked is not counted" eval '! grep -c READ_METRICS "$results" >/dev/null'
mv "$work/kept" "$results"
ok "limits" calibrate
for name in memcpy network-latency network-bandwidth syscall wakeup; do
    ok "one of $name" limit "$name"
done
ok "an explanation" explain --limits "$limits" "$results"
ok "of what was written" says '^write of 4 KiB \(benchfs:\): .*(most time goes to|do not decide)'
ok "with its stages" says '^  wire +[0-9.]+ [num]?s'
ok "and of the directory that it is unknown" says '\(posix:.*: stages unknown: the target is not BenchFS$'
ok "one phase as JSON" explain --limits "$limits" "$results" --json --phase read --target benchfs:
ok "is one line" [ "$(wc -l <"$work/said")" = 1 ]
ok "with the roofline" says '"type":"explanation".*"ceilings":\[\{"name":"network-latency"'
cat "$work/said" >>"$results"
ok "it can follow the results" explain --limits "$limits" "$results" --phase write

ok "and of one setting none is told" eval '! says "^  with "'
{ cat "$results"; sed -n '/"type": *"result"/s/"depth": *[0-9]*/"depth":77/p' "$results"; } >"$work/swept"
ok "a sweep" explain --limits "$limits" "$work/swept" --phase write
ok "with its settings" says '^  with depth=77$'

sed 's/"id":"[^"]*"/"id":"fedcba9876543210"/; s/"run":"[^"]*"/"run":"fedcba9876543210"/' "$results" >"$work/again"
ok "two files" explain --limits "$limits" "$results" "$work/again"
ok "each by name" says "^==> $work/again <=="
ok "and what both measured side by side" says '^write on benchfs:, in several runs:$'
ok "by file" says "^  $work/again +[0-9.]+ [A-Za-z]*/s  p50 [0-9.]+ [num]?s: [a-z_]+ [0-9]+ %"

sed -i 's/"host":"[^"]*"/"host":"elsewhere"/' "$results"
ok "of another host it goes without limits" explain "$results"
ok "and says so" says 'no limits: the results are of another host'
ok "no results" fails 2 'no file of results given' benchfs explain
ok "results that are not there" fails 2 'No such file' benchfs explain "$work/nowhere"
echo "hello" >"$work/foreign"
ok "a foreign file" fails 2 'foreign.*line 1' benchfs explain "$work/foreign"
ok "a phase that is not there" fails 2 'no results of that phase' benchfs explain "$results" --phase dance
ok "limits that are none" fails 2 'holds no limits' benchfs explain "$results" --limits "$results"
ok "a device where there is none" fails 2 'cannot use' benchfs bench calibrate --time 1ms --repeats 1 \
    --dir "$work/nowhere"

# live [OPTION...]: explains what the cluster does while somebody writes; the first attempt may be before they begin.
live() {
    for _ in $(seq 20); do
        timeout 20 benchfs explain --live --seconds 1 "$@" >"$work/said" 2>"$work/.said" && return
        grep -c 'nobody sent a request' "$work/.said" >/dev/null || break
    done
    cat "$work/.said"
    return 1
}
write_on() {
    for _ in $(seq 200); do
        [ ! -e "$work/enough" ] || break
        timeout 20 benchfs bench ior --target benchfs: --block 256KiB --size 4KiB --repeats 1 >/dev/null 2>&1
    done
}
mkdir "$work/store"
DELAY_US=3000 LD_PRELOAD=$delay benchfs start -n 1 --set store.engine=file --set "store.path=$work/store" --set store.capacity=64MiB >/dev/null || exit 1
ok "nobody at work" fails 1 'nobody sent a request in 1.0 s' benchfs explain --live --seconds 1
write_on &
writer=$!
ok "a running cluster" live
ok "how much it does" says '^1.0 s: [0-9]+ requests of clients, [0-9]+ a second, at 1 server \('
ok "all requests" says '^all requests \(benchfs:\): '
ok "the delay in its storage engine is named" says '^WRITE_CHUNK of 4 KiB \(benchfs:\): most time goes to the storage engine \((9[0-9]|100) %'
storage_of_writes() { sed -n '/^WRITE_CHUNK /,/^$/p' "$work/said" | grep -E '^  storage +([3-9]|[1-9][0-9]+)(\.[0-9]+)? ms '; }
ok "with how long it is" storage_of_writes
ok "as results" live --json --limits "$limits"
: >"$work/enough"
cp "$work/said" "$work/live"
ok "which can be explained again" explain "$work/live" --limits "$limits" --phase WRITE_CHUNK
ok "with the same outcome" says 'most time goes to the storage engine'
wait "$writer"
ok "live of a file" fails 2 'looks at the cluster, not at a file' benchfs explain --live "$results"
ok "no time" fails 2 'no time to look at' benchfs explain --live --seconds 0
ok "time of files" fails 2 'seconds is for --live' benchfs explain --seconds 1 "$results"
benchfs stop >/dev/null
ok "no cluster" fails 1 'cluster' benchfs explain --live --seconds 1
finish
