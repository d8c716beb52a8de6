#!/bin/bash
# What can stand behind --target: clusters with options, directories past the page cache, and other file systems by their client
# libraries, for which libraries with the same calls stand in.
# Usage: targets.sh LIBCHFS LIBCHFS-WITHOUT-A-CALL LIBFINCHFS PROGRAM-DIRECTORY...
chfs=$1 chfs_old=$2 finchfs=$3
shift 3
. "$(dirname "$0")/../cluster/cluster.sh"

export TMPDIR=$work/tmp STUB_ROOT=$work/root STUB_COUNTS=$work/counts CHFS_SERVER=stub://here
unset BENCHFS_CHFS_LIBRARY BENCHFS_FINCHFS_LIBRARY STUB_DOWN
mkdir "$TMPDIR" "$STUB_ROOT" "$work/store"

same() { [ "$1" = "$2" ] || { echo "\"$1\" is not \"$2\""; return 1; }; }
not() { ! "$@"; }
nothing_left() { same "$(ls -A "$1")" ""; }
bench() { timeout 60 benchfs bench "$@"; }
md() { bench md --files 20 --repeats 1 "$@"; }
io() { bench io --size 3000,4KiB --total 100000 --repeats 1 --verify "$@"; }
counted() { same "$(awk -v call="$1" '$1 == call {n += $2} END {print n + 0}' "$work/counts")" "$2"; }
# Zero where the directory is in memory anyway.
on_disk() { [ "$(stat -f -c %T "$work/store")" = tmpfs ] && echo 0 || echo "$1"; }
lines_with() { tr -d ' ' <"$work/lines" | grep -cF -- "$1"; }

# ---- BenchFS with options ----
ok "what is neither directory nor options" fails 2 '"nonsense" is neither' md --target benchfs:nonsense
ok "an unknown option" fails 2 'unknown option "foo"' md --target benchfs:foo=1
ok "a bad value" fails 2 'cluster.chunk_size: 100000' md --target benchfs:chunk_size=100000
ok "an unknown engine" fails 2 'store.engine: "tape" is not valid' md --target benchfs:store=tape
ok "an option twice" fails 2 'servers is given twice' md --target benchfs:servers=2,servers=3
ok "two names for one option" fails 2 'server_count is given twice' md --target benchfs:servers=2,server_count=3
ok "too many servers" fails 2 'at most 64 servers' md --target benchfs:servers=65
ok "an option of another engine" fails 2 'store.durability makes no sense' md --target benchfs:store=mem,durability=close
ok "an option of servers that stay" fails 2 'server.listen makes no sense' md --target benchfs:server.listen=0.0.0.0:0
ok "a path that is not there" fails 2 'store.path: "/nonexistent"' md --target benchfs:store=file,path=/nonexistent
ok "a ring that needs another hash" fails 2 'does not work with cluster.hash' md --target benchfs:ring=consistent,hash=koyama
ok "no cluster runs" fails 2 'cluster' md --target benchfs:

ok "a cluster with options" md --processes 2 --output "$work/lines" \
    --target "benchfs:store=file,path=$work/store,servers=2,chunk_size=64KiB,placement=round_robin,consistency=close,durability=none"
ok "the results say which" same "$(lines_with '"chunk_size":65536')" 1
ok "and its servers" same "$(lines_with '"servers":2,')" 6
ok "no data is left" nothing_left "$work/store"
ok "no file is left" nothing_left "$TMPDIR"
ok "nobody reads the table to its end" not eval 'md --target benchfs:servers=1 --repeats 60 2>"$work/errors" | head -n 1 >"$work/head"'
ok "no file is left then either" nothing_left "$TMPDIR"
ok "two clusters in turns" io --target benchfs:servers=1 --target benchfs:servers=2,ring=rendezvous,meta.open_lease=0
ok "no file is left then either" nothing_left "$TMPDIR"

# ---- directories ----
ok "a directory that is not there" fails 2 'No such file' md --target posix:/nonexistent
ok "past the page cache" io --target "posix:$work/store,direct" --depth 1,3 --output "$work/lines"
ok "3000 bytes are not" same "$(lines_with 'pagecache,astheirsizeisnotaligned')" "$(on_disk 2)"
ok "nothing is said of caches otherwise" same "$(lines_with 'pagecache')" "$(on_disk 2)"
ok "nothing is left" nothing_left "$work/store"

# ---- CHFS ----
ok "no library" fails 2 'cannot load libchfs.so' md --target chfs:
ok "none where it is said to be" fails 2 'cannot load /nonexistent' env BENCHFS_CHFS_LIBRARY=/nonexistent \
    timeout 60 benchfs bench md --target chfs:
