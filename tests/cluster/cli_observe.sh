#!/bin/bash
# status --json and top: what they tell of a cluster is what was done to it.
. "$(dirname "$0")/cluster.sh"
tests=$(realpath "$(dirname "$0")")

# json EXPRESSION: is it true of what status tells? `d` is the document.
json() {
    benchfs status --json >"$work/.json" || return
    python3 -c 'import json, sys
d = json.load(open(sys.argv[1]))
s = d["servers"]
def of(server, name, called=False):
    return next((o for o in server["operations"] if o["name"] == name and o["called"] == called), {"count": 0, "bytes": 0})
def total(name, key="count"): return sum(of(one, name)[key] for one in s)
print(eval(sys.argv[2].split(";")[0]))
sys.exit(0 if eval(sys.argv[2]) else 1)' "$work/.json" "$1"
}
top() { benchfs top --once --interval 100ms "$@"; }
shows() { "${@:2}" >"$work/.shown" || return; cat "$work/.shown"; grep -qE -- "$1" "$work/.shown"; }
status_down() { benchfs status --json || [ $? -eq 1 ]; }

ok "top without a cluster says how to start one" fails 1 'benchfs start' benchfs top --once
ok "start" benchfs start -n 2 --store mem --set store.capacity=64MiB
benchfs mkdir /data >/dev/null
for i in 1 2 3 4 5 6 7 8 9 10; do
    head -c 10000 /dev/urandom >"$work/file.$i"
done
benchfs cp "$work"/file.* benchfs:/data >/dev/null
benchfs ls /missing 2>/dev/null

ok "creations are counted" json 'total("CREATE_FILE") + total("OPEN") >= 10'
ok "bytes are counted" json 'total("WRITE_CHUNK", "bytes") == 100000'
ok "sending replies is measured" json 'any(o["stages"].get("reply", {"mean_ns": 0})["mean_ns"] > 0
    for one in s for o in one["operations"] if o["name"] == "WRITE_CHUNK")'
ok "each operation has its stages" json 'all(o["stages"]["total"]["p50_ns"] <= o["stages"]["total"]["p99_ns"] <= o["stages"]["total"]["max_ns"]
    for one in s for o in one["operations"] if "total" in o["stages"])'
ok "stages do not exceed the whole" json 'all(sum(v["mean_ns"] * v["count"] for k, v in o["stages"].items() if k != "total") <=
    (o["stages"]["total"]["mean_ns"] + 8) * o["count"] for one in s for o in one["operations"] if not o["called"] and "total" in o["stages"])'
ok "memory is told by owner" json 'all(one["memory"][k] > 0 for one in s for k in ("store", "meta", "board", "rpc", "metrics", "rest", "process"))'
# What the system says of the parts of the process: the region of contents (64 MiB) with what a removed file has left there, the
# arenas of the namespace, the board.
memory_agrees() {
    head -c 20000000 /dev/urandom >"$work/large" && benchfs cp "$work/large" benchfs:/large >/dev/null && benchfs rm /large
    for _ in $(seq 100); do # memory of the process is looked at once a second
        benchfs status --json >"$work/.json" || return
        python3 - "$work/.json" <<'END' && return
import json, re, sys
for one in json.load(open(sys.argv[1]))["servers"]:
    parts = []
    for line in open(f"/proc/{one['pid']}/smaps"):
        if re.match("[0-9a-f]+-", line):
            begin, end = (int(each, 16) for each in line.split()[0].split("-"))
            parts.append([end - begin, line, 0])
        elif line.startswith("Rss:"):
            parts[-1][2] = int(line.split()[1]) << 10
    rss = lambda fits: sum(resident for size, line, resident in parts if fits(size, line))
    contents, board, process = rss(lambda size, line: size == 64 << 20), rss(lambda size, line: "benchfs shown" in line), rss(lambda *_: True)
    memory = one["memory"]
    print(memory, one["used"], contents, board, process)
    if not (memory["store"] >= 0.9 * contents - (2 << 20) and contents >= 0.8 * memory["store"] - (2 << 20) and abs(memory["board"] - board) <= 1 << 20
            and memory["meta"] >= 2 << 20 and abs(memory["process"] - process) <= 0.1 * process
            and sum(memory[k] for k in ("store", "meta", "board", "rpc", "metrics", "rest")) == memory["process"]):
        sys.exit(1)
END
    done
    return 1
}
ok "by what the system says of them" memory_agrees
ok "the balance is told" json 'd["balance"]["store_bytes"]["max_over_mean"] >= 1 and d["balance"]["partitions"]["in_use"] > 0'
ok "the store's bytes agree with those of the servers" json 'all(one["counters"]["store_used_bytes"] == one["used"] for one in s)'
ok "servers of this host are read from memory" json 'all(one["measured_by"] == "file" for one in s)'
ok "hot inodes are told" json 'len(d["hottest"]) > 0 and any(h["directory"] for h in d["hottest"])'
ok "slow requests have stages" json 'all(r["total_ns"] >= r["handler_ns"] + r["storage_ns"] for r in d["slowest"])'

