#!/bin/bash
# Installs missing packages and builds the programs, without the tests, into build/.
set -euo pipefail
cd "$(dirname "$0")/.."

scripts/install-packages.sh build
[ -f build/build.ninja ] || echo "build: meson setup build"
scripts/configure.sh build -Dtests=false
echo "build: compiling (ninja -C build)"
ninja -C build --quiet
