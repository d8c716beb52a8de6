#!/bin/bash
# Runs one program of the conformance suite through a mount or the preload library, on a cluster of its own.
# Usage: door.sh fuse SERVERS PROGRAM-DIRECTORY:... PROGRAM [CASE]
#        door.sh preload SERVERS PROGRAM-DIRECTORY:... PROGRAM [CASE]     with the library in $BENCHFS_PRELOAD
# CONSISTENCY: the mode, if not strict. PROGRAM-DIRECTORY: where benchfs and benchfsd lie.
door=$1 servers=$2 program=$(realpath "$4")
here=$(dirname "$(realpath "$0")")
shift 2
IFS=: read -ra places <<<"$1"
shift 2
arguments=("$@")
. "$here/../../cluster/cluster.sh" "${places[@]}"

skip_all() {
    echo "1..0 # SKIP $1"
    exit 0
}

unmount() {
    local status=$?
    cd /
    ! grep -qF " $work/mount fuse.benchfs " /proc/self/mounts || timeout 20 umount -l "$work/mount"
    (exit "$status")
    cleanup
}

chmod 755 "$work" # others are to get to the mount
benchfs start -n "$servers" --set cluster.consistency="${CONSISTENCY:-strict}" >"$work/start.log" 2>&1 || {
    cat "$work/start.log" >&2
    exit 99
}
case $door in
fuse)
    [ -e /dev/fuse ] || skip_all "there is no /dev/fuse"
    [ -r /dev/fuse ] && [ -w /dev/fuse ] || skip_all "/dev/fuse may not be opened"
    [ "$(id -u)" -eq 0 ] || skip_all "not root"
    trap unmount EXIT
    mkdir "$work/mount"
    timeout 20 benchfs mount -o allow_other,suid,dev "$work/mount" || exit 99
    timeout 110 "$program" "$work/mount" "${arguments[@]}"
    ;;
preload)
    mkdir "$work/here"
    cd "$work/here" || exit 99
    LD_PRELOAD=$BENCHFS_PRELOAD timeout --foreground 110 "$program" /benchfs "${arguments[@]}"
    ;;
*)
    echo "door.sh: no door \"$door\"" >&2
    exit 99
    ;;
esac
