#!/bin/bash
# fsck and scrub: of a running cluster, in use and not; of directories; damage that is found, mended, and gone.
. "$(dirname "$0")/cluster.sh"

export TMPDIR=$work/tmp
mkdir "$TMPDIR" "$work/tree"
store=(--store file --set "store.path=$work/store" --set store.capacity=256MiB)
for i in $(seq 20); do head -c $((i * 9000)) /dev/urandom >"$work/tree/f$i"; done

nothing_left() { [ -z "$(ls -A "$TMPDIR")" ]; }

# ---- usage ----

ok "an unknown option" fails 16 'unknown option' benchfs fsck --nonsense
ok "an argument" fails 16 'unexpected argument' benchfs fsck /
ok "a configuration without directories" fails 16 'for --store' benchfs fsck --set store.capacity=1GiB
ok "no cluster" fails 8 'no cluster file' benchfs fsck
ok "no directory" fails 8 'No such file' benchfs fsck --store "$work/nowhere"
ok "scrub: a rate that is none" fails 2 'is not a size' benchfs scrub --rate fast
ok "scrub: no cluster" fails 1 'no cluster file' benchfs scrub

# ---- in memory ----

benchfs start -n 2 --set store.capacity=64MiB >/dev/null || exit 1
ok "an empty cluster is clean" exits 0 '^1 inodes, 0 names, 0 chunks on 2 servers: clean$' benchfs fsck
benchfs cp -r "$work/tree" benchfs:/a
ok "a used one too" exits 0 '^22 inodes, 21 names, 20 chunks on 2 servers: clean$' benchfs fsck
ok "there is nothing to scrub" exits 0 'nothing to verify on 2 servers' benchfs scrub
benchfs stop >/dev/null

# ---- on disk ----

benchfs start -n 3 "${store[@]}" >/dev/null || exit 1
benchfs cp -r "$work/tree" benchfs:/a
(
    for i in $(seq 15); do
        benchfs cp -r "$work/tree" "benchfs:/busy$i"
        benchfs rm -r "/busy$i"
    done
) &
load=$!
busy() {
    local checks=0
    while kill -0 "$load" 2>/dev/null && [ "$checks" -lt 200 ]; do
        exits 0 ': clean' benchfs fsck || return 1
        checks=$((checks + 1))
    done
    echo "$checks checks"
    [ "$checks" -gt 0 ]
}
ok "a cluster in use is clean, time and again" busy
wait "$load"
ok "scrub verifies all" exits 0 '^server 0: [0-9]* chunks, [0-9]* bytes verified, 0 chunks damaged' benchfs scrub
ok "one file, slowly" exits 0 'server 2: ' benchfs scrub --rate 10MiB /a/f20
ok "scrub: no such file" fails 1 'No such file' benchfs scrub /nowhere
ok "scrub: a directory" fails 1 'Is a directory' benchfs scrub /a
ok "directories in use are left alone" fails 8 'is used by' benchfs fsck --store "$work/store"

# A byte of f20's first chunk, where the engine keeps it.
damage() {
    local inode file
    inode=$(benchfs stat /a/f20 | sed -n 's/.*Inode: *\([0-9]*\).*/\1/p')
    file=$(find "$work/store" -path "*/$inode/0" -type f)
    [ -n "$file" ] || { echo "no chunk of inode $inode"; return 1; }
    printf 'damage' | dd of="$file" bs=1 seek=9000 conv=notrunc status=none
}
ok "a damaged byte" damage
ok "is found" exits 1 '^/a/f20: at byte 8192: 1 damaged block on server' benchfs scrub
ok "in the file, too" exits 1 '^/a/f20: ' benchfs scrub /a/f20
ok "another is well" exits 0 '' benchfs scrub /a/f19
benchfs cp "$work/tree/f20" benchfs:/a/f20
ok "and gone when it is written anew" exits 0 '' benchfs scrub
benchfs stop >/dev/null
ok "the directories are clean" exits 0 '^22 inodes, 21 names, 20 chunks on 3 servers: clean$' benchfs fsck --store "$work/store"
ok "nothing is left of that" nothing_left

# ---- damage: a server's directory of an earlier time ----

cp -a "$work/store/1" "$work/earlier"
benchfs start -n 3 "${store[@]}" >/dev/null || exit 1
for i in $(seq 9); do
    benchfs mkdir "/d$i"
    benchfs cp "$work/tree/f$i" "$work/tree/f1$i" "benchfs:/d$i"
done
benchfs cp -r "$work/tree" benchfs:/later
benchfs rm -r /a
benchfs stop >/dev/null
rm -r "$work/store/1"
mv "$work/earlier" "$work/store/1"
ok "it is found" exits 4 'wrong; --repair mends$' benchfs fsck --store "$work/store"
ok "and nothing is changed" exits 4 'wrong; --repair mends$' benchfs fsck --store "$work/store"
ok "it is mended" exits 1 ' 0 left$' benchfs fsck --store "$work/store" --repair
ok "and clean" exits 0 ': clean$' benchfs fsck --store "$work/store" --repair
ok "nothing is left of that either" nothing_left
benchfs start -n 3 "${store[@]}" >/dev/null || exit 1
ok "what has lost its name is in /lost+found" exits 0 '[0-9]' benchfs ls /lost+found
everything_reads() { benchfs find / -type d >"$work/directories" && benchfs ls -lR / >/dev/null; }
ok "all of it can be listed" everything_reads
ok "it is clean while it runs" exits 0 ': clean$' benchfs fsck
benchfs stop >/dev/null

# ---- without --repair not a byte changes ----

# Everything that can be seen of the directories: names, kinds, times, bytes.
fingerprint() { (cd "$work/left" && find . -printf '%P %y %s %m %T@ %C@\n' | sort && find . -type f -print0 | sort -z | xargs -0 sha256sum); }
unchanged() {
    fingerprint >"$work/before"
    timeout 60 benchfs fsck --store "$work/left" "$@" >"$work/found" 2>&1 || { cat "$work/found"; return 1; }
    fingerprint >"$work/after"
    cmp "$work/before" "$work/after"
    cat "$work/found"
    grep -q '^43 inodes, 42 names, .*: clean$' "$work/found"
}
for engine in file uring pmem rocksdb tiered; do
    rm -rf "$work/left"
    options=(--set store.capacity=64MiB --set store.fast_capacity=8MiB)
    benchfs start -n 2 --store "$engine" --set "store.path=$work/left" --set store.durability=write "${options[@]}" >/dev/null || exit 1
    benchfs cp -r "$work/tree" benchfs:/a
    benchfs cp -r "$work/tree" benchfs:/b
    end_servers
    benchfs stop >/dev/null 2>&1
    ok "$engine: looked at, and left as it was" unchanged "${options[@]}"
    ok "$engine: clean with --repair" exits 0 ': clean$' benchfs fsck --store "$work/left" --repair "${options[@]}"
done
ok "nothing is left of that" nothing_left

# ---- what does not belong together ----

mkdir "$work/part"
cp -a "$work/store/0" "$work/part/0"
ok "a directory that is missing" fails 8 'have to be in one place' benchfs fsck --store "$work/part"
finish
