#!/bin/bash
# Programs that people run, on a mount: each finds its own data right, and so does a comparison with what it does on a local
# directory.
# Usage: mount_programs.sh PROGRAM CONSISTENCY PROGRAM-DIRECTORY...
program=$1 mode=$2
shift 2
set -- "$@"
. "$(dirname "$0")/mounts.sh" "$@"

m=$work/mount
needs() { command -v "$1" >/dev/null || skip_all "$1 is not installed"; }

check_fio() {
    needs fio
    local options=(--directory="$m" --size=8m --verify=crc32c --verify_fatal=1 --output=/dev/null --group_reporting)
    ok "fio: write and verify" timeout 60 fio --name=sequential --rw=write --bs=256k "${options[@]}"
    ok "fio: random writes of odd sizes" timeout 60 fio --name=random --rw=randwrite --bsrange=512-70000 --bs_unaligned "${options[@]}"
    ok "fio: four jobs" timeout 60 fio --name=jobs --numjobs=4 --rw=randwrite --bs=4k --size=2m --directory="$m" --verify=crc32c \
        --verify_fatal=1 --output=/dev/null
    ok "fio: memory mappings" timeout 60 fio --name=mapped --ioengine=mmap --rw=randwrite --bs=4k "${options[@]}"
    ok "fio: io_uring, direct" timeout 60 fio --name=direct --ioengine=io_uring --direct=1 --iodepth=8 --rw=randwrite --bs=16k "${options[@]}"
}

check_stress() {
    needs stress-ng
    local stressor
    for stressor in access chmod chown dentry dir dirdeep fallocate fcntl file-ioctl filename flock fpunch fstat getdent hdd link \
        lockf mmap msync open rename seek symlink sync-file utime xattr; do
        ok "stress-ng: $stressor" timeout 60 stress-ng --temp-path "$m" --"$stressor" 2 --"$stressor"-ops 40 --timeout 3s \
            --hdd-bytes 4m --seek-size 2m --fallocate-bytes 4m --mmap-file --mmap-bytes 2m --msync-bytes 2m --verify \
            --no-rand-seed --quiet
    done
    ok "nothing is left behind" same "$(ls -A "$m")" ""
}

check_git() {
    needs git
    export HOME=$work GIT_CONFIG_NOSYSTEM=1
    git config --global user.name Test && git config --global user.email test@localhost
    git config --global init.defaultBranch main && git config --global gc.auto 0
    ok "git init" git init -q "$m/first"
    cp -r /usr/include/linux "$m/first/tree"
    ok "git add and commit" eval "cd '$m/first' && git add -A && git commit -qm first"
    ok "change and commit" eval "cd '$m/first' && git rm -rqf tree/netfilter && echo x >tree/new && git add -A && git commit -qm second"
    ok "git clone" git clone -q --no-hardlinks "$m/first" "$m/second"
    ok "git fsck" git -C "$m/second" fsck --full --strict
    ok "git gc" git -C "$m/second" gc -q
    ok "fsck again" git -C "$m/second" fsck --full --strict
    ok "checkout of the first commit" git -C "$m/second" checkout -q HEAD~1
    ok "has all files" diff -r /usr/include/linux "$m/second/tree"
    ok "nothing looks changed" same "$(git -C "$m/second" status --porcelain)" ""
    cd /
}

check_sqlite() {
    needs sqlite3
    local writer journal pids
    for journal in delete wal; do
        ok "sqlite3: database, journal $journal" same "$(sqlite3 "$m/$journal.db" "pragma journal_mode=$journal;
            create table t(writer integer, n integer, text text, primary key (writer, n));")" "$journal"
        pids=()
        for writer in 1 2 3 4; do
            (for n in $(seq 25); do
                echo "pragma busy_timeout=60000;" "begin immediate; insert into t values ($writer, $n, hex(randomblob(500))); commit;"
            done | sqlite3 "$m/$journal.db" >"$work/writer.$writer" 2>&1) &
            pids+=($!)
        done
        ok "four writers at once" wait "${pids[@]}"
        ok "every row is there" same "$(sqlite3 "$m/$journal.db" 'select count(*), count(distinct writer) from t')" "100|4"
        ok "the database is whole" same "$(sqlite3 "$m/$journal.db" 'pragma integrity_check')" ok
    done
}

