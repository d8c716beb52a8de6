#!/bin/bash
# Programs that torture file systems, on a mount and, in the long form, with the preload library. Usage: stress.sh
# PROGRAM-DIRECTORY..., of which the first is that of benchfs. STRESS_SECONDS (1) is how long each may go on: make check is short,
# make stress is long. A program that is not installed is skipped. STRESS_ONLY is a regular expression: cases with other names are left out.
library=$(realpath "$1/../preload/libbenchfs_preload.so")
. "$(dirname "$0")/../cluster/cluster.sh"

seconds=${STRESS_SECONDS:-1}

skip() {
    number=$((number + 1))
    echo "ok $number - $1 # SKIP $2"
}

door= # the preload library, for what works below /benchfs

# Every program ends, whatever the file system does.
limited() { LD_PRELOAD=$door timeout --kill-after=10 "$((seconds * 10 + 60))" "$@"; }

# case_of PROGRAM NAME COMMAND...
case_of() {
    local program=$1 name=$2
    shift 2
    [[ $name =~ ${STRESS_ONLY:-} ]] || return 0
    if command -v "$program" >/dev/null; then
        ok "$name" "$@"
        echo "# after $SECONDS s"
    else
        skip "$name" "$program is not installed"
    fi
}

unmount() {
    local status=$?
    cd /
    ! grep -qF " $work/mount fuse.benchfs " /proc/self/mounts || timeout 20 umount -l "$work/mount"
    (exit "$status")
    cleanup
}

# Random writes of random sizes, read back and compared; several files at once.
fio_verify() {
    local name=$1
    shift
    limited mkdir -p "$mount/fio-$name"
    limited fio --name="$name" --directory="$mount/fio-$name" --size=8m --numjobs=2 --verify=crc32c --verify_fatal=1 \
        --do_verify=1 --verify_state_save=0 --group_reporting --loops="$((seconds / 2 + 1))" --output-format=terse --minimal "$@"
}

# Stressors of stress-ng that are for file systems, one after the other, with its own checks.
stress_ng() {
    limited mkdir -p "$mount/stress-ng"
    limited stress-ng --temp-path "$mount/stress-ng" --verify --metrics-brief --timeout "${seconds}s" --hdd-bytes 4m \
        --"$1" 2 "${@:2}"
}

dbench_loads() {
    mkdir -p "$mount/dbench"
    limited dbench --directory="$mount/dbench" --timelimit="$seconds" --skip-cleanup \
        --loadfile=/usr/share/dbench/client.txt 2
}

# Several writers on one database, each transaction of which must be there in the end.
sqlite_writers() {
    limited python3 - "$mount/database" "$((seconds * 20))" <<'PYTHON'
import multiprocessing, sqlite3, sys

path, count = sys.argv[1], int(sys.argv[2])
WRITERS = 3


def write(number):
    connection = sqlite3.connect(path, timeout=60)
    for i in range(count):
        with connection:
            connection.execute("INSERT INTO entries VALUES (?, ?, ?)", (number, i, "x" * (i % 500)))
    connection.close()


connection = sqlite3.connect(path)
connection.execute("CREATE TABLE entries (writer INTEGER, number INTEGER, text TEXT)")
connection.commit()
connection.close()
writers = [multiprocessing.Process(target=write, args=(number,)) for number in range(WRITERS)]
for writer in writers:
    writer.start()
for writer in writers:
    writer.join()
    assert writer.exitcode == 0, writer.exitcode
connection = sqlite3.connect(path)
rows = connection.execute("SELECT writer, count(*), count(DISTINCT number) FROM entries GROUP BY writer").fetchall()
assert rows == [(number, count, count) for number in range(WRITERS)], rows
assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
PYTHON
}

git_history() (
    repository=$mount/repository
    git init -q "$repository" && cd "$repository" || return 1
    git config user.name Nobody && git config user.email nobody@example.org
    cp -r /usr/include/linux/netfilter . && git add -A && git commit -q -m one || return 1
    for i in $(seq "$((seconds * 2))"); do
        echo "$i" >"file-$i" && git rm -q -r --cached netfilter/ipset && git add -A && git commit -q -m "$i" || return 1
    done
    limited git gc -q && limited git fsck --strict && limited git clone -q . ../clone && cd ../clone && limited git fsck --strict &&
        diff -r --exclude=.git . "$repository"
)

[ -e /dev/fuse ] && [ -r /dev/fuse ] && [ -w /dev/fuse ] || {
    echo "1..0 # SKIP /dev/fuse cannot be used"
    exit 0
}
[ "$(id -u)" -eq 0 ] || {
    echo "1..0 # SKIP not root"
    exit 0
}
mount=$work/mount
mkdir "$mount"
trap unmount EXIT
benchfs start -n 3 >/dev/null || exit 99
benchfs mount -o allow_other "$mount" || exit 99

case_of fio "fio: random writes verified" fio_verify random --rw=randwrite --bsrange=512-64k --bs_unaligned
case_of fio "fio: mixed, through mappings" fio_verify mapped --rw=randrw --bs=4k --ioengine=mmap
stressors=(dentry rename flock)
if [ "$seconds" -gt 1 ]; then
    case_of fio "fio: sequential writes verified" fio_verify sequential --rw=write --bs=1m
    case_of fio "fio: mixed, asynchronous" fio_verify asynchronous --rw=randrw --bs=4k --ioengine=libaio --iodepth=8
    case_of fio "fio: appending" fio_verify appending --rw=write --bs=3000 --ioengine=sync --fsync=100
    stressors+=(hdd dir link symlink seek filename fstat lockf lockofd chmod chown dirmany readahead utime fallocate fpunch
        copy-file xattr)
fi
for stressor in "${stressors[@]}"; do
    case_of stress-ng "stress-ng: $stressor" stress_ng "$stressor"
done
case_of dbench "dbench" dbench_loads
case_of python3 "sqlite3: concurrent writers" sqlite_writers
case_of git "git: commits, gc, clone, fsck" git_history
ok "everything can be removed" eval "rm -rf '$mount'/* && [ -z \"\$(ls -A '$mount')\" ]"
ok "umount" umount "$mount"

if [ "$seconds" -gt 1 ]; then
    mount=/benchfs door=$library
    case_of fio "preload: fio: random writes verified" fio_verify random --rw=randwrite --bsrange=512-64k --bs_unaligned
    case_of fio "preload: fio: mixed, asynchronous" fio_verify asynchronous --rw=randrw --bs=4k --ioengine=posixaio --iodepth=8
    case_of fio "preload: fio: appending" fio_verify appending --rw=write --bs=3000 --ioengine=sync --fsync=100
    for stressor in dentry rename flock hdd seek readahead fallocate copy-file xattr; do
        case_of stress-ng "preload: stress-ng: $stressor" stress_ng "$stressor"
    done
    case_of python3 "preload: sqlite3: concurrent writers" sqlite_writers
    ok "preload: everything can be removed" limited bash -c 'rm -rf /benchfs/* && [ -z "$(ls -A /benchfs)" ]'
fi
finish
