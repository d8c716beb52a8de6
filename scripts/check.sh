#!/bin/bash
# Builds BenchFS in every way that matters and runs all tests:
#
#     gcc, warnings are errors      tests
#     clang, warnings are errors    build only, and not optimised
#     gcc, ASan and UBSan           tests, but for the crash matrix: the simulator has the same inside
#     gcc, TSan                     the tests in which threads meet: library, mount, transports
#
# The last line is "N passed, N failed, N skipped", counted over all runs in single test cases; a build that fails is
# one failure. Exits with 1 if anything failed. Build directories are build-check-NAME.
set -uo pipefail
cd "$(dirname "$0")/.."

scripts/install-packages.sh check || exit 1

logs=()
failed_builds=()
processes=$((2 * $(nproc))) # many tests wait for devices or for time to pass

# setup NAME MESON-ARGUMENTS...: configures and builds, but for programs that only tests of the suites in without run.
without=()
setup() {
    local name=$1 directory=build-check-$1 targets=()
    shift
    echo "== $name: build"
    scripts/configure.sh "$directory" "$@" || return 1
    if [ ${#without[@]} -gt 0 ]; then
        mapfile -t targets < <(scripts/targets-without.py "$directory" "${without[@]}")
    fi
    ninja -C "$directory" --quiet ${targets[@]+"${targets[@]}"}
}

# run NAME MESON-TEST-ARGUMENTS...
run() {
    local name=$1 directory=build-check-$1
    shift
    echo "== $name: tests"
    rm -f "$directory/meson-logs/testlog.json"
    meson test -C "$directory" --no-rebuild --print-errorlogs --num-processes "$processes" "$@"
    logs+=("$directory/meson-logs/testlog.json")
}

# gcc takes the null checks that UBSan adds for possible values and warns of them; the first build has all warnings. -Og and
# lines without variables compile in half the time of -O1 -g; the tests take a twentieth longer.
sanitizer_arguments=(--buildtype=plain -Doptimization=g -Ddebug=false -Db_lundef=false
    "-Dc_args=-g1 -Wno-format-overflow -Wno-format-truncation -Wno-nonnull" -Dcpp_args=-g1)
export UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1
# die_after_fork: benchmarks start helpers while the thread that shows progress runs.
export TSAN_OPTIONS=halt_on_error=1:second_deadlock_stack=1:die_after_fork=0

# Tests wait for devices and for time to pass; meanwhile clang compiles.
if CC=gcc CXX=g++ setup gcc -Dwerror=true; then
    log=$(mktemp)
    CC=clang CXX=clang++ setup clang --buildtype=plain -Doptimization=0 -Dwerror=true >"$log" 2>&1 &
    clang=$!
    run gcc -t 2
    wait "$clang" || failed_builds+=(clang)
    cat "$log"
    rm "$log"
else
    failed_builds+=(gcc)
fi
if CC=gcc CXX=g++ setup asan "${sanitizer_arguments[@]}" -Db_sanitize=address,undefined; then
    run asan -t 4 --no-suite benchfs:crash
else
    failed_builds+=(asan)
fi
# With one thread there is nothing for TSan to find. Those of benchmarks' programs are in their unit tests.
without=(sim single fuzz crash cluster conformance bench)
if CC=gcc CXX=g++ setup tsan "${sanitizer_arguments[@]}" -Db_sanitize=thread; then
    run tsan -t 4 "${without[@]/#/--no-suite=benchfs:}"
else
    failed_builds+=(tsan)
fi

for name in ${failed_builds[@]+"${failed_builds[@]}"}; do
    echo "== $name: build FAILED"
done
exec scripts/count-tests.py --failed "${#failed_builds[@]}" ${logs[@]+"${logs[@]}"}
