#!/bin/bash
# benchfs mount: the ordinary tools on a mounted directory, and the life of a mount from its errors to its ends.
. "$(dirname "$0")/mounts.sh"

m=$work/mount
mkdir "$m"

# ---- before there is anything to mount ----

ok "no cluster" fails 1 'no cluster file' benchfs mount "$m"
benchfs start -n 2 --set client.deadline=3s >/dev/null || exit 1
ok "no such directory" fails 1 'No such file' benchfs mount "$work/nothing"
echo x >"$work/file"
ok "not a directory" fails 1 'not a directory' benchfs mount "$work/file"
ok "not empty" fails 1 'not empty' benchfs mount "$work"
ok "no directory given" fails 2 'no directory' benchfs mount
ok "unknown option" fails 2 'unknown mount option "colour"' benchfs mount -o ro,colour "$m"
ok "unknown consistency" fails 2 'none of strict, close, relaxed' benchfs mount -o consistency=lax "$m"
ok "threads out of range" fails 2 'from 1 to' benchfs mount -o threads=0 "$m"
ok "none of them mounted anything" not is_mounted "$m"

# ---- the tools ----

tools() {
    local d=$1
    ok "it is mounted" is_mounted "$m"
    ok "mkdir" mkdir -p "$d/a/b/c"
    ok "write" eval "echo hello >'$d/a/file'"
    ok "read" same "$(cat "$d/a/file")" hello
    ok "append" eval "echo again >>'$d/a/file'"
    ok "both lines" same "$(cat "$d/a/file")" "hello"$'\n'"again"
    ok "stat" same "$(stat -c '%s %a %h %F' "$d/a/file")" "12 644 1 regular file"
    ok "links of a directory" same "$(stat -c %h "$d/a")" 3
    ok "mv" mv "$d/a/file" "$d/a/b/other"
    ok "it is not where it was" not test -e "$d/a/file"
    ok "mv over a file" eval "echo new >'$d/x' && mv '$d/x' '$d/a/b/other'"
    ok "its contents came along" same "$(cat "$d/a/b/other")" new
    ok "mv -n leaves what is there" eval "echo newer >'$d/x' && mv -n '$d/x' '$d/a/b/other'; [ \"\$(cat '$d/a/b/other')\" = new ]"
    ok "mv of a directory" mv "$d/a/b" "$d/moved"
    ok "with what is in it" same "$(cat "$d/moved/other")" new
    ok "mv of a directory into itself" not mv "$d/moved" "$d/moved/c/moved"
    ok "symbolic link" ln -s moved/other "$d/link"
    ok "readlink" same "$(readlink "$d/link")" moved/other
    ok "through the link" same "$(cat "$d/link")" new
    ok "ln" ln "$d/moved/other" "$d/second"
    ok "two names of one file" same "$(stat -c '%i %h' "$d/second")" "$(stat -c '%i' "$d/moved/other") 2"
    ok "one goes" rm "$d/second"
    ok "the other stays" same "$(stat -c %h "$d/moved/other")" 1
    ok "chmod" chmod 640 "$d/x"
    ok "chown" chown 12:34 "$d/x"
    ok "touch" touch -d '2001-02-03 04:05:06.789012345' "$d/x"
    ok "mode, owner and time" same "$(stat -c '%a %u %g %.9Y' "$d/x")" "640 12 34 981173106.789012345"
    ok "truncate" truncate -s 100000 "$d/x"
    ok "reads zeros" cmp -n 99990 -i 10:0 "$d/x" /dev/zero
    ok "a name of its own for a value" eval "setfattr -n user.colour -v blue '$d/x' && [ \"\$(getfattr --only-values -n user.colour '$d/x')\" = blue ]"
    ok "a hole" fallocate -p -o 8192 -l 65536 "$d/x"
    ok "takes less room" eval "[ \"\$(stat -c %b '$d/x')\" -lt 128 ]"
    ok "fallocate" eval "fallocate -l 300000 '$d/reserved' && [ \"\$(stat -c '%s' '$d/reserved')\" = 300000 ]"
    ok "df" eval "df --output=source '$d' | grep -cx benchfs >/dev/null"
    ok "sync of a file" sync "$d/x"
    ok "sync of a directory" sync "$d"
    ok "execute" eval "cp /bin/true '$d/program' && '$d/program'"
    ok "rmdir of one that is not empty" not rmdir "$d/moved"
    ok "255 bytes of name" touch "$d/$(printf '%0255d' 1)"
    ok "256 are too long" not touch "$d/$(printf '%0256d' 1)"
    ok "flock" flock -n "$d/x" true
    head -c 10000001 /dev/urandom >"$work/random"
    ok "cp in" cp "$work/random" "$d/random"
    ok "is the same" cmp "$work/random" "$d/random"
    ok "a copy by the servers" eval "cp --reflink=never '$d/random' '$d/again' && cmp '$work/random' '$d/again' && rm '$d/again'"
    ok "odd pieces" dd if="$work/random" of="$d/pieces" bs=12345 conv=notrunc status=none
    ok "are the same" cmp "$work/random" "$d/pieces"
    ok "tar in" eval "tar -C /usr/include -cf - linux | tar -C '$d' -xf -"
    ok "diff" diff -r /usr/include/linux "$d/linux"
    ok "cp -a" cp -a "$d/linux" "$d/copy"
    ok "find sees all" same "$(find "$d/copy" | wc -l)" "$(find /usr/include/linux | wc -l)"
    ok "rm -r" rm -r "$d/linux" "$d/copy"
    ok "the command sees the same" same "$(benchfs ls "/$(basename "$d")" | sort)" "$(cd "$d" && printf '%s\n' * | sort)"
    ok "rm of everything" rm -rf "$d"
    ok "nothing is left" not test -e "$d"
}

