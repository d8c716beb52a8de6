#!/bin/bash
# trace: from the calls of a program to the disks, of servers that live and of one that was killed.
. "$(dirname "$0")/cluster.sh"
tests=$(realpath "$(dirname "$0")")

check() { python3 "$tests/check_trace.py" "$@"; }
load() { benchfs bench mixed --rate 4000 --size 4KiB --time 60s --repeats 1 >/dev/null 2>&1 & loader=$!; }
# Ends it; what it was doing does not matter.
unload() { kill "$loader" 2>/dev/null; wait "$loader" 2>/dev/null; }
traced() { benchfs trace -o "$work/trace.json" "$@"; }
threshold() { [ "$(benchfs status --json | grep -c "\"slow_threshold_ns\": $1,")" = 2 ]; }
logged() { grep -h "slow .* of inode .* for .*: .* ms: queue" "$BENCHFS_CLUSTER".d/*.log; }
quiet() { ! "$@"; }

ok "trace without a cluster says how to start one" fails 1 'benchfs start' benchfs trace
ok "a bad time is refused" fails 2 'seconds' benchfs trace --seconds soon
ok "a bad threshold is refused" fails 2 'duration' benchfs trace --slow soon
ok "an argument is refused" fails 2 'unexpected' benchfs trace now
mkdir "$work/store"
ok "start" benchfs start -n 2 --store uring --set store.path="$work/store" --set store.capacity=64MiB \
    --set metrics.trace_entries=16384
load
for i in $(seq 100); do
    benchfs status --json | grep -c '"name": "WRITE_CHUNK"' >/dev/null && break
done
ok "trace" traced --seconds 1
ok "it is a trace that hangs together" check "$work/trace.json" 'application > 50 and request > 50 and served > 50 and disk > 0'
ok "nearly every request was made by a call" check "$work/trace.json" 'joined_call >= 0.95 * request - 2'
ok "nearly every request was served" check "$work/trace.json" 'joined_request >= 0.95 * min(request, served) - 2'
ok "transfers of the disk belong to requests" check "$work/trace.json" 'joined_disk > 0'
ok "nothing was lost" check "$work/trace.json" 'lost == 0'
ok "servers and threads are named" check "$work/trace.json" \
    'sum(n.startswith("server ") for n in processes_named.values()) == 2 and any(n.startswith("thread ") for n in names.values())'
ok "calls have names and bytes" check "$work/trace.json" \
    'any(s["cat"] == "application" and s["name"] in ("pread", "pwrite", "io_read", "io_write") and s["args"]["bytes"] == 4096 for s in slices)'
unload

ok "nothing is slow unless asked" quiet logged
ok "what is slow can be set" benchfs trace --seconds 0 --slow 1ns
ok "it is told" threshold 1
benchfs mkdir /slow >/dev/null
ok "slow requests are logged with their stages" logged
ok "not more than ten a second and server" [ "$(logged | wc -l)" -le 40 ]
ok "and shown" eval 'benchfs top --total | grep -c "[0-9] noted" >/dev/null'
ok "and switched off" benchfs trace --seconds 0 --slow 0
ok "that is told, too" threshold 0

pid=$(server_pids | head -1)
load
for i in $(seq 100); do
    benchfs status --json | grep -c '"name": "WRITE_CHUNK"' >/dev/null && break
done
kill -KILL "$pid"
while is_ours "$pid"; do :; done
ok "what a killed server left" traced --dead "$pid"
ok "is a trace, too" check "$work/trace.json" 'served > 10 and processes == 1 and lost == 0'
ok "so is what all have left" eval 'traced --left && check "$work/trace.json" "served > 10"'
ok "a living process has left nothing" fails 1 'left nothing' benchfs trace --dead $$
unload
benchfs stop >/dev/null 2>&1
end_servers

ok "start without shared memory" benchfs start -n 2 --store mem --set store.capacity=64MiB --set metrics.shared=false
load
ok "servers that share nothing are traced" traced --seconds 1
# Processes of one host calibrate their clocks each by itself, so they agree to within some microseconds.
ok "with the offset of their clock, which is this one, within its bound" check "$work/trace.json" \
    'served > 10 and all(abs(r["clock_offset_ns"]) <= r["clock_error_ns"] + 50000 and r["clock_pairs"] > 10 for r in regions if r["server"] >= 0)'
unload
ok "stop" benchfs stop

# What programs do to a mount.
write_and_read() {
    for _ in $(seq 2000); do
        [ ! -e "$work/enough" ] || break
        echo "$RANDOM" >"$work/mount/file"
        cat "$work/mount/file" "$work/mount/nothing" >/dev/null 2>&1
    done
}
mkdir "$work/mount"
trap 'fusermount3 -u -q -z "$work/mount" 2>/dev/null; (exit $((failed != 0))); cleanup' EXIT
if [ -r /dev/fuse ] && benchfs start -n 1 --store mem --set store.capacity=64MiB >/dev/null && benchfs mount "$work/mount" 2>/dev/null; then
    write_and_read &
    writer=$!
    ok "a mount is traced" traced --seconds 1
    ok "by the names of what the kernel asked" check "$work/trace.json" \
        'joined_call > 10 and {"fuse_lookup", "fuse_open", "fuse_write", "fuse_read", "fuse_release"} <= {s["name"] for s in slices if s["cat"] == "application"}'
    ok "with their bytes and results" check "$work/trace.json" \
        'any(s["name"] == "fuse_write" and 2 <= s["args"]["bytes"] <= 6 for s in slices) and any(s["name"] == "fuse_lookup" and s["args"]["result"] == -2 for s in slices)'
    : >"$work/enough"
    wait "$writer"
    umount "$work/mount" || fusermount3 -u "$work/mount"
fi
benchfs stop >/dev/null 2>&1

# Engines whose device is not reached through io_uring.
for engine in rocksdb pmem; do
    mkdir "$work/$engine"
    benchfs start -n 1 --store "$engine" --set store.path="$work/$engine" --set store.capacity=64MiB --set store.durability=write \
        >/dev/null 2>&1 || continue # it was built without
    load
    ok "$engine is traced" traced --seconds 1
    # What pmem transfers is copied by the processor; the journal flushes it.
    ok "with transfers of requests, and flushes of its device" check "$work/trace.json" \
        'any(s["name"] == "disk sync" for s in slices) and ("'"$engine"'" == "pmem" or joined_disk > 0 and any(s["name"] == "disk write" and s["args"]["bytes"] >= 4096 for s in slices))'
    unload
    benchfs stop >/dev/null
done

# A server whose monotonic clock is 1,000 s ahead, as another host's might be: a time namespace.
if unshare --time --monotonic 1000 true 2>/dev/null; then
    mkdir "$work/bin"
    cp "$(command -v benchfs)" "$work/bin/"
    {
        echo '#!/bin/sh'
        echo 'case " $* " in'
        echo "*' --id 1 '*) exec unshare --time --monotonic 1000 $(command -v benchfsd) \"\$@\" --set metrics.shared=false ;;"
        echo 'esac'
        echo "exec $(command -v benchfsd) \"\$@\""
    } >"$work/bin/benchfsd"
    chmod +x "$work/bin/benchfsd"
    ok "start with a clock that is ahead" "$work/bin/benchfs" start -n 2 --store mem --set store.capacity=64MiB
    load
    ok "it is traced, and another beside it" traced --seconds 1
    ok "the clock's offset is found, within its bound" check "$work/trace.json" \
        'all(abs(r["clock_offset_ns"] + 10**12) <= r["clock_error_ns"] + 50000 and r["clock_pairs"] > 10 for r in regions if r["server"] == 1)'
    ok "and what was requested there is in causal order" check "$work/trace.json" \
        'joined_request > 100 and disordered <= 0.01 * joined_request and len([r for r in regions if r["server"] == 1]) == 1'
    unload
    ok "it is stopped" benchfs stop
fi
finish
