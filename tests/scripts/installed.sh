#!/bin/bash
# What "meson install" installs works from where it lies: programs, library, header, pkg-config file, manual.
# Usage: installed.sh SOURCE-ROOT BUILD-ROOT PREFIX LIBDIR
set -euo pipefail
directory=$(mktemp -d "${TMPDIR:-/tmp}/benchfs installed XXXXXX")
root=$directory$3
library=$root/$4
export BENCHFS_CLUSTER=$directory/cluster.json
unset BENCHFS_SERVERS BENCHFS_CONFIG

cleanup() {
    [ ! -e "$BENCHFS_CLUSTER" ] || "$root/bin/benchfs" stop >/dev/null || true
    rm -rf "$directory" "${preload:-}"
}
trap cleanup EXIT

number=0
# check WHAT COMMAND...
check() {
    number=$((number + 1))
    if "${@:2}" >"$directory/output" 2>&1; then
        echo "ok $number - $1"
    else
        sed 's/^/# /' "$directory/output"
        echo "not ok $number - $1"
    fi
}

compile() {
    local flags
    flags=$(PKG_CONFIG_PATH=$library/pkgconfig pkg-config --define-variable=prefix=/PREFIX --cflags --libs benchfs)
    # shellcheck disable=SC2086 # flags are words; the prefix, which holds spaces, is put in afterwards
    set -- $flags
    ${CC:-cc} "$source_root/tests/scripts/installed.c" "${@//\/PREFIX/$root}" -o "$directory/hello"
}

says_hello() {
    [ "$(LD_LIBRARY_PATH=$library "$directory/hello")" = hello ] && [ "$("$root/bin/benchfs" cat /hello)" = hello ]
}

# Every call has a page of its name, and is described in the page that it refers to.
documents_calls() {
    local calls call
    calls=$(grep -oE '\bbenchfs_[a-z0-9_]+\(' "$root/include/benchfs.h" | tr -d '(' | sort -u)
    [ "$(wc -w <<<"$calls")" -gt 30 ] || return 1
    for call in $calls; do
        grep -q 'libbenchfs\.3' "$root/share/man/man3/$call.3" && grep -qE "\b$call\b" "$root/share/man/man3/libbenchfs.3" || {
            echo "$call is not documented"
            return 1
        }
    done
}

source_root=$1
preload=$(mktemp -u "${TMPDIR:-/tmp}/benchfs-preload-XXXXXX.so") # the loader takes spaces for separators
ln -s "$library/libbenchfs_preload.so" "$preload"
echo "1..9"
check "install" meson install -C "$2" --no-rebuild --destdir "$directory"
check "manual pages" test -s "$root/share/man/man1/benchfs.1" -a -s "$root/share/man/man3/libbenchfs.3" \
    -a -s "$root/share/man/man5/benchfs.toml.5" -a -s "$root/share/man/man8/benchfsd.8"
check "a manual page for every call" documents_calls
check "example configuration is valid, start" \
    "$root/bin/benchfs" start -n 2 -c "$root/share/doc/benchfs/benchfs.toml.example"
check "status" "$root/bin/benchfs" status
check "a program compiles against the library" compile
check "it runs" says_hello
check "an unmodified program through the preload library" env LD_PRELOAD="$preload" test -s /benchfs/hello
check "stop" "$root/bin/benchfs" stop