check_build() {
    needs make
    mkdir "$work/source"
    local i
    for i in $(seq 12); do
        printf '#include <stdio.h>\n#include "all.h"\nint part_%d(void) { return %d + (int)sizeof(FILE) * 0; }\n' "$i" "$i" >"$work/source/part_$i.c"
        echo "int part_$i(void);" >>"$work/source/all.h"
    done
    { echo '#include <stdio.h>'; echo '#include "all.h"'; echo 'int main(void) { int sum = 0;'
        for i in $(seq 12); do echo "sum += part_$i();"; done
        echo 'printf("%d\n", sum); return 0; }'; } >"$work/source/main.c"
    cat >"$work/source/Makefile" <<'MAKE'
objects := $(patsubst %.c,%.o,$(wildcard *.c))
program: libparts.so main.o
	$(CC) -o $@ main.o -L. -lparts -Wl,-rpath,'$$ORIGIN'
libparts.so: $(filter-out main.o,$(objects))
	$(CC) -shared -o $@ $^
%.o: %.c all.h
	$(CC) -fPIC -g -c -o $@ $<
MAKE
    tar -C "$work" -cf "$work/source.tar" source
    ok "untar" tar -C "$m" -xf "$work/source.tar"
    ok "make" make -s -j2 -C "$m/source"
    ok "the program runs" same "$("$m/source/program")" 78
    ok "make has nothing to do" make -q -C "$m/source" program
    touch "$m/source/all.h"
    ok "but after a change" not make -q -C "$m/source" program
    ok "make again" make -s -j2 -C "$m/source"
    ok "strip and run" eval "strip '$m/source/program' && [ \"\$('$m/source/program')\" = 78 ]"
}

check_copies() {
    needs rsync
    cp -r /usr/include/linux "$work/tree"
    mkdir "$work/tree/empty"
    ln -s ../missing "$work/tree/dangling"
    ln "$work/tree/fs.h" "$work/tree/second name"
    truncate -s 3M "$work/tree/sparse"
    printf end >>"$work/tree/sparse"
    chmod 600 "$work/tree/fs.h"
    touch -d '2001-02-03 04:05:06.7' "$work/tree/fuse.h" "$work/tree/empty"
    list() { (cd "$1" && find . -printf '%y %m %u %g %s %T@ %n %l %p\n' | sed 's/^d \(.*\) [0-9]* \([0-9.]* [0-9]*  *\)/d \1 \2/' | sort -k 9); }
    ok "tar there and back" eval "tar -C '$work' --format=posix -cf - tree | tar -C '$m' -xpf - && mkdir '$work/back' && tar -C '$m' --format=posix -cf - tree | tar -C '$work/back' -xpf -"
    ok "contents" diff -r --no-dereference "$work/tree" "$work/back/tree"
    ok "attributes" diff <(list "$work/tree") <(list "$work/back/tree")
    ok "cp -a" cp -a "$work/tree" "$m/copied"
    ok "attributes" diff <(list "$work/tree") <(list "$m/copied")
    ok "rsync" rsync -aHX "$work/tree/" "$m/synced/"
    ok "attributes" diff <(list "$work/tree") <(list "$m/synced")
    ok "rsync finds nothing to do" same "$(rsync -aHXic "$work/tree/" "$m/synced/")" ""
    echo more >>"$work/tree/fs.h"
    ok "rsync in place" rsync -aH --inplace --delete "$work/tree/" "$m/synced/"
    ok "contents" diff -r --no-dereference "$work/tree" "$m/synced"
    ok "rm" rm -rf "$m/tree" "$m/copied" "$m/synced"
    ok "nothing is left" same "$(ls -A "$m")" ""
}

benchfs start -n 2 --set store.capacity=512MiB >/dev/null || exit 1
mount_at "$m" -o "consistency=$mode" || exit 1
"check_$program"
cd /
ok "umount" umount "$m"
finish
