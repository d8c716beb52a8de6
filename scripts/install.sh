#!/bin/bash
# Installs what scripts/build.sh built below $PREFIX, which may be relative to the current directory.
set -euo pipefail
prefix=$(realpath -m -- "${PREFIX:-/usr/local}")
cd "$(dirname "$0")/.."

if ! mkdir -p -- "$prefix" 2>/dev/null || [ ! -w "$prefix" ]; then
    echo "install: cannot write to \"$prefix\": choose another directory with PREFIX=, or become root" >&2
    exit 1
fi

# Files such as benchfs.pc name the prefix, so it is part of the configuration.
if ! output=$(meson configure build "-Dprefix=$prefix" -Dlibdir=lib && ninja -C build 2>&1); then
    echo "$output" >&2
    exit 1
fi
meson install -C build --no-rebuild --quiet
echo "install: BenchFS is in $prefix (bin, lib, include, share/man); add $prefix/bin to PATH"
