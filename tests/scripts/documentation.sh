#!/bin/bash
# The manual names every verb of the benchfs command, and manual and README every environment variable that the code reads.
# Usage: documentation.sh SOURCE-ROOT BENCHFS
set -euo pipefail
program=$(realpath "$2")
cd "$1"

number=0
# require FILE PATTERN WHAT
require() {
    number=$((number + 1))
    if grep -qE "$2" "$1"; then
        echo "ok $number - $3 in $1"
    else
        echo "not ok $number - $3 is missing in $1"
    fi
}

mapfile -t verbs < <("$program" --help | sed -n 's/^  \([a-z-]*\)  .*/\1/p')
mapfile -t variables < <(grep -rhoE 'getenv\("BENCHFS_[A-Z_]+"' src | grep -oE 'BENCHFS_[A-Z_]+' | sort -u)
echo "1..$((${#verbs[@]} + 2 * ${#variables[@]}))"
for verb in "${verbs[@]}"; do
    require man/benchfs.1 "^\.It Cm $verb\b" "verb $verb"
done
for variable in "${variables[@]}"; do
    require man/benchfs.1 "^\.It Ev $variable\b" "$variable"
    require README.md "\`$variable\`" "$variable"
done
[ "${#verbs[@]}" -gt 5 ] && [ "${#variables[@]}" -gt 2 ]
