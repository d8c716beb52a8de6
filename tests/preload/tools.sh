#!/bin/bash
# The usual tools on a real tree: what each writes is compared with what it writes elsewhere. A tool that is not installed is
# skipped.
SERVERS=2
. "$(dirname "$0")/preload.sh"

have() {
    command -v "$1" >/dev/null && return 0
    number=$((number + 1))
    echo "ok $number - $1 # SKIP not installed"
    return 1
}

mkdir -p "$work/tree/deep/er"
cp -r /usr/include/linux/netfilter* "$work/tree/" 2>/dev/null
for i in 1 2 3 4 5 6 7 8; do seq $((i * 1000)) >"$work/tree/deep/er/numbers.$i"; done
ln -s er/numbers.1 "$work/tree/deep/link"
chmod 640 "$work/tree/deep/er/numbers.2"
head -c 3000000 /dev/urandom >"$work/tree/large"
export TREE=$work/tree W=$work HOME=/benchfs GIT_CONFIG_NOSYSTEM=1

# ---- coreutils ----

ok "cp -a, diff" script 'cp -a "$TREE" tree; diff -r --no-dereference "$TREE" tree'
ok "cp -a keeps modes and times" script 'cd tree; find . -type f -printf "%P %m %T@\n" | sort >../there; cd "$TREE";
    find . -type f -printf "%P %m %T@\n" | sort | cmp - /benchfs/there'
ok "sort -o over its input" script 'sort -rn tree/deep/er/numbers.3 >s; sort -n -o s s; cmp s tree/deep/er/numbers.3'
ok "split and cat" script 'mkdir parts; split -b 700000 tree/large parts/p; cat parts/p* | cmp - tree/large'
ok "head, tail, wc" script 'test "$(tail -n 1 s)" = 3000; test "$(tail -c 5 s)" = 3000; test "$(head -n 2 s | wc -l)" = 2'
ok "dd with seek and skip" script 'dd if=tree/large of=dd bs=1000 skip=5 seek=3 count=10 2>/dev/null;
    test "$(stat -c %s dd)" = 13000; cmp <(tail -c +3001 dd) <(tail -c +5001 tree/large | head -c 10000)'
ok "truncate, stat" script 'truncate -s 12345 dd; test "$(stat -c "%s %F" dd)" = "12345 regular file"'
ok "install, chmod, ln, touch" script 'install -m 751 s i; test "$(stat -c %a i)" = 751; chmod u-w i; test "$(stat -c %a i)" = 551;
    ln i hard; test "$(stat -c %h i)" = 2; ln -sf i soft; cmp soft s; touch -d 2001-02-03 s; test "$(date -r s +%F)" = 2001-02-03'
ok "mktemp" script 'test -f "$(mktemp ./XXXXXX)"; test -d "$(mktemp -d ./XXXXXX)"'
ok "du and df" script 'test "$(du -s --apparent-size tree | cut -f1)" -gt 2900; df /benchfs | grep -q /benchfs'
ok "mv and rm" script 'mv tree/deep moved; test -s moved/er/numbers.8; mv moved tree/deep; cp -r tree t2; rm -r t2; test ! -e t2'
ok "tee, xargs, find" script 'echo x | tee a b >c; cmp a c; find . -maxdepth 1 -name "[abc]" -print0 | xargs -0 rm; test ! -e a'
ok "grep -r" script 'test "$(grep -rlx 7654 tree | wc -l)" = 1'
ok "sed -i" script 'seq 10 >s; sed -i s/5/five/ s; test "$(sed -n 5p s)" = five'

# ---- archives and copies ----

ok "tar" script 'tar cf x.tar tree; mkdir x; tar xf x.tar -C x; diff -r --no-dereference tree x/tree; rm -r x'
ok "tar with gzip" script 'tar czf x.tgz tree; test "$(tar tzf x.tgz | wc -l)" = "$(find tree | wc -l)"'
have rsync && ok "rsync" script 'rsync -a tree/ r/; diff -r --no-dereference tree r; echo x >>tree/large; rsync -a tree/ r/; cmp tree/large r/large'

finish
