# Sourced by the tests that drive real processes: a directory of the test's own, a cluster in it, TAP output. What was started is
# ended by its process id when the test ends, however it ends.
# Usage of a test: SCRIPT PROGRAM-DIRECTORY... (where benchfs and benchfsd lie)
set -uo pipefail
PATH=$(IFS=:; echo "$*"):$PATH
unset BENCHFS_SERVERS BENCHFS_KEY XDG_RUNTIME_DIR
export LC_ALL=C TZ=UTC
work=$(mktemp -d "${TMPDIR:-/tmp}/benchfs-test-XXXXXX")
export BENCHFS_CLUSTER=$work/cluster.json
umask 022

number=0
failed=0

server_pids() {
    [ ! -e "$BENCHFS_CLUSTER" ] || sed -n 's/.*"pid": \([0-9]*\).*/\1/p' "$BENCHFS_CLUSTER"
}

# A process of ours: runs with this cluster's key.
is_ours() {
    [ -n "$1" ] && tr '\0' '\n' <"/proc/$1/cmdline" 2>/dev/null | grep -cxF "$BENCHFS_CLUSTER.key" >/dev/null
}

end_servers() {
    local pid
    for pid in $(server_pids); do
        is_ours "$pid" && kill -KILL "$pid" 2>/dev/null
    done
}

cleanup() {
    local status=$?
    trap '' INT TERM
    end_servers
    rm -rf -- "$work"
    exit "$status"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# ok NAME COMMAND...: one case; the command's output is shown when it fails.
ok() {
    local name=$1
    shift
    number=$((number + 1))
    if "$@" >"$work/.output" 2>&1; then
        echo "ok $number - $name"
    else
        failed=$((failed + 1))
        echo "not ok $number - $name"
        sed 's/^/# /' "$work/.output"
    fi
}

# exits STATUS PATTERN COMMAND...: for ok: exit status, and a line of standard output that matches
exits() {
    local expected=$1 pattern=$2 status=0
    shift 2
    timeout 60 "$@" >"$work/.stdout" 2>"$work/.stderr" || status=$?
    cat "$work/.stdout" "$work/.stderr"
    [ "$status" -eq "$expected" ] || { echo "exit status $status, expected $expected"; return 1; }
    grep -c -- "$pattern" "$work/.stdout" >/dev/null || { echo "no match for: $pattern"; return 1; }
}

# fails STATUS PATTERN COMMAND...: for ok: the command must exit with STATUS and say one line that matches on standard error.
fails() {
    local expected=$1 pattern=$2 status=0
    shift 2
    "$@" >"$work/.stdout" 2>"$work/.stderr" || status=$?
    cat "$work/.stdout" "$work/.stderr"
    if [ "$status" -ne "$expected" ]; then
        echo "exit status $status, expected $expected"
        return 1
    fi
    if [ "$(wc -l <"$work/.stderr")" -ne 1 ]; then
        echo "not one line on standard error"
        return 1
    fi
    grep -q -- "$pattern" "$work/.stderr" || { echo "no match for: $pattern"; return 1; }
}

# within SECONDS COMMAND...: for ok: the command must be done in time, whatever it returns.
within() {
    local limit=$1 begin=$SECONDS
    shift
    timeout --kill-after=5 "$((limit + 5))" "$@"
    echo "took $((SECONDS - begin)) s"
    [ $((SECONDS - begin)) -le "$limit" ]
}

finish() {
    echo "1..$number"
    [ "$failed" -eq 0 ]
    exit
}
