#!/bin/bash
# Every option of base/options.h is read by code outside base/: an option that nothing reads would be silently ignored.
# Usage: base_config_readers.sh SOURCE-ROOT
set -euo pipefail
cd "$1/src"

mapfile -t options < <(sed -n 's/^OPTION(\([a-z_]*\), \([a-z_]*\),.*/\1.\2/p' base/options.h)
echo "1..${#options[@]}"
number=0
for option in "${options[@]}"; do
    number=$((number + 1))
    if grep -rqE --include='*.c' --include='*.h' --exclude-dir=base "[.>]${option/./\\.}\b" .; then
        echo "ok $number - $option"
    else
        echo "not ok $number - $option has no reader: remove it from base/options.h or read it"
    fi
done
[ "$number" -gt 0 ]
