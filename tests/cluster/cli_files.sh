#!/bin/bash
# The file verbs on a tree with everything that is awkward, compared with the system's own tools.
. "$(dirname "$0")/cluster.sh"

same() { [ "$1" = "$2" ] || { echo "\"$1\" is not \"$2\""; return 1; }; }
not() { ! "$@"; }

make_tree() {
    mkdir -p "$1"/{empty,deep/a/b/c/d,modes}
    : >"$1/nothing"
    printf 'x' >"$1/one"
    head -c 3901 /dev/urandom >"$1/small"
    head -c 4096 /dev/urandom >"$1/page"
    head -c 4097 /dev/urandom >"$1/page+1"
    head -c 65536 /dev/urandom >"$1/chunk"
    head -c 9999999 /dev/urandom >"$1/deep/large"
    truncate -s 5M "$1/sparse"
    printf 'end' >>"$1/sparse"
    echo leaf >"$1/deep/a/b/c/d/leaf.h"
    local i
    for i in $(seq 300); do echo "$i" >"$1/deep/a/file-$i.txt"; done
    echo odd >"$1/a name with  spaces"
    echo odd >"$1/-dash"
    echo odd >"$1/üñí*?[x]\"'\\"
    echo odd >"$1/$(printf 'new\nline')"
    echo odd >"$1/.hidden"
    echo odd >"$1/$(printf '%0255d' 7)"
    ln -s nothing "$1/link"
    ln -s /does/not/exist "$1/dangling"
    ln -s ../deep "$1/modes/directory-link"
    for i in 400 444 600 640 755 711; do echo "$i" >"$1/modes/$i"; chmod "$i" "$1/modes/$i"; done
    chmod 750 "$1/deep"
    touch -d '2001-02-03 04:05:06.789012345' "$1/one"
    touch -d '1969-12-31 23:00:00.5' "$1/small"
    touch -h -d '2010-01-01 00:00:00' "$1/link"
    touch -d '2003-03-03 03:03:03' "$1/deep/a" "$1/deep"
}

# Type, mode, time and target of everything below a directory.
describe() {
    (cd "$1" && find . -mindepth 1 -printf '%y %m %T@ %l %p\0' | sort -z | tr '\0' '\n')
}

make_tree "$work/tree"
benchfs start -n 2 --set client.deadline=5s --set cluster.chunk_size=64KiB >/dev/null || exit 1

# ---- cp ----

ok "cp -r in" benchfs cp -r "$work/tree" benchfs:/tree
ok "cp -r out" benchfs cp -r benchfs:/tree "$work/out"
ok "contents are the same" diff -r --no-dereference "$work/tree" "$work/out"
ok "types, modes, times and targets are the same" diff <(describe "$work/tree") <(describe "$work/out")
ok "cp within" benchfs cp -r benchfs:/tree benchfs:/copy
ok "cp into an existing directory" benchfs cp -r benchfs:/copy "$work/out"
ok "it went below it" diff -r --no-dereference "$work/tree" "$work/out/copy"
ok "cp over what is there" benchfs cp -r benchfs:/copy "$work/out"
ok "several files into a directory" benchfs cp "$work/tree/one" "$work/tree/page" benchfs:/copy/empty
ok "they are there" same "$(benchfs ls /copy/empty | tr '\n' ' ')" "one page "
ok "a large file by another name" benchfs cp benchfs:/tree/deep/large "$work/large"
ok "it is the same" cmp "$work/tree/deep/large" "$work/large"
ok "a link on the command line is followed" benchfs cp "$work/tree/link" benchfs:/followed
ok "its contents came" same "$(benchfs stat /followed | sed -n 's/.*Type: //p')" "regular file"
ok "cp without -r refuses a directory" fails 1 'use -r' benchfs cp "$work/tree" benchfs:/x
ok "cp of nothing" fails 1 'No such file' benchfs cp "$work/missing" benchfs:/x
ok "cp to where no directory is" fails 1 'No such file' benchfs cp "$work/tree/one" benchfs:/no/where
ok "cp of a directory into itself" fails 1 'into itself' benchfs cp -r benchfs:/copy benchfs:/copy/deep/copy
ok "cp of a file onto itself" fails 1 'same file' benchfs cp benchfs:/copy/one benchfs:/copy/one
mkdir "$work/pipes"
mkfifo "$work/pipes/pipe"
echo also >"$work/pipes/file"
ok "a pipe is reported" fails 1 'pipe' benchfs cp -r "$work/pipes" benchfs:/pipes
ok "and the rest is copied" same "$(benchfs cat /pipes/file)" also
ok "cp between local files is not our business" fails 2 'neither side' benchfs cp "$work/tree/one" "$work/y"
ok "cp from a file that cannot be opened" fails 1 'cannot' benchfs cp benchfs:/missing "$work/y"
ok "leaves nothing there" not test -e "$work/y"

