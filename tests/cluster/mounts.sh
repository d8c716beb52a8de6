# Sourced by the tests that mount, in place of cluster.sh: mounts are undone however the test ends. Where FUSE cannot be used the
# test is skipped.
. "$(dirname "$0")/cluster.sh"

mounted=()

# mount_at DIRECTORY OPTION...: makes the directory and mounts there.
mount_at() {
    local directory=$1
    shift
    mkdir -p "$directory"
    mounted+=("$directory")
    timeout 20 benchfs mount "$@" "$directory"
}

is_mounted() { grep -qF " $1 fuse.benchfs " /proc/self/mounts; }

# The processes of mounts on a directory: benchfs mount with the directory as its last argument.
servers_of() {
    local candidate
    for candidate in $(grep -lzxF -- "$1" /proc/[0-9]*/cmdline 2>/dev/null); do
        ! grep -qzx mount "$candidate" 2>/dev/null || basename "$(dirname "$candidate")"
    done
}
one_serves() { [ "$(servers_of "$1" | wc -l)" = 1 ]; }

# The process that serves a mount, as soon as the one of an earlier mount there has ended.
server_of() {
    until_true one_serves "$1"
    servers_of "$1"
}

# Waits at most ten seconds until a condition holds.
until_true() {
    local i
    for i in $(seq 200); do
        "$@" && return 0
        sleep 0.05
    done
    return 1
}
# Ended, whether or not its parent has noticed.
gone() { ! grep -qv '^State:.*zombie' <(grep '^State:' "/proc/$1/status" 2>/dev/null); }
not() { ! "$@"; }
same() { [ "$1" = "$2" ] || { echo "\"$1\" is not \"$2\""; return 1; }; }

unmount_all() {
    local status=$? directory
    cd /
    for directory in "${mounted[@]}"; do
        ! is_mounted "$directory" || timeout 20 fusermount3 -u -q -z "$directory"
    done
    (exit "$status")
    cleanup
}
trap unmount_all EXIT

skip_all() {
    echo "1..0 # SKIP $1"
    exit 0
}
[ -e /dev/fuse ] || skip_all "there is no /dev/fuse"
[ -r /dev/fuse ] && [ -w /dev/fuse ] || skip_all "/dev/fuse may not be opened"
command -v fusermount3 >/dev/null || skip_all "fusermount3 is not installed"
[ "$(id -u)" -eq 0 ] || skip_all "not root"
