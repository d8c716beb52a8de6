#!/bin/bash
# Programs that torture file systems, for longer than "make check" lets them: on a mount, and random operations of several
# clients, and under each consistency mode, under many seeds. Run it by "make stress [SECONDS_EACH=n] [SEEDS=n] [FIRST=seed]": SECONDS_EACH (30) for each program. Without
# FIRST the seeds begin at the time of day in seconds since 1970. STRESS_ONLY='expression' runs those of the programs whose names match it.
set -uo pipefail
cd "$(dirname "$0")/.."

seeds=${SEEDS:-10}
first=${FIRST:-$(date +%s)}
scripts/install-packages.sh check || exit 1
scripts/configure.sh build-stress || exit 1
ninja -C build-stress --quiet || exit 1

failed=0
STRESS_SECONDS=${SECONDS_EACH:-30} tests/stress/stress.sh build-stress/src/cli build-stress/src/server || failed=1
for seed in $(seq "$first" $((first + seeds - 1))); do
    BENCHFSD=build-stress/src/server/benchfsd CONFORMANCE_SEED=$seed CONFORMANCE_STEPS=5000 \
        build-stress/tests/posix/conformance/library_model 3 || failed=1
done
BENCHFSD=build-stress/src/server/benchfsd build-stress/tests/posix/posix_modes 3 "$first" "$((10 * seeds))" || failed=1
exit "$failed"
