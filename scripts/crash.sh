#!/bin/bash
# The crash matrix (tests/crash) with as many crashes as are asked for, which is far more than "make check" has time for. Run it
# by "make crash-test [CRASHES=n] [CRASH_SEED=n] [FILES=n] [ENGINES='file uring']": CRASHES (4000) in all, the same number for each engine,
# level of durability and number of servers. Then FILES (10000000) small files are made, and a sparse one. What fails prints its seed and keeps its directories.
set -uo pipefail
cd "$(dirname "$0")/.."

crashes=${CRASHES:-4000}
read -ra engines <<<"${ENGINES:-file uring pmem rocksdb tiered:file tiered:uring tiered:uring:file tiered:pmem:uring}"
scripts/install-packages.sh check || exit 1
scripts/configure.sh build-crash || exit 1
ninja -C build-crash --quiet src/server/benchfsd tests/crash/crash_{matrix,plain} || exit 1

failed=0
each=$((crashes / (8 * ${#engines[@]})))
[ "$each" -gt 0 ] || each=1
export BENCHFSD=build-crash/src/server/benchfsd
for engine in "${engines[@]}"; do
    for servers in 1 3; do
        # On a device groups take their time, in memory they come close together.
        export CRASH_DIRECTORY=/tmp
        [ "$servers" -eq 1 ] || CRASH_DIRECTORY=/dev/shm
        build-crash/tests/crash/crash_matrix "$engine" "$servers" "$each" || failed=1
    done
done
# In a small file's inode; engines share the journal, but for rocksdb.
for engine in "${engines[@]}"; do
    case $engine in
    file | rocksdb) build-crash/tests/crash/crash_plain "$engine" "${FILES:-10000000}" || failed=1 ;;
    esac
done
exit "$failed"
