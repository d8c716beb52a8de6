#!/bin/bash
# Installs what scripts/build.sh built below $PREFIX, which may be relative to the current directory.
set -euo pipefail
prefix=$(realpath -m -- "${PREFIX:-/usr/local}")
cd "$(dirname "$0")/.."

# Files such as benchfs.pc name the prefix, so it is part of the configuration.
meson configure build "-Dprefix=$prefix" >/dev/null
ninja -C build --quiet
if ! mkdir -p -- "$prefix" 2>/dev/null || [ ! -w "$prefix" ]; then
    echo "install: cannot write to \"$prefix\": choose another directory with PREFIX=, or become root" >&2
    exit 1
fi
meson install -C build --no-rebuild --quiet
echo "install: BenchFS is in $prefix (bin, lib, include, share/man); add $prefix/bin to PATH"
