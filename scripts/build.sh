#!/bin/bash
# Installs missing packages and builds the programs, without the tests, into build/.
set -euo pipefail
cd "$(dirname "$0")/.."

scripts/install-packages.sh build
if [ ! -f build/build.ninja ]; then
    echo "build: meson setup build"
    meson setup build -Dtests=false >build-setup.log 2>&1 || {
        cat build-setup.log
        rm -rf build build-setup.log
        exit 1
    }
    rm -f build-setup.log
fi
echo "build: compiling (ninja -C build)"
ninja -C build --quiet