for mode in strict close relaxed; do
    ok "mount, $mode" mount_at "$m" -o "consistency=$mode"
    mkdir "$m/$mode"
    tools "$m/$mode"
    pid=$(server_of "$m")
    ok "umount" umount "$m"
    ok "the serving process ends" until_true gone "$pid"
done

# ---- the ends of a mount ----

ok "mount" mount_at "$m"
pid=$(server_of "$m")
ok "fusermount3 -u" fusermount3 -u "$m"
ok "the process ends" until_true gone "$pid"
for signal in INT TERM HUP; do
    ok "mount again" mount_at "$m"
    pid=$(server_of "$m")
    ok "SIG$signal" kill -s "$signal" "$pid"
    ok "ends the process" until_true gone "$pid"
    ok "and the mount" not is_mounted "$m"
done

ok "read only" mount_at "$m" -o ro
ok "refuses to write" not touch "$m/file"
ok "a second mount hides nothing by accident" eval "benchfs mkdir /full && ! benchfs mount '$m' && benchfs rmdir /full"
ok "umount" umount "$m"

# ---- a request that takes long keeps no others ----

one_server=$(server_pids | tail -1)
stuck="" answered=""
ok "mount" mount_at "$m" -o threads=16
touch "$m"/several-{1..12}
kill -STOP "$one_server"
for name in "$m"/several-{1..12}; do # to open one asks its server, whatever attributes are known
    if timeout 1 cat "$name" >/dev/null 2>&1; then answered=$name; else stuck=$name; fi
    [ -z "$stuck" ] || [ -z "$answered" ] || break
done
ok "some files are with the server that hangs" test -n "$stuck"
ok "others are not" test -n "$answered"
kill -CONT "$one_server"
for _ in {1..20}; do cat "$m"/several-{1..12} >/dev/null; done # one thread is enough for these
kill -STOP "$one_server"
cat "$stuck" >/dev/null &
waits=$!
until_true grep -qx cat "/proc/$waits/comm"
until_true grep -q '^State:.[SD]' "/proc/$waits/status"
ok "one of the latter is answered" within 1 cat "$answered"
ok "while one of the former waits" not gone "$waits"
kill -CONT "$one_server"
wait "$waits"
ok "and all are there" cat "$m"/several-{1..12}
rm "$m"/several-*
ok "umount" umount "$m"

# ---- in use when the signal comes ----

ok "mount" mount_at "$m"
pid=$(server_of "$m")
exec 5>"$m/busy"
ok "SIGTERM" kill -s TERM "$pid"
ok "nobody finds it any more" until_true not is_mounted "$m"
ok "who has a file open can finish" eval "echo done >&5"
exec 5>&-
ok "then the process ends" until_true gone "$pid"
ok "what was written is there" same "$(benchfs cat /busy)" "done"

# ---- the file system's own mode ----

ok "stop" benchfs stop
benchfs start --set client.deadline=3s --set cluster.consistency=close >/dev/null || exit 1
ok "a mount cannot be stricter than the file system" fails 1 'only weaken' benchfs mount -o consistency=strict "$m"
ok "weaker it can be" mount_at "$m" -o consistency=relaxed
echo x >"$m/busy"
ok "umount" umount "$m"

# ---- without a cluster ----

ok "mount" mount_at "$m"
pid=$(server_of "$m")
exec 5<"$m/busy"
ok "stop" benchfs stop
ok "stat says so" within 4 eval "stat '$m/busy' 2>&1 | grep -c 'Input/output error' >/dev/null"
ok "read says so" within 4 eval "cat <&5 2>&1 | grep -c 'Input/output error' >/dev/null"
ok "ls says so" within 4 eval "ls '$m' 2>&1 | grep -c 'Input/output error' >/dev/null"
exec 5<&-
ok "umount" within 4 umount "$m"
ok "the process ends" until_true gone "$pid"
finish
