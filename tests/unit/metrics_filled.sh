#!/bin/bash
# Every metric of metrics/region.h is filled by code: one that nobody fills would be told as 0 for ever.
# Usage: metrics_filled.sh SOURCE-ROOT
set -euo pipefail
cd "$1/src"

mapfile -t metrics < <(sed -n 's/^    M(\([A-Z_]*\), ".*/\1/p' metrics/region.h)
echo "1..${#metrics[@]}"
number=0
for metric in "${metrics[@]}"; do
    number=$((number + 1))
    if grep -rqE --include='*.c' --include='*.h' --exclude=region.h \
        "(metrics_(add|set|set_peak)\(.*|metrics_set_peak.*|\? |: |counters\[)METRIC_$metric\b" .; then
        echo "ok $number - $metric"
    else
        echo "not ok $number - $metric is filled by nobody: remove it from metrics/region.h or fill it"
    fi
done
[ "$number" -gt 20 ]