ok "top shows the servers" shows '^ +1 .* MiB' top
ok "top names the busiest directory" shows 'dir +/data' top --total
for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15; do benchfs cat /data/file.1 >/dev/null; done
ok "top names a file" shows 'file +/data/file.1' top --total

# The means of replies, of which one in 16 is measured where there are no bytes, are of those that were.
replies_agree() {
    benchfs status --json >"$work/.json" && benchfs top --total --operations >"$work/.top" || return
    python3 - "$work/.json" "$work/.top" <<'END'
import json, re, sys
stages = [o for s in json.load(open(sys.argv[1]))["servers"] for o in s["operations"] if o["name"] == "CREATE_FILE" and not o["called"]]
replies = [o["stages"]["reply"] for o in stages if "reply" in o["stages"]]
count = sum(r["count"] for r in replies)
assert 0 < count <= sum(o["count"] for o in stages) / 8, (count, stages)
assert all(0 < r["p50_ns"] <= r["max_ns"] and r["mean_ns"] * 1.1 >= min(r["p50_ns"], 100) for r in replies), replies
mean = sum(r["mean_ns"] * r["count"] for r in replies) / count
line = next(line for line in open(sys.argv[2]) if line.startswith("CREATE_FILE"))
value, unit = re.fullmatch(r"([0-9.]+)(ns|us|ms|s)", line.split()[-1]).groups()
shown = float(value) * {"ns": 1, "us": 1e3, "ms": 1e6, "s": 1e9}[unit]
print(line, mean)
assert abs(shown / mean - 1) < 0.02, (shown, mean)
END
}
benchfs bench md --files 200 --repeats 1 >/dev/null 2>&1
ok "means of replies are of those that were measured" replies_agree
# What the system says of the servers' threads, before and after load.
processor_agrees() {
    python3 - "$@" <<'END'
import json, subprocess, sys
def look():
    told = json.loads(subprocess.run(["benchfs", "status", "--json"], check=True, capture_output=True).stdout)["servers"]
    return [[one["counters"]["processor_ns"], one["counters"]["processor_wait_ns"], *map(int, open(f"/proc/{one['pid']}/schedstat").read().split()[:2])] for one in told]
before = look()
subprocess.run(["benchfs", "bench", "md", "--files", "4000", "--repeats", "1"], check=True, capture_output=True)
for one, other in zip(before, look()):
    run, wait, real_run, real_wait = (b - a for a, b in zip(one, other))
    print(run, real_run, wait, real_wait)
    # It is looked at every 20 ms at most.
    assert real_run > 50e6 and abs(run - real_run) < 40e6 and abs(wait - real_wait) < 40e6 + 0.1 * real_wait
END
}
ok "time on a processor, and waiting for it, is what the system says" processor_agrees
ok "what is told of all time says so" shows 'since the start, [0-9.]+ s$' top --total
ok "and what is told of an interval, too" shows 'every 0[.]1 s$' top
slowest() { "$@" | sed -n '/SLOWEST/,$p' | grep -cE '[0-9]+[.0-9]*[num]?s ' >/dev/null; }
ok "requests are slow for a minute, also while nobody asks" slowest top
ok "top counts operations as clients see them" shows 'WIRE' top --clients
ok "top shows no line wider than 80 columns" [ "$(top | wc -L)" -le 80 ]
ok "a bad interval is refused" fails 2 'interval' benchfs top --interval soon
ok "an argument is refused" fails 2 'unexpected' benchfs top now
# A name that would turn the screen red where it got there as it is, and one that is twice as wide as it is long.
red=$(printf '/\302\233[31mred') wide=/$(printf '\346\227\245%.0s' $(seq 60))
for name in "$red" "$wide"; do
    benchfs cp "$work/file.1" "benchfs:$name" >/dev/null
    for i in 1 2 3 4 5; do benchfs cat "$name" >/dev/null; done