ok "a library that lacks a call" fails 2 'has no call chfs_pread' md --target chfs: --library "$chfs_old"
ok "no server is named" fails 2 'CHFS_SERVER is not set' env -u CHFS_SERVER \
    timeout 60 benchfs bench md --target chfs: --library "$chfs"
ok "no server answers" fails 2 'gave up: second line: nobody there' env STUB_DOWN=1 \
    timeout 60 benchfs bench md --target chfs: --library "$chfs"
ok "a place that is none" fails 2 'takes a directory from / on' md --target chfs:here --library "$chfs"

: >"$work/counts"
ok "files of CHFS" md --threads 2 --target chfs: --library "$finchfs" --library "$chfs" --output "$work/lines"
ok "six phases" same "$(lines_with '"operations":')" 6
ok "its number of servers" same "$(lines_with '"servers":3,')" 6
# One directory is made to see that runs can make theirs.
for call in "create 80" "open 80" "close 160" "write 40" "read 40" "unlink 80" "stat 40" "mkdir 4"; do
    ok "$call calls" counted $call
done
ok "nothing is left" nothing_left "$STUB_ROOT"
export BENCHFS_CHFS_LIBRARY=$chfs BENCHFS_FINCHFS_LIBRARY=$finchfs
ok "transfers one at a time" io --depth 1,2 --target chfs: --target "posix:$work/store" --output "$work/lines"
ok "what is deep is not supported" same "$(lines_with '"unsupported"')" 6
ok "and has no result" same "$(lines_with '"target":"chfs:"')" 12
ok "people are told, too" eval 'io --depth 2 --target chfs: | grep -c "not supported by this target" >/dev/null'
ok "nothing is left" nothing_left "$STUB_ROOT"

# ---- FINCHFS ----
ok "no library" fails 2 'cannot load libfinchfs.so' env -u BENCHFS_FINCHFS_LIBRARY timeout 60 benchfs bench md --target finchfs:
ok "another library" fails 2 'has no call finchfs_init' env BENCHFS_FINCHFS_LIBRARY="$chfs" timeout 60 benchfs bench md --target finchfs:
ok "no server answers" fails 2 'gave up: second line: nobody there' env STUB_DOWN=1 \
    timeout 60 benchfs bench md --target finchfs:
: >"$work/counts"
ok "files of FINCHFS" md --processes 2 --target finchfs:/
for call in "create 80" "open 80" "close 160" "write 40" "read 40" "unlink 80" "stat 40" "mkdir 4" "rmdir 4"; do
    ok "$call calls" counted $call
done
ok "one thread a process" fails 1 'one thread a process' md --threads 2 --target finchfs:
ok "nothing is left" nothing_left "$STUB_ROOT"
# Lists name each file once, what is to be synchronised is, and what only one of them has is done there.
: >"$work/counts"
for kind in chfs finchfs; do
    ok "$kind lists all names" bench mdtest --files 300 --repeats 1 --target $kind:
    ok "$kind has been asked for lists" not counted list 0
    : >"$work/counts"
    ok "$kind synchronises" bench ior --block 64KiB --size 32KiB --fsync --repeats 3 --target $kind:
    ok "once for each file" counted sync 3
    : >"$work/counts"
    ok "$kind has all of io500" bench io500 --time 10ms --total 2MiB --files 50 --repeats 1 --target $kind: --output "$work/lines"
    ok "with a score" same "$(lines_with '"type":"score"')" 1
    ok "$kind has a mixed load" bench mixed --time 50ms --rate 200 --total 1MiB --repeats 1 --target $kind:
    : >"$work/counts"
done
cat >"$work/rename" <<'EOF'
{"type":"trace","format":1}
{"t":0,"process":1,"op":"open","path":"/a","fd":1,"flags":"wc"}
{"t":1,"process":1,"op":"close","fd":1}
{"t":2,"process":1,"op":"rename","path":"/a","new_path":"/b"}
{"t":3,"process":1,"op":"unlink","path":"/b"}
EOF
sed 's/"rename","path":"\/a","new_path":"\/b"/"truncate","path":"\/a","length":10/; s/"path":"\/b"/"path":"\/a"/' "$work/rename" >"$work/truncate"
ok "FINCHFS renames" bench replay --trace "$work/rename" --repeats 1 --target finchfs:
ok "once" counted rename 1
ok "CHFS truncates" bench replay --trace "$work/truncate" --repeats 1 --target chfs:
ok "once" counted truncate 1
unsupported() { bench replay --trace "$work/$1" --repeats 1 --target "$2" | grep -c "not supported by this target" >/dev/null; }
ok "CHFS has no rename" unsupported rename chfs:
ok "FINCHFS has no truncate" unsupported truncate finchfs:
ok "both in turns" io --target chfs: --target finchfs: --target benchfs:servers=1
ok "nothing is left" nothing_left "$STUB_ROOT"
finish
