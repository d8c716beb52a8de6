#!/bin/bash
# The engine tiered: what it counts is in the status, and pins last as long as their files.
. "$(dirname "$0")/cluster.sh"

launch() {
    benchfs start -n 2 --store tiered --set store.slow=file --set "store.path=$work/store" --set store.capacity=64MiB \
        --set store.fast_capacity=8MiB --set store.durability=write >/dev/null
}
launch || exit 1
head -c 3M /dev/urandom >"$work/file"

# count NAME: the sum over the servers
count() { benchfs status --json | sed -n "s/.*\"tier_$1\": \([0-9]*\).*/\1/p" | paste -sd+ | bc; }
same() { benchfs cat "$1" | cmp - "$work/file"; }
until_true() {
    for i in $(seq 200); do
        "$@" && return
        benchfs status >/dev/null
    done
    return 1
}
prints() { [ "$("${@:2}")" = "$1" ] || { "${@:2}"; return 1; }; }
status_has() { benchfs status | grep -cE "^ID +FAST +HITS +MISSES +PROMOTIONS +DEMOTIONS +SPILLS +WRITE-BACKS$" >/dev/null; }
at_least() { [ "$(count "$1")" -ge "$2" ]; }
exactly() { [ "$(count "$1")" -eq "$2" ]; }

benchfs cp "$work/file" benchfs:/any
ok "new files are in the fast engine" at_least used 3145728
ok "and are read from there" same /any
ok "which is counted" at_least hits 1
ok "status shows it" status_has
ok "a file that is not pinned" prints "any	/any" benchfs pin /any
ok "goes to the slow engine when it is pinned there" benchfs pin --slow /any
ok "all of it" until_true exactly used 0
ok "is read from there" same /any
ok "and says so" prints "slow	/any" benchfs pin /any
before=$(count promotions)
read_often() { for i in 1 2 3 4; do same /any || return 1; done; }
ok "however often" read_often
ok "and not brought back" exactly promotions "$before"
: >"$work/empty"
ok "a pinned empty file" benchfs cp "$work/empty" benchfs:/new
benchfs pin --slow /new
benchfs cp "$work/file" benchfs:/new
ok "takes what is written later" exactly used 0
benchfs mkdir /d
ok "directories are refused" fails 1 'only regular files can be pinned' benchfs pin --fast /d
ok "two tiers" fails 2 'only one of' benchfs pin --fast --slow /any
ok "no such file" fails 1 'No such file' benchfs pin --fast /nowhere
ok "and no file" fails 2 'no file given' benchfs pin --fast
benchfs pin --fast /new
ok "a file that is pinned to the fast engine is brought there" until_true at_least used 3145728

# ---- they last: after kill -9, after a regular end (from a snapshot) ----

pins() { printf 'slow\t/any\nfast\t/new\n'; }
lasts() {
    before=$(count promotions)
    prints "$(pins)" benchfs pin /any /new || return 1
    same /any && same /any && same /any || return 1
    [ "$(count promotions)" -eq "$before" ] || { echo "brought up"; return 1; }
    same /new && until_true at_least used 3145728
}
end_servers
benchfs stop >/dev/null 2>&1
launch || exit 1
ok "after a crash" lasts
benchfs stop >/dev/null
launch || exit 1
ok "after a start from a snapshot" lasts
benchfs pin --any /any
for i in 1 2 3; do benchfs cat /any >/dev/null; done
ok "a file that is no longer pinned comes up again" until_true at_least used 6000000
benchfs rm /any /new
ok "removed files leave nothing there" until_true exactly used 0
ok "all is well" benchfs fsck
benchfs stop >/dev/null
finish
