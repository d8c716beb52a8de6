#!/bin/bash
# Engines that reach a device through a file system, on those that people have: each program that is given runs on xfs, ext4 and
# tmpfs, made for it in a file of TMPDIR and mounted where only this script sees it. What cannot be made or mounted here
# (no root, no loop device, no mkfs) is skipped.
# Usage: store_file_systems.sh PROGRAM...
set -uo pipefail
work=$(mktemp -d "${TMPDIR:-/tmp}/benchfs-test-XXXXXX")
mounted=
cleanup() {
    [ -z "$mounted" ] || umount "$work/mnt" || umount -l "$work/mnt"
    rm -rf -- "$work"
}
if [ "${STORE_FILE_SYSTEMS_INSIDE:-}" != yes ]; then
    rmdir "$work"
    # Mounts go with the last process of their namespace, however that ends.
    if unshare --mount --propagation private true 2>/dev/null; then
        STORE_FILE_SYSTEMS_INSIDE=yes exec unshare --mount --propagation private "$0" "$@"
    fi
    echo "1..0 # SKIP cannot mount here"
    exit 0
fi
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# prepare KIND: mounts one at $work/mnt.
prepare() {
    mkdir -p "$work/mnt"
    case $1 in
    tmpfs) mount -t tmpfs -o size=1g none "$work/mnt" ;;
    *)
        command -v "mkfs.$1" >/dev/null && truncate -s 1G "$work/image" && "mkfs.$1" -q "$work/image" && mount -t "$1" -o loop "$work/image" "$work/mnt"
        ;;
    esac >"$work/why" 2>&1 && mounted=yes
}

number=0
failed=0
echo "1..$((3 * $#))"
for kind in xfs ext4 tmpfs; do
    prepare "$kind"
    for program in "$@"; do
        number=$((number + 1))
        line="$number - ${program##*/} on $kind"
        if [ -z "$mounted" ]; then
            echo "ok $line # SKIP cannot be made or mounted here: $(tail -1 "$work/why")"
        elif STORE_DIRECTORY=$work/mnt timeout 100 "$program" >"$work/output" 2>&1; then
            echo "ok $line"
        else
            failed=$((failed + 1))
            echo "not ok $line"
            grep -aE 'FAILED|ERROR|LINE' "$work/output" | sed 's/^/# /'
        fi
    done
    [ -z "$mounted" ] || umount "$work/mnt" || exit 1
    mounted=
    rm -f "$work/image"
done
[ "$failed" -eq 0 ]
