#!/bin/bash
# The engine tiered with one persistent engine over another, each in a directory of its own: what lies where after kill -9, what is
# refused, what fsck and scrub say.
. "$(dirname "$0")/cluster.sh"

options=(--set store.fast=uring --set store.slow=file --set store.capacity=64MiB --set store.fast_capacity=8MiB --set store.durability=write)
both=(--set "store.path=$work/slow" --set "store.fast_path=$work/fast")
launch() { benchfs start -n 1 --store tiered "${options[@]}" "$@" >/dev/null; }
launch "${both[@]}" || exit 1
head -c 3M /dev/urandom >"$work/file"

count() { benchfs status --json | sed -n "s/.*\"tier_$1\": \([0-9]*\).*/\1/p"; }
same() { benchfs cat "$1" | cmp - "$work/file"; }
until_used() {
    for i in $(seq 500); do
        [ "$(count used)" -eq "$1" ] && return
        benchfs status >/dev/null
    done
    count used
    return 1
}
chunk_files() { find "$work/slow/0/chunks" -type f | wc -l; }
crash() {
    end_servers
    benchfs stop >/dev/null 2>&1
    launch "${both[@]}"
}

benchfs cp "$work/file" benchfs:/a
ok "new files are in the fast engine" until_used 3145728
ok "and nowhere else" [ "$(chunk_files)" -eq 0 ]
ok "which has its files in its directory" [ -e "$work/fast/0/segment-0" ]
ok "the journal has not" [ ! -e "$work/fast/0/journal-1" ]
crash
ok "after kill -9 they are there" same /a
ok "in the fast engine" until_used 3145728
ok "pinned to the slow one" benchfs pin --slow /a
ok "they go down" until_used 0
ok "into files" [ "$(chunk_files)" -gt 0 ]
crash
ok "and are there after kill -9" same /a
benchfs cp "$work/file" benchfs:/b
ok "a check of it all" exits 0 ': clean$' benchfs fsck
ok "and of all blocks" exits 0 '6[0-9]* bytes verified, 0 chunks damaged' benchfs scrub
benchfs stop >/dev/null

ok "a start that is not told of the fast directory" fails 1 'tiered:uring:file:apart, not tiered:uring:file' launch --set "store.path=$work/slow"
ok "or of another" fails 1 'is in use, and what its upper engine has is elsewhere' launch --set "store.path=$work/slow" --set "store.fast_path=$work/other"
ok "the fast directory alone" fails 1 'is in use, but .* is not: they belong together' launch --set "store.path=$work/new" --set "store.fast_path=$work/fast"
ok "a fast engine that does not last" fails 1 'was written by the engine tiered:uring:file:apart, not tiered:file' benchfs start -n 1 --store tiered "${options[@]}" --set store.fast=mem "${both[@]}"
ok "fsck asks for the fast directory" fails 8 'set store.fast_path=' benchfs fsck --store "$work/slow"
ok "and then finds all well" exits 0 ': clean$' benchfs fsck --store "$work/slow" --set "store.fast_path=$work/fast" --set store.fast_capacity=8MiB
ok "an engine over itself in one directory" fails 1 'did not start' launch --set store.fast=file --set "store.path=$work/same"
launch --set store.fast=file --set "store.path=$work/below" --set "store.fast_path=$work/above" || exit 1
benchfs cp "$work/file" benchfs:/a
ok "but in two it is not" until_used 3145728
benchfs stop >/dev/null
launch --set store.fast=file --set "store.path=$work/below" --set "store.fast_path=$work/above" || exit 1
ok "and its files are there" same /a
benchfs stop >/dev/null

# ---- damage above ----

launch "${both[@]}" || exit 1
ok "before the damage" same /b
benchfs stop >/dev/null
place=$(LC_ALL=C grep -obUaP -m1 "$(head -c 8 "$work/file" | od -An -tx1 -v | sed 's/ /\\x/g' | tr -d '\n')" "$work/fast/0/segment-0" | head -1 | cut -d: -f1)
printf 'damage' | dd of="$work/fast/0/segment-0" bs=1 seek="$((place + 100))" conv=notrunc status=none
launch "${both[@]}" || exit 1
ok "a damaged block of the fast engine is found" exits 1 '/b: .*1 damaged block' benchfs scrub
benchfs rm /a /b
ok "removed files leave nothing there" until_used 0
ok "nor below" [ "$(benchfs status --json | sed -n 's/.*"used": \([0-9]*\),.*/\1/p' | head -1)" -eq 0 ]
benchfs stop >/dev/null
finish
