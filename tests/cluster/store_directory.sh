#!/bin/bash
# Directories of persistent engines that do not fit: each is refused with its reason, word for word, and nothing in it is
# changed. Read-only and full file systems, where this test may mount some.
. "$(dirname "$0")/cluster.sh"

store=$work/store
other=$work/other.json

launch() { benchfs start --store "${engine:-file}" --set store.path="$store" "$@"; }
# refused TEXT COMMAND...: one line, whose reason is the text.
refused() {
    local text=$1
    shift
    if "$@" >"$work/.stdout" 2>"$work/.stderr"; then
        echo "was not refused"
        return 1
    fi
    cat "$work/.stdout" "$work/.stderr"
    [ "$(wc -l <"$work/.stderr")" -eq 1 ] || { echo "not one line"; return 1; }
    [ "$(sed -E 's/^benchfs start: (server .* error benchfsd\[[0-9]*\]: )?//' "$work/.stderr")" = "$text" ] || { echo "expected: $text"; return 1; }
}
# All that the refused server must leave alone.
state() { find "$store" -type f ! -name lock -exec cksum {} + | sort; }
unchanged() { [ "$(state)" = "$before" ] || { diff <(echo "$before") <(state); return 1; }; }
reads() { [ "$(benchfs cat /file)" = "contents" ]; }
mounted() { mount -t tmpfs -o "size=$2" none "$1" 2>/dev/null; }

launch -n 2 >/dev/null || exit 1
echo contents >"$work/file"
benchfs cp "$work/file" benchfs:/file
host=$(uname -n)

# Whose message comes first is open: one of the two directories is named.
in_use() {
    ! env BENCHFS_CLUSTER="$other" benchfs start -n 2 --store file --set store.path="$store" 2>"$work/.stderr" || return 1
    cat "$work/.stderr"
    grep -qE "store directory \"$store/[01]\" is used by process ($(server_pids | paste -sd'|')) on $host: stop that server, or \
set store.path to another directory\$" "$work/.stderr"
}
ok "a directory that is in use names who has it" in_use
ok "the servers that have it go on" reads
benchfs stop >/dev/null
before=$(state)

cluster=$(sed -n 's/^cluster //p' "$store/0/identity")
engine=uring
wrong_engine() {
    ! launch -n 2 2>"$work/.stderr" || return 1
    cat "$work/.stderr"
    grep -qE "store directory \"$store/[01]\" was written by the engine file, not uring: set store.engine to file, or choose \
another store.path\$" "$work/.stderr"
}
ok "a directory of another engine" wrong_engine
engine=file
ok "nothing has changed" unchanged

ok "more servers than it was made with" refused "the store directories do not belong together: that of server 0 on localhost is of \
cluster $cluster, that of server 2 on localhost new: set store.path to the directories of one cluster, or to new ones" launch -n 3
rm -rf "$store/2"
one_server() {
    ! launch -n 1 2>"$work/.stderr" || return 1
    cat "$work/.stderr"
    grep -qF "store directory \"$store/0\" belongs to a cluster of 2 servers, not 1: start as many as it was made with" "$work/.stderr"
}
ok "fewer servers than it was made with" one_server
ok "nothing has changed" unchanged

another_ring() {
    ! launch -n 2 --set cluster.ring=modulo 2>"$work/.stderr" || return 1
    cat "$work/.stderr"
    grep -qE "store directory \"$store/[01]\" was made with cluster.ring consistent and cluster.hash xxhash64, not with modulo and \
xxhash64: by these its server does not own what is in it: set cluster.ring to consistent and cluster.hash to xxhash64, or choose \
another store.path\$" "$work/.stderr"
}
ok "another ring than it was made with" another_ring
ok "nothing has changed" unchanged

mv "$store/1" "$work/part"
ok "one server's directory is missing" refused "the store directories do not belong together: that of server 0 on localhost is of \
cluster $cluster, that of server 1 on localhost new: set store.path to the directories of one cluster, or to new ones" launch -n 2
rm -rf "$store/1"

cp -r "$work/part" "$store/1"
sed -i 's/^cluster ..../cluster 0000/' "$store/1/identity"
ok "a damaged identity" refused "store directory \"$store/1\": the file \"identity\" is damaged" launch -n 2
rm -rf "$store/1"

store=$work/second
env BENCHFS_CLUSTER="$other" benchfs start -n 2 --store file --set store.path="$store" >/dev/null
env BENCHFS_CLUSTER="$other" benchfs stop >/dev/null
foreign=$(sed -n 's/^cluster //p' "$store/1/identity")
store=$work/store
cp -r "$work/second/1" "$store/1"
ok "one server's directory is another cluster's" refused "the store directories do not belong together: that of server 0 on \
localhost is of cluster $cluster, that of server 1 on localhost of cluster $foreign: set store.path to the directories of one \
cluster, or to new ones" launch -n 2
rm -rf "$store/1"
mv "$work/part" "$store/1"

