#!/bin/bash
# configure.sh DIRECTORY MESON-ARGUMENTS...
#
# Sets a build directory up unless it is. Says something only if that fails; then there is no directory.
set -uo pipefail
directory=$1
shift
[ ! -f "$directory/build.ninja" ] || exit 0
rm -rf "$directory"
log=$(meson setup "$directory" "$@" 2>&1) && exit 0
printf '%s\n' "$log"
rm -rf "$directory"
exit 1