if command -v script >/dev/null; then
    truncate -s 800M "$work/zeros"
    ok "a terminal sees progress" script -qec "benchfs cp $work/zeros benchfs:/shown" "$work/terminal"
    ok "as a bar with what was done" grep -q '#.*files,.*MB/s' "$work/terminal"
    ok "which is gone at the end" \
        same "$(tr '\r' '\n' <"$work/terminal" | grep $'\033\\[K' | tail -n 1)" $'\033[K'
    benchfs rm /shown
    rm "$work/zeros"
fi
benchfs cp -r "$work/tree" benchfs:/quiet 2>"$work/quiet"
ok "a file sees none" not test -s "$work/quiet"
benchfs rm -r /quiet

# ---- cat, ls, stat ----

ok "cat of small, large and empty" bash -c 'benchfs cat /tree/small /tree/deep/large /tree/nothing |
    cmp - <(cat "$1"/tree/small "$1"/tree/deep/large)' - "$work"
ok "cat of a directory" fails 1 'Is a directory' benchfs cat /tree
ok "cat of nothing" fails 1 'No such file' benchfs cat /tree/missing
ok "ls" diff <(benchfs ls /tree) <(ls "$work/tree")
ok "ls -a" diff <(benchfs ls -a /tree) <(ls -A "$work/tree")
ok "ls with prefix" diff <(benchfs ls benchfs:/tree/deep/a) <(ls "$work/tree/deep/a")
ok "ls -U has the same names" diff <(benchfs ls -U /tree/deep/a | sort) <(ls "$work/tree/deep/a")
ok "ls -R" diff <(benchfs ls -R /tree | sed 's,^/tree,.,') <(cd "$work/tree" && ls -R .)
ok "ls -d" same "$(benchfs ls -d /tree)" /tree
ok "ls of a file" same "$(benchfs ls /tree/one)" /tree/one
long() { awk '{print $1, $5, $8, $9, $10}'; }
ok "ls -l shows mode, size and target" diff \
    <(benchfs ls -l /tree/modes | long) <(ls -l --time-style=long-iso "$work/tree/modes" | tail -n +2 | long)
ok "ls of nothing" fails 1 'No such file' benchfs ls /missing
ok "stat shows the size" grep -q 'Size: 3901 ' <(benchfs stat /tree/small)
ok "stat shows a negative time" grep -q '1969-12-31 23:00:00.500000000' <(benchfs stat /tree/small)
ok "stat shows a link's target" grep -q -- '-> nothing' <(benchfs stat /tree/link)
ok "stat -L follows" grep -q 'regular file' <(benchfs stat -L /tree/link)
ok "stat of nothing" fails 1 'No such file' benchfs stat /missing

# ---- find ----

# find_as ARGUMENTS...: the same conditions on both sides; a directory's size is the file system's own affair
find_as() { diff <(benchfs find /tree "$@" | sed 's,^/tree,.,' | sort) <(cd "$work/tree" && find . "$@" | sort); }
ok "find" find_as
ok "find -name" find_as -name '*.txt'
ok "find -name with a set" find_as -name 'file-[1-3]?.txt'
ok "find -name of the start" same "$(benchfs find /tree -name tree)" /tree
for type in f d l; do ok "find -type $type" find_as -type $type; done
for size in 0 1 8 9 -9 +8 1c -4097c +4096c 4k -1M +1M 1M 10M +9G; do
    ok "find -size $size" find_as -type f -size $size
