#!/bin/bash
# scripts/count-tests.py counts TAP cases, whole tests, crashes and failed builds. Usage: count-tests.sh SOURCE-ROOT
set -euo pipefail
count=$1/scripts/count-tests.py
directory=$(mktemp -d)
trap 'rm -rf "$directory"' EXIT

number=0
# expect EXIT-STATUS LAST-LINE ARGUMENTS...
expect() {
    local status=0 output
    number=$((number + 1))
    output=$("$count" "${@:3}" 2>&1) || status=$?
    if [ "$status" = "$1" ] && [ "${output##*$'\n'}" = "$2" ]; then
        echo "ok $number - $2"
    else
        echo "not ok $number - expected $1 \"$2\", got $status \"$output\""
    fi
}

echo "1..7"
cd "$directory"
echo '{"name": "a", "result": "OK", "stdout": "1..3\nok 1 - x\nok 2 - y # SKIP z\nok 3 - not ok\n# ok - x\n"}' >good
echo '{"name": "b", "result": "FAIL", "stdout": "1..2\nnot ok 1 - x\nok 2\n"}' >bad
echo '{"name": "c", "result": "ERROR", "stdout": "1..9\nok 1 - x\n"}' >crash
printf '%s\n' '{"name": "d", "result": "OK"}' '{"name": "e", "result": "SKIP"}' '{"name": "f", "result": "TIMEOUT"}' >plain
expect 0 "2 passed, 0 failed, 1 skipped" good
expect 1 "3 passed, 1 failed, 1 skipped" good bad
expect 1 "1 passed, 1 failed, 0 skipped" crash
expect 1 "1 passed, 1 failed, 1 skipped" plain
expect 1 "2 passed, 2 failed, 1 skipped" --failed 2 good
expect 1 "2 passed, 1 failed, 1 skipped" good missing
expect 1 "0 passed, 0 failed, 0 skipped"
