#!/bin/bash
# What users see when the store is full and when a server dies.
. "$(dirname "$0")/cluster.sh"

same() { [ "$1" = "$2" ] || { echo "\"$1\" is not \"$2\""; return 1; }; }
not() { ! "$@"; }
used() { echo $(($(benchfs status --json | sed -n 's/.*"used": \([0-9]*\).*/\1/p' | paste -sd+))); }

# ---- a full store ----

benchfs start -n 2 --set store.capacity=2MiB --set cluster.chunk_size=64KiB >/dev/null || exit 1
head -c 1500000 /dev/urandom >"$work/fits"
head -c 8000000 /dev/urandom >"$work/large"
ok "a file that fits" benchfs cp "$work/fits" benchfs:/fits
before=$(used)
ok "one that does not is refused" fails 1 'No space left on device' benchfs cp "$work/large" benchfs:/large
ok "nothing is left under its name" not benchfs stat /large
ok "nor in the store" same "$(used)" "$before"
ok "what was there is unharmed" cmp <(benchfs cat /fits) "$work/fits"
mkdir "$work/tree"
cp "$work/large" "$work/tree/b"
echo small >"$work/tree/c"
ok "in a tree only the file that does not fit is missing" fails 1 '/tree/b.*No space left' \
    benchfs cp -r "$work/tree" benchfs:/tree
ok "the other is there" same "$(benchfs ls /tree | tr '\n' ' ')" "c "
ok "a full store still lets files go" benchfs rm -r /tree /fits
ok "and is empty then" same "$(used)" 0
mkdir "$work/small"
if mount -t tmpfs -o size=1m none "$work/small" 2>/dev/null; then
    trap 'umount "$work/small"; cleanup' EXIT
    benchfs cp "$work/fits" benchfs:/fits
    ok "a full local disk" fails 1 'No space left on device' benchfs cp benchfs:/fits "$work/small/fits"
    ok "nothing is left there" not test -e "$work/small/fits"
    umount "$work/small"
    trap cleanup EXIT
fi
benchfs stop >/dev/null

# ---- a server that dies ----

benchfs start -n 2 --set client.deadline=3s --set rpc.deadline=3s --set cluster.chunk_size=64KiB \
    --set store.capacity=64MiB >/dev/null || exit 1
rm "$work/tree/b"
for i in $(seq 40); do echo "$i" >"$work/tree/file-$i"; done
benchfs cp -r "$work/tree" benchfs:/tree
benchfs cp "$work"/tree/* benchfs:/
server_of() { benchfs stat "$1" | sed -n 's/.*Server: //p'; }
for i in $(seq 10); do server_of "/file-$i"; done >"$work/servers"
# Not the one that has the root: without it no path can be walked.
root=$(benchfs stat / | sed -n 's/.*Server: //p')
victim=$(server_pids | sed -n "$((2 - root))p")
kill -KILL "$victim"
ok "status exits with 1" not benchfs status
states() { benchfs status --json | sed -n 's/.*"state": "\(.*\)".*/\1/p' | tr '\n' ' '; }
ok "status shows which one is down" same "$(states)" "$([ "$root" = 0 ] && echo "up down " || echo "down up ")"
ok "listing fails in time" within 6 fails 1 'cannot list' benchfs ls /
within_reads() {
    local begin=$SECONDS
    reads && [ $((SECONDS - begin)) -le 10 ]
}
reads() {
    local i text server
    for i in $(seq 10); do
        server=$(sed -n "${i}p" "$work/servers")
        if text=$(benchfs cat "/file-$i"); then
            [ "$text" = "$i" ] || { echo "file-$i reads \"$text\""; return 1; }
        elif [ "$server" = "$root" ]; then
            echo "file-$i is on a server that lives but cannot be read"
            return 1
        fi
    done
}
ok "what is on the other server can be read; the rest fails in time" within_reads
ok "copying out reports and ends" within 30 not benchfs cp -r benchfs:/ "$work/out"
ok "stop ends what is left" benchfs stop
ok "no process is left" not is_ours "$(echo "$victim")"

# ---- a server that dies under load ----

benchfs start -n 1 --set client.deadline=3s --set rpc.deadline=3s --set store.capacity=1GiB >/dev/null || exit 1
head -c 200000000 /dev/zero >"$work/huge"
benchfs cp "$work/huge" benchfs:/huge >"$work/cp.log" 2>&1 &
copy=$!
while [ "$(benchfs status --json | sed -n 's/.*"requests": \([0-9]*\).*/\1/p')" -lt 20 ]; do
    kill -0 "$copy" 2>/dev/null || break
done
kill -KILL "$(server_pids)"
begin=$SECONDS
wait "$copy"
status=$?
ok "a copy under way ends" test $((SECONDS - begin)) -le 10
ok "and says that it failed" test "$status" -eq 1 -o "$status" -eq 0
ok "in words" test "$status" -eq 0 -o -s "$work/cp.log"
finish
