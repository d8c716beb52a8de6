#!/bin/bash
# libbenchfs.so exports exactly what benchfs.h declares. Usage: exports.sh LIBRARY HEADER
set -euo pipefail

echo "1..1"
declared=$(grep -oE '\bbenchfs_[a-z0-9_]+\(' "$2" | tr -d '(' | sort -u)
exported=$(nm -D --defined-only "$1" | awk '$2 != "A" { print $3 }' | sed 's/@.*//' | sort -u)
if [ "$declared" = "$exported" ]; then
    echo "ok 1 - exports"
else
    diff <(echo "$declared") <(echo "$exported") | sed 's/^/# /'
    echo "not ok 1 - exports (< declared, > exported)"
fi
