# Sourced by the tests of the preload library, after cluster.sh: in DIRECTORY of a BenchFS below /benchfs.
# PRELOAD names libbenchfs_preload.so.
. "$(dirname "$0")/../cluster/cluster.sh"

# on COMMAND...: runs it with the library.
on() {
    LD_PRELOAD=$PRELOAD timeout --kill-after=5 60 "$@"
}

# script TEXT [ARGUMENT...]: runs it in bash, with the library, in /benchfs.
script() {
    on bash -c "set -e; cd /benchfs; $1" script "${@:2}"
}

# prints EXPECTED COMMAND...: for ok: the command must succeed and write exactly that.
prints() {
    local expected=$1 got status=0
    shift
    got=$("$@") || status=$?
    [ "$status" -eq 0 ] || { echo "exit status $status; printed: $got"; return 1; }
    [ "$got" = "$expected" ] || { printf 'printed: %s\nexpected: %s\n' "$got" "$expected"; return 1; }
}

benchfs start -n "${SERVERS:-1}" --set client.deadline=10s >/dev/null || exit 1
