#!/bin/bash
# start, status and stop: a cluster's life, what is left of it, and what is refused.
. "$(dirname "$0")/cluster.sh"

json() { # FIELD: its values, one a line
    benchfs status --json | sed -n "s/.*\"$1\": \"\\{0,1\\}\\([^\",]*\\)\"\\{0,1\\},\\{0,1\\}\$/\\1/p"
}

same() { [ "$1" = "$2" ] || { echo "\"$1\" is not \"$2\""; return 1; }; }
not() { ! "$@"; }
gone() { for pid in $1; do ! is_ours "$pid" || { echo "$pid runs"; return 1; }; done; }
nothing_left() { same "$(ls -A "$work" | grep -v '^\.\(output\|stdout\|stderr\)$')" "$1"; }

ok "status without a cluster says how to start one" fails 1 'benchfs start' benchfs status
ok "ls without a cluster says how to start one" fails 1 'benchfs start' benchfs ls /
ok "stop without a cluster says so" fails 1 'no cluster file' benchfs stop

ok "start" benchfs start -n 3 --store mem --set store.capacity=4MiB
pids=$(server_pids)
ok "three servers with a process each" same "$(echo "$pids" | wc -w)" 3
ok "cluster file and key are private" same "$(stat -c %a "$BENCHFS_CLUSTER" "$BENCHFS_CLUSTER.key" | tr '\n' ' ')" "600 600 "
ok "status exits with 0" benchfs status
ok "status names all servers up" same "$(json state | tr '\n' ' ')" "up up up "
ok "status names their processes" same "$(json pid)" "$pids"
ok "status names capacity" same "$(json capacity | sort -u)" 4194304
ok "the root can be listed" benchfs ls -l /
ok "a second start is refused and names the processes" fails 1 "pid $(echo $pids | cut -d' ' -f2)" benchfs start
ok "the first cluster is not disturbed" same "$(json pid)" "$pids"

BENCHFS_SERVERS=$(sed -n 's/.*"address": "\(.*\)".*/\1/p' "$BENCHFS_CLUSTER" | paste -sd,)
ok "BENCHFS_SERVERS and BENCHFS_KEY find it too" env BENCHFS_CLUSTER=/nowhere BENCHFS_SERVERS="$BENCHFS_SERVERS" \
    BENCHFS_KEY="$BENCHFS_CLUSTER.key" benchfs status
ok "BENCHFS_SERVERS without BENCHFS_KEY is explained" fails 1 BENCHFS_KEY \
    env BENCHFS_SERVERS="$BENCHFS_SERVERS" benchfs ls /
unset BENCHFS_SERVERS

cp "$BENCHFS_CLUSTER.key" "$work/key"
head -c 32 /dev/urandom >"$BENCHFS_CLUSTER.key"
ok "a wrong key is refused in plain words" fails 1 'key' benchfs ls /
ok "status with a wrong key exits with 1" not benchfs status
chmod 644 "$BENCHFS_CLUSTER.key"
ok "a key that others can read is refused" fails 1 'chmod 600' benchfs ls /
chmod 600 "$BENCHFS_CLUSTER.key"
cp "$work/key" "$BENCHFS_CLUSTER.key"
rm "$work/key"

ok "stop" benchfs stop
ok "its processes have ended" gone "$pids"
ok "nothing is left" nothing_left ""

# ---- rings ----

ok "a hash that cannot be on a ring is refused" fails 2 'choose another hash' benchfs start --set cluster.hash=koyama
ok "so is a ring that nobody knows" fails 2 'consistent|bounded|rendezvous' benchfs start --set cluster.ring=star
mkdir "$work/store"
ok "start with another ring" benchfs start -n 3 --store file --set store.path="$work/store" --set cluster.ring=modulo \
    --set cluster.hash=koyama
ok "the cluster file names it" grep -q '"ring": "modulo"' "$BENCHFS_CLUSTER"
for i in 1 2 3 4 5 6 7 8; do
    echo "$i" >"$work/file"
    benchfs cp "$work/file" "benchfs:/file.$i"
done
contents() { for i in 1 2 3 4 5 6 7 8; do [ "$(benchfs cat "/file.$i")" = "$i" ] || return 1; done; }
ok "its files can be read" contents
benchfs stop >/dev/null
ok "a check starts its servers with that ring" benchfs fsck --store "$work/store"
ok "start again with that ring" benchfs start -n 3 --store file --set store.path="$work/store" --set cluster.ring=modulo \
    --set cluster.hash=koyama
ok "its files are still there" contents
benchfs stop >/dev/null
rm -rf "$work/store" "$work/file"

# ---- a dead cluster ----

benchfs start -n 2 --set store.capacity=3MiB --set cluster.chunk_size=128KiB >/dev/null
first=$(server_pids)
end_servers
for pid in $first; do
    while is_ours "$pid"; do :; done
done
ok "status of a dead cluster exits with 1" not benchfs status
ok "all its servers are down" same "$(json state | tr '\n' ' ')" "down down "
ok "an operation on it fails at once" within 3 fails 1 'benchfs ls: ' benchfs ls /
revive() { benchfs start 2>&1 | grep 'has died: starting anew'; }
ok "start on its file says so" revive
ok "it runs again with as many servers" same "$(json state | tr '\n' ' ')" "up up "
ok "and with the same configuration" same "$(json capacity | sort -u)" 3145728

pid=$(server_pids | head -1)
kill -STOP "$pid"
stop_hanging() { within 20 benchfs stop && gone "$pid"; }
ok "stop insists where a server does not listen" stop_hanging
ok "its logs are kept" nothing_left cluster.json.d
rm -r "$BENCHFS_CLUSTER.d"

# ---- what start refuses ----

ok "unknown engine" fails 2 'engine' benchfs start --store paper
ok "unknown option of the configuration" fails 2 'unknown key' benchfs start --set store.size=1
printf '[store]\nsize = 1\n' >"$work/bad.toml"
ok "an error in the file names file and line" fails 1 "bad.toml:2" benchfs start -c "$work/bad.toml"
ok "no such file" fails 1 "missing.toml" benchfs start -c "$work/missing.toml"
ok "no servers" fails 2 '1 to 1024' benchfs start -n 0
ok "an argument too many" fails 2 'unexpected argument' benchfs start now
echo 'bad;host' >"$work/hosts"
ok "a host name that is none" fails 1 'hosts:1' benchfs start --hosts "$work/hosts"
echo '{"version": 1}' >"$work/cluster.json"
chmod 600 "$work/cluster.json"
ok "a cluster file that is none" fails 1 'cluster.json' benchfs start
rm "$work"/{bad.toml,hosts,cluster.json}
ok "a server that cannot start is reported" fails 1 'server 0 .* did not start' \
    benchfs start --set server.listen=300.1.2.3:0
rm -rf "$BENCHFS_CLUSTER.d"
ok "nothing is left of all that" nothing_left ""

printf 'localhost slots=2 # both here\n\n' >"$work/hosts"
ok "hosts file with two servers here" benchfs start --hosts "$work/hosts"
ok "both are up" same "$(json state | tr '\n' ' ')" "up up "
ok "stop again" benchfs stop
finish