done
names_are_tamed() {
    top --total >"$work/.shown" && python3 -c 'import sys, unicodedata
text = open(sys.argv[1], "rb").read().decode()
print(text)
assert "\u009b" not in text and "/?[31mred" in text and "...\u65e5" in text
assert all(sum(1 + (unicodedata.east_asian_width(letter) in "WF") for letter in line) <= 80 for line in text.split("\n"))' "$work/.shown"
}
ok "names of files do nothing to the terminal, and fit" names_are_tamed
ok "nor does ls" eval '[ "$(script -qec "benchfs ls /" /dev/null | grep -c "^?.31mred")" = 1 ]'
ok "on a terminal: alternate screen, keys, everything put back" python3 "$tests/top_terminal.py" benchfs

pid=$(server_pids | tail -1)
kill -KILL "$pid"
while is_ours "$pid"; do :; done
ok "a server that is down is shown so" shows 'does not answer' top
ok "and told so in JSON" shows '"counters": null' status_down
benchfs stop >/dev/null 2>&1

ok "start without shared memory" benchfs start -n 2 --store mem --set store.capacity=64MiB --set metrics.shared=false
benchfs mkdir /there >/dev/null
ok "servers that share nothing are asked" json 'all(one["measured_by"] == "request" for one in s) and total("CREATE_DIRECTORY") == 1'
ok "and the offset of their clock, which is this one, is within its bound" json 'all(abs(one["clock"]["offset_ns"]) <=
    one["clock"]["error_ns"] for one in s)'
ok "top shows them, too" shows '^ +0 .*\*' top
ok "and what they did" shows 'CREATE_DIRECT' top --total
ok "stop" benchfs stop

# A client of another host: with a network, and so shared memory of transports, of its own.
space=benchfs-$$ near=bfs$$a far=bfs$$b
if ip netns add "$space" 2>/dev/null; then
    trap 'ip netns del "$space" 2>/dev/null; cleanup' EXIT
    if ip link add "$near" type veth peer name "$far" netns "$space" 2>/dev/null && ip addr add 10.231.7.1/30 dev "$near" &&
        ip link set "$near" up && ip -n "$space" addr add 10.231.7.2/30 dev "$far" && ip -n "$space" link set "$far" up; then
        export UCX_NET_DEVICES=$near
        ok "start, to be reached from another host" benchfs start -n 1 --store mem --set store.capacity=64MiB --set server.listen=10.231.7.1:0 --set server.transports=tcp
        ok "a client there" env UCX_NET_DEVICES="$far" ip netns exec "$space" unshare --mount sh -c \
            'mount -t tmpfs none /dev/shm && for i in 1 2 3 4 5; do benchfs cp "$0" "benchfs:/elsewhere.$i" || exit; done' "$work/file.1"
        ok "is told of with what it did" json 'sum(l["bytes"] for l in d["loads"] if l["host"] == "10.231.7.2" and not l["on_this_host"]) in range(50000, 51000)'
        benchfs ls / >/dev/null
        ok "and those of this host are" json 'any(l["on_this_host"] for l in d["loads"])'
        ok "top shows it" shows '^10[.]231[.]7[.]2 +uid 0' top --clients --total
        ok "and how many there are" shows 'client threads [+] [1-9] elsewhere' top --total
        ok "stop" benchfs stop
    fi
fi
finish
