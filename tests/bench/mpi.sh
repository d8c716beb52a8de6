#!/bin/bash
# Load from the ranks of MPI: what is measured is the sum of all ranks', and one that fails ends all, with one line.
# Usage: mpi.sh LIBRARY RANKS PROGRAM-DIRECTORY...
export BENCHFS_MPI_LIBRARY=$1
ranks=$2
shift 2
. "$(dirname "$0")/../cluster/cluster.sh"
export TMPDIR=$work/tmp
mkdir "$TMPDIR" "$work/files"
unset OMPI_COMM_WORLD_SIZE OMPI_COMM_WORLD_RANK PMI_SIZE PMI_RANK PMIX_RANK SLURM_STEP_NUM_TASKS SLURM_PROCID

same() { [ "$1" = "$2" ] || { echo "\"$1\" is not \"$2\""; return 1; }; }
nothing_left() { same "$(ls -A "$1")" ""; }
mpi() { timeout 60 mpirun --allow-run-as-root --oversubscribe --bind-to none --mca btl self,vader -n 3 "$@"; }
# What the program itself says, once; mpirun has its own words for a job that failed. Ranks that find the same wrong at the
# same moment all say so. On a busy machine mpirun may drop the last words of a job that it ends: then it is asked again.
said() {
    local status line
    for _ in 1 2 3; do
        mpi "$@" >"$work/out" 2>"$work/err"
        status=$?
        line=$(cat "$work/out")$(grep '^benchfs' "$work/err" | uniq)
        [ -z "$line" ] || break
    done
    echo "$status $line"
}

if ! mpi true >/dev/null 2>&1; then
    echo "1..0 # SKIP mpirun does not run here"
    exit 0
fi
expected=$(for bytes in 0 60; do
    echo "3 ranks: 21 operations, $bytes bytes, 21 latencies from 100 to 600, median 500"
done)
ok "totals are those of all ranks" same "$(said "$ranks" totals)" "0 $expected"
mapfile -t gathered < <(mpi "$ranks" gather | sort -u)
ok "numbers, warnings and time series of all" same "${gathered[*]}" "3 20, all first, rank 0, all last, rank 1, rank 2;\
 0.10 s: 60 op/s, 240 KiB/s; 0.20 s: 60 op/s, 240 KiB/s; 0.30 s: 60 op/s, 240 KiB/s; 0.47 s: 17665 op/s, 70659 KiB/s"
ok "counters of all" same "$(said "$ranks" relay)" "0 all was relayed"
ok "a worker's failure ends all" same "$(said "$ranks" fail)" "1 benchfs bench test: member 3 has had enough"
ok "also those who do not wait" same "$(said "$ranks" alarm)" "1 benchfs bench test: member 3 has had enough"
ok "a killed worker, too" same "$(said "$ranks" die)" "1 benchfs bench test: a worker was ended by signal 9"
ok "a rank that goes another way, too" same "$(said "$ranks" different | tail -c +3)" "benchfs bench test: rank 1 goes another way"
ok "one rank by force" same "$("$ranks" forced | head -1)" "1 ranks: 3 operations, 0 bytes, 3 latencies from 100 to 200, median 200"

ok "md from ranks" mpi benchfs bench md --files 20 --repeats 1 --processes 2 --output "$work/lines" --target "posix:$work/files"
results=$(tr -d ' ' <"$work/lines" | grep '"type":"result"')
ok "one result a phase" same "$(wc -l <<<"$results")" 6
ok "of all ranks" same "$(grep -c '"ranks":3' <<<"$results")" 6
ok "their operations" same "$(grep '"phase":"create"' <<<"$results" | grep -o '"operations":[0-9]*' | head -1)" '"operations":120'
ok "no file is left" nothing_left "$work/files"
benchfs start -n 2 --set store.capacity=64MiB --set metrics.shared=false >/dev/null
ok "md on a cluster" mpi benchfs bench md --files 20 --repeats 2 --output "$work/stages"
benchfs stop >/dev/null
made=$(grep '"phase":"create"' "$work/stages")
ok "its stages are of all ranks" same "$(grep -o '"CREATE_FILE":{"count":[0-9]*' <<<"$made")" '"CREATE_FILE":{"count":120'
served=$(($(grep -o '"id":[01],"requests":[0-9]*' <<<"$made" | cut -d: -f3 | paste -sd+)))
ok "its servers have served them" [ "$served" -ge 120 ]
# Each process of the trace takes up what the one before it made, so every rank waits for another.
{
    echo '{"type":"trace","format":1}'
    for i in $(seq 0 29); do
        before=$((i - 1))
        [ "$i" = 0 ] || echo '{"t":'$i'0,"process":'$((i % 3))',"op":"rename","path":"/d/f'$before'","new_path":"/d/f'$i'"}'
        [ "$i" != 0 ] || printf '%s\n' '{"t":0,"process":0,"op":"mkdir","path":"/d"}' \
            '{"t":1,"process":0,"op":"open","path":"/d/f0","fd":3,"flags":"wcx"}' \
            '{"t":2,"process":0,"op":"write","fd":3,"offset":0,"length":100}' '{"t":3,"process":0,"op":"close","fd":3}'
    done
} >"$work/trace"
ok "a trace is replayed by ranks that wait for each other" mpi benchfs bench replay --trace "$work/trace" --repeats 3 \
    --target "posix:$work/files" --output "$work/replayed"
ok "all of it" same "$(grep '"phase":"all"' "$work/replayed" | grep -o '"operations":[0-9]*,"bytes":[0-9]*,"errors":[0-9]*')" \
    '"operations":99,"bytes":300,"errors":0'
ok "nothing is left of it" nothing_left "$work/files"
ok "a cluster that rank 0 starts" eval 'mpi benchfs bench io --size 4KiB --total 64KiB --repeats 1 --target benchfs:servers=1 | grep -c fill >/dev/null'
ok "none is left" nothing_left "$TMPDIR"
ok "a target that is not there" same "$(said benchfs bench md --target posix:/nonexistent)" \
    "2 benchfs bench md: target posix:/nonexistent: not a directory that can be used: No such file or directory"
ok "wrong usage" same "$(said benchfs bench md --files 0 | cut -c1-40)" "2 benchfs bench md: option --files takes"
ok "what is no load" same "$(said benchfs bench hash)" "2 benchfs bench hash: measures one process: start it without mpirun"
step=(env SLURM_STEP_NUM_TASKS=2)
ok "tasks of srun that are no ranks" fails 2 'srun --mpi=pmix' "${step[@]}" SLURM_PROCID=0 benchfs bench md --target "posix:$work/files"
ok "only the first of them says so" same "$("${step[@]}" SLURM_PROCID=1 benchfs bench md --target "posix:$work/files" 2>&1)$?" 2
BENCHFS_MPI_LIBRARY=/nonexistent
ok "without the library" fails 2 'cannot load libbenchfs_mpi.so' env OMPI_COMM_WORLD_SIZE=2 benchfs bench md
finish
