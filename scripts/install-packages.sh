#!/bin/bash
# Installs the Debian packages that BenchFS needs and that are missing.
#
#     scripts/install-packages.sh [build|check]
#
# build (the default): what the programs need; check: also what the tests need. Prints what it does. Uses apt-get as root or
# through sudo; when it cannot install, names the missing packages and exits with 1. This file holds the only list.
set -euo pipefail

build_packages=(
    gcc g++ meson ninja-build pkg-config
    libucx-dev liburing-dev libxxhash-dev libsodium-dev libjansson-dev libtomlplusplus-dev libfuse3-dev libisal-dev libpmem2-dev
    librocksdb-dev libmicrohttpd-dev
    node-d3-axis node-d3-scale node-d3-selection node-d3-shape
)
check_packages=(
    clang libcmocka-dev mandoc fuse3 fio git rsync python3 sqlite3 openmpi-bin libopenmpi-dev
    attr stress-ng dbench chromium chromium-driver xfsprogs
)

case "${1:-build}" in
build) wanted=("${build_packages[@]}") ;;
check) wanted=("${build_packages[@]}" "${check_packages[@]}") ;;
*)
    echo "usage: $0 [build|check]" >&2
    exit 2
    ;;
esac

if ! command -v dpkg-query >/dev/null; then
    echo "install-packages: this is not a Debian system (no dpkg-query). Provide what these Debian packages hold," >&2
    echo "then call meson directly (see README.md): ${wanted[*]}" >&2
    exit 1
fi

missing=()
for package in "${wanted[@]}"; do
    status=$(dpkg-query --show --showformat='${db:Status-Status}' "$package" 2>/dev/null || true)
    [ "$status" = installed ] || missing+=("$package")
done
if [ ${#missing[@]} -eq 0 ]; then
    echo "install-packages: all ${#wanted[@]} packages are installed"
    exit 0
fi

give_up() {
    echo "install-packages: $1. Install these packages yourself, then try again:" >&2
    echo "    apt-get install ${missing[*]}" >&2
    exit 1
}

as_root=()
if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null || give_up "not root, and there is no sudo"
    as_root=(sudo)
    [ -t 0 ] || as_root=(sudo -n) # nobody is there to type a password
fi
command -v apt-get >/dev/null || give_up "there is no apt-get"

install() {
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=120 -qq -y \
        --no-install-recommends install "${missing[@]}" >/dev/null
}

echo "install-packages: installing ${missing[*]}"
# The package lists may be empty or out of date; they are fetched only if the installation needs them.
if ! install 2>/dev/null; then
    echo "install-packages: apt-get update"
    "${as_root[@]}" apt-get -o DPkg::Lock::Timeout=120 -qq update || give_up "apt-get update failed"
    install || give_up "apt-get install failed"
fi
echo "install-packages: done"
