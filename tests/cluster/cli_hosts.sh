#!/bin/bash
# Servers on other hosts. ssh is replaced by a double that runs the command here, as the remote shell would, so that the dialogue, the
# transport of key and configuration, and what is left behind are the real ones.
. "$(dirname "$0")/cluster.sh"

same() { [ "$1" = "$2" ] || { echo "\"$1\" is not \"$2\""; return 1; }; }
states() { benchfs status --json | sed -n 's/.*"state": "\(.*\)".*/\1/p' | tr '\n' ' '; }

# Their process ids are not in the cluster file; their key files lie in this test's own directory.
end_servers() {
    local process
    for process in /proc/[0-9]*; do
        if tr '\0' '\n' 2>/dev/null <"$process/cmdline" | grep -c "^$work/remote/.*/key\$" >/dev/null; then
            kill -KILL "${process#/proc/}" 2>/dev/null
        fi
    done
}

mkdir "$work/bin" "$work/remote"
cat >"$work/bin/ssh" <<'DOUBLE'
#!/bin/sh
# ssh [-T] [-o OPTION]... HOST COMMAND
while [ "$1" = -T ] || [ "$1" = -o ]; do
    [ "$1" = -T ] && shift || shift 2
done
echo "$1" >>"$WORK/hosts-called"
case $1 in 127.0.0.9) echo "ssh: no route to host" >&2; exit 255 ;; esac
exec 3<&0 # a command in the background would read nothing
sh -c "$2" <&3 3<&- &
wait
DOUBLE
chmod +x "$work/bin/ssh"
export WORK=$work TMPDIR=$work/remote
PATH=$work/bin:$PATH

printf '127.0.0.1 slots=2\n' >"$work/hosts"
ok "start" benchfs start --hosts "$work/hosts" --set store.capacity=8MiB --set cluster.chunk_size=64KiB
ok "by ssh" same "$(tr '\n' ' ' <"$work/hosts-called")" "127.0.0.1 127.0.0.1 "
ok "all are up" same "$(states)" "up up "
ok "the configuration arrived" same "$(benchfs status --json | grep -c '"capacity": 8388608')" 2
head -c 300000 /dev/urandom >"$work/data"
ok "files go in" benchfs cp "$work/data" benchfs:/data
ok "and come out" cmp "$work/data" <(benchfs cat /data)
ok "a second start is refused" fails 1 'running already on other hosts' benchfs start
ok "stop" benchfs stop
left() {
    local tries
    for tries in $(seq 100); do
        [ -z "$(ls "$work/remote")" ] && return 0
        sleep 0.1
    done
    ls -R "$work/remote"
    return 1
}
ok "nothing is left on the hosts" left
ok "nor here" same "$(ls "$work" | tr '\n' ' ')" "bin data hosts hosts-called remote "

printf '127.0.0.1\n127.0.0.9\n' >"$work/hosts"
ok "a host that cannot be reached is named" fails 1 'server 1 on 127.0.0.9 .*no route' \
    benchfs start --hosts "$work/hosts"
ok "and the other server has ended" left
finish
