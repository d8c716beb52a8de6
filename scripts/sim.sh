#!/bin/bash
# A campaign of the simulator tests (tests/sim): every program under many seeds, which takes as long as it takes and is
# therefore no part of "make check". Run it by "make sim-test SEEDS=n [FIRST=seed]". Without FIRST it begins at the time of
# day in seconds since 1970, so that no two campaigns are the same. Prints failures with the command that replays them.
set -uo pipefail
cd "$(dirname "$0")/.."

seeds=${SEEDS:-100}
first=${FIRST:-$(date +%s)}
scripts/install-packages.sh check || exit 1
scripts/configure.sh build-sim || exit 1
programs=(chaos crash locks promises replay shared survive trees turns)
ninja -C build-sim --quiet "${programs[@]/#/tests/sim/sim_}" || exit 1

failed=0
for program in "${programs[@]}"; do
    "build-sim/tests/sim/sim_$program" "$first" "$seeds" || failed=1
done
exit "$failed"