done
ok "find -newer" diff <(benchfs find /tree -type f -newer /tree/one | sed 's,^/tree,.,' | sort) \
    <(cd "$work/tree" && find . -type f -newer one | sort)
ok "find with several conditions" find_as -type f -name '*e*' -size +1 -size -100
ok "find from several places" same "$(benchfs find /tree/one /tree/empty /tree/link | sort | tr '\n' ' ')" \
    "/tree/empty /tree/link /tree/one "
ok "find of nothing" fails 1 'No such file' benchfs find /missing
ok "find with an unknown condition" fails 2 'unknown option "-perm"' benchfs find / -perm 1
ok "find without a value" fails 2 'needs an argument' benchfs find / -name
ok "find with a size that is none" fails 2 'size' benchfs find / -size big

# ---- mkdir, rmdir, rm ----

ok "mkdir" benchfs mkdir /new /new/inner
ok "mkdir of what is there" fails 1 'File exists' benchfs mkdir /new
ok "mkdir without parents" fails 1 'No such file' benchfs mkdir /p/q/r
ok "mkdir -p" benchfs mkdir -p /p/q/r /p/q/r /p//s/
ok "mkdir -p made all" same "$(benchfs find /p | sort | tr '\n' ' ')" "/p /p/q /p/q/r /p/s "
ok "mkdir -p over a file" fails 1 'cannot make' benchfs mkdir -p /tree/one
ok "mkdir -m" benchfs mkdir -m 1711 /moded
ok "the mode is there" grep -q '(1711/' <(benchfs stat /moded)
ok "rmdir of a full directory" fails 1 'not empty' benchfs rmdir /new
ok "rmdir" benchfs rmdir /new/inner /new
ok "rmdir of a file" fails 1 'Not a directory' benchfs rmdir /tree/one
ok "rm" benchfs rm /tree/one benchfs:/tree/link
ok "rm of nothing" fails 1 'No such file' benchfs rm /tree/one
ok "rm -f of nothing" benchfs rm -f /tree/one
ok "rm of a directory" fails 1 'use -r' benchfs rm /tree
ok "rm -r of the root" fails 1 'will not' benchfs rm -r /
ok "rm -r" benchfs rm -r /tree /copy /pipes /p /moded /followed
ok "all is gone" same "$(benchfs ls -a /)" ""
used() { benchfs status --json | sed -n 's/.*"used": \([0-9]*\).*/\1/p' | sort -u; }
ok "and the memory is free" same "$(used)" 0

# ---- the command line ----

ok "unknown verb" fails 2 'unknown verb "frobnicate"' benchfs frobnicate
ok "unknown option" fails 2 'unknown option "--sideways"' benchfs ls --sideways /
ok "unknown letter" fails 2 'unknown option "-z"' benchfs rm -z /
ok "a relative path" fails 2 'not absolute' benchfs ls tree
ok "a path that is too long" fails 1 'too long' benchfs stat "/$(printf '%05000d' 1)"
ok "a name that is too long" fails 1 'too long' benchfs mkdir "/$(printf '%0256d' 1)"
for verb in start stop status ls find stat cat cp mkdir rmdir rm; do
    ok "$verb --help" grep -q "usage: benchfs $verb" <(benchfs $verb --help)
done
ok "bench is handed on" grep -q '^ *rpc ' <(benchfs bench --help)
ok "--help lists the verbs" grep -q 'find ' <(benchfs --help)
ok "--version" grep -q '^benchfs [0-9]' <(benchfs --version)
ok "output that cannot be written is an error" fails 1 'No space left' bash -c 'benchfs --help >/dev/full'

benchfs stop >/dev/null
finish
