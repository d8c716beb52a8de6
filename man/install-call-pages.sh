#!/bin/bash
# Lets "man benchfs_open" find libbenchfs(3): installs, for every call that the header declares, a page that refers to it.
# Run by "meson install". Usage: install-call-pages.sh HEADER MANDIR
set -euo pipefail
case $2 in
/*) pages=${DESTDIR:-}$2/man3 ;;
*) pages=$MESON_INSTALL_DESTDIR_PREFIX/$2/man3 ;;
esac

mkdir -p "$pages"
grep -oE '\bbenchfs_[a-z0-9_]+\(' "$1" | tr -d '(' | sort -u | while read -r call; do
    echo '.so man3/libbenchfs.3' >"$pages/$call.3"
done
