#!/bin/bash
# Clients on another host than the servers: two network namespaces with a link between them. What a killed client held is free at once;
# what a client held that is cut off for a moment stays its own.
. "$(dirname "$0")/cluster.sh"
library=$(realpath "$1/../preload/libbenchfs_preload.so")

[ "$(id -u)" -eq 0 ] && command -v ip >/dev/null || {
    echo "1..0 # SKIP network namespaces need root and ip"
    exit 0
}
servers=benchfs-servers-$$ clients=benchfs-clients-$$
unlink_hosts() {
    local status=$? process
    trap '' INT TERM
    for process in $(ip netns pids "$servers" 2>/dev/null) $(ip netns pids "$clients" 2>/dev/null); do
        kill -KILL "$process" 2>/dev/null
    done
    ip netns delete "$servers" 2>/dev/null
    ip netns delete "$clients" 2>/dev/null
    (exit "$status")
    cleanup
}
trap unlink_hosts EXIT
if ! { ip netns add "$servers" && ip netns add "$clients" &&
    ip link add bfs0 netns "$servers" type veth peer name bfs0 netns "$clients" &&
    ip -n "$servers" address add 10.213.0.1/24 dev bfs0 && ip -n "$clients" address add 10.213.0.2/24 dev bfs0 &&
    ip -n "$servers" link set lo up && ip -n "$clients" link set lo up &&
    ip -n "$servers" link set bfs0 up && ip -n "$clients" link set bfs0 up; } 2>"$work/.output"; then
    echo "1..0 # SKIP network namespaces cannot be made here: $(head -1 "$work/.output")"
    exit 0
fi
# The kernel takes a moment to see that both ends are there, and UCX takes no device that is not up.
for ((tries = 0; tries < 200; tries++)); do
    [ "$(ip -n "$servers" link show bfs0 | grep -c 'state UP')$(ip -n "$clients" link show bfs0 | grep -c 'state UP')" = 11 ] && break
    sleep 0.05
done
client() { ip netns exec "$clients" "$@"; }

mkdir "$work/bin" "$work/remote"
cat >"$work/bin/ssh" <<'DOUBLE'
#!/bin/sh
# ssh [-T] [-o OPTION]... HOST COMMAND
while [ "$1" = -T ] || [ "$1" = -o ]; do
    [ "$1" = -T ] && shift || shift 2
done
exec 3<&0 # a command in the background would read nothing
ip netns exec "$SERVERS" sh -c "$2" <&3 3<&- &
wait
DOUBLE
chmod +x "$work/bin/ssh"
export SERVERS=$servers TMPDIR=$work/remote
PATH=$work/bin:$PATH

# holder NAME: a program that holds a lock and a file without a name, says "held" and waits for a line; then it unlocks and says so.
cat >"$work/holder.py" <<'PYTHON'
import fcntl, os, sys

lock = open("/benchfs/lock", "a")
fcntl.flock(lock, fcntl.LOCK_EX)
gone = open("/benchfs/gone", "wb")
gone.write(bytes(1 << 20))
gone.flush()
os.unlink("/benchfs/gone")
print("held", flush=True)
sys.stdin.readline()
fcntl.flock(lock, fcntl.LOCK_UN)
print("unlocked", flush=True)
PYTHON
# Waits for the lock for so many seconds at most.
cat >"$work/waiter.py" <<'PYTHON'
import fcntl, signal, sys

signal.alarm(int(sys.argv[1]))
with open("/benchfs/lock", "a") as lock:
    fcntl.flock(lock, fcntl.LOCK_EX)
PYTHON

holder=
hold() {
    local line
    coproc HOLDER { exec ip netns exec "$clients" env LD_PRELOAD="$library" python3 "$work/holder.py"; }
    holder=$HOLDER_PID
    read -r -t 30 line <&"${HOLDER[0]}" && [ "$line" = held ]
}
end_of_holder() {
    echo >&"${HOLDER[1]}"
    local line
    read -r -t 30 line <&"${HOLDER[0]}" && [ "$line" = unlocked ]
    wait "$holder"
}
wait_for_lock() { client env LD_PRELOAD="$library" python3 "$work/waiter.py" "$1"; }
is_locked() { ! wait_for_lock 1; }
used() { client benchfs status --json | sed -n 's/.*"used": \([0-9]*\).*/\1/p' | paste -sd+ | bc; }
empties() {
    local tries
    for tries in $(seq 100); do
        [ "$(used)" = 0 ] && return 0
    done
    echo "still $(used) bytes"
    return 1
}
cut_off() {
    ip -n "$servers" link set bfs0 down
    sleep 3 # longer than a server believes in a client that may have died
    ip -n "$servers" link set bfs0 up
    is_locked
}

printf '10.213.0.1 slots=2\n' >"$work/hosts"
ok "start" client benchfs start --hosts "$work/hosts" --set server.transports=tcp,self --set server.devices=bfs0 --set store.capacity=64MiB
ok "a client holds a lock and a file without a name" hold
ok "nobody else gets the lock" is_locked
kill -KILL "$holder"
ok "when it is killed the lock is free" within 5 wait_for_lock 20
ok "and the file's space" within 10 empties
wait "$holder" 2>/dev/null
ok "another one" hold
ok "a client that is cut off keeps its lock" cut_off
ok "and gives it back" end_of_holder
ok "then it is free" within 5 wait_for_lock 20
ok "stop" client benchfs stop
finish