mv "$store/0" "$work/zero"
mv "$store/1" "$store/0"
mv "$work/zero" "$store/1"
exchanged() {
    ! launch -n 2 2>"$work/.stderr" || return 1
    cat "$work/.stderr"
    grep -qE "store directory \"$store/[01]\" belongs to server [01] of this cluster, not to server [01]: give each server its own\$" \
        "$work/.stderr"
}
ok "the servers' directories are exchanged" exchanged
mv "$store/0" "$work/zero"
mv "$store/1" "$store/0"
mv "$work/zero" "$store/1"

cp "$store/0/identity" "$work/identity"
sed -i '1s/.*/benchfs store 3/' "$store/0/identity"
ok "a format of another version" refused "store directory \"$store/0\" has a format of another version than this program's, 1 \
and 2: use the program that made it, or choose another store.path" launch -n 2
rm "$store/0/identity"
ok "somebody's files and no identity" refused "store directory \"$store/0\" has no identity but is not empty: if nothing in it is \
needed, empty it, or choose another store.path" launch -n 2
cp "$work/identity" "$store/0/identity"
ok "nothing has changed" unchanged

again() { launch -n 2 >/dev/null && reads && benchfs stop; }
ok "with what belongs to it, it starts" again

# ---- a first start that comes to no end ----

store=$work/third
mkdir "$store"
touch "$store/1"
ok "a plain file for a directory" refused "cannot use store directory \"$store/1\": Not a directory: set store.path to a directory \
that this user can write" launch -n 2
rm "$store/1"
ok "what that start left does not keep the next one away" launch -n 2
benchfs stop >/dev/null

# ---- file systems ----

mkdir "$work/mounted"
if mounted "$work/mounted" 64m; then
    store=$work/mounted/store
    mount -o remount,ro "$work/mounted"
    ok "a read-only file system" refused "cannot use store directory \"$store\": Read-only file system: set store.path to a \
directory that this user can write" launch -n 1
    mount -o remount,rw "$work/mounted"
    for engine in file uring rocksdb; do
        launch -n 1 --set store.capacity=1GiB >/dev/null
        benchfs cp "$work/file" benchfs:/file
        head -c 100M /dev/zero | tr '\0' x >"$work/large"
        ok "$engine: a full device says so" fails 1 'No space left on device' benchfs cp "$work/large" benchfs:/large
        benchfs rm -f /large 2>/dev/null
        ok "$engine: what was there can be read" reads
        room_again() { # rocksdb has to compact first
            for i in $(seq 200); do
                benchfs cp "$work/file" benchfs:/other 2>/dev/null && return
                [ "$engine" = rocksdb ] || return 1
            done
            return 1
        }
        ok "$engine: and there is room again" room_again
        ok "$engine: it ends in good order" benchfs stop
        restarts() { launch -n 1 --set store.capacity=1GiB >/dev/null && reads; }
        ok "$engine: and starts again" restarts
        benchfs stop >/dev/null
        rm -rf "$store"
    done

    # Somebody else fills it: the journal's reserve is left.
    engine=file
    small=(--set store.capacity=1GiB --set store.journal_limit=1MiB)
    mkdir "$work/many"
    for i in $(seq 1500); do head -c 300 /dev/zero >"$work/many/$i"; done
    launch -n 1 "${small[@]}" >/dev/null
    benchfs cp "$work/file" benchfs:/file
    benchfs cp -r "$work/many" benchfs:/many
    head -c 100M /dev/zero >"$work/mounted/hog" 2>/dev/null
    until_full() {
        for i in $(seq 50); do
            if ! benchfs cp -r "$work/many" "benchfs:/more$i" 2>"$work/.stderr"; then
                cat "$work/.stderr"
                grep -q 'No space left on device' "$work/.stderr"
                return
            fi
        done
        return 1
    }
    ok "a device without room for the journal says so" until_full
    ok "what was there can be read" reads
    ok "files can be removed" benchfs rm -r /many
    rm "$work/mounted/hog"
    goes_on() {
        for i in $(seq 100); do
            benchfs mkdir "/again$i" 2>/dev/null && benchfs cp "$work/file" benchfs:/again && return
        done
        return 1
    }
    ok "with room it goes on" goes_on
    ok "ends in good order" benchfs stop
    restarts() { launch -n 1 "${small[@]}" >/dev/null && reads && ! benchfs stat /many 2>/dev/null && benchfs stat /again; }
    ok "and starts again with what is left" restarts
    ok "all of which is right" benchfs fsck
    benchfs stop >/dev/null
    umount "$work/mounted"
else
    number=$((number + 1))
    echo "ok $number - file systems of this test's own # SKIP mounting is not allowed here"
fi

engine=file
store=$work/fourth
launch -n 1 --set store.capacity=4MiB >/dev/null
head -c 6M /dev/zero | tr '\0' x >"$work/large"
ok "beyond store.capacity" fails 1 'No space left on device' benchfs cp "$work/large" benchfs:/large
benchfs rm -f /large 2>/dev/null
ok "a file that fits then fits" benchfs cp "$work/file" benchfs:/file
ok "and is there" reads
finish
