#!/bin/bash
# Larger programs: git, python3, compilers, fio, MPI. One that is not installed is skipped.
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

on cp -a "$TREE" /benchfs/tree

# ---- git ----

have git && ok "git init, add, commit" script 'git config --global user.email a@b; git config --global user.name n; git init -q repo;
    cp -r tree repo/; cd repo; git add .; git commit -qm one; test -z "$(git status --short)"'
have git && ok "git clone, fsck, gc" script 'git clone -q repo clone; diff -r repo/tree clone/tree; cd clone; git fsck --full; git gc -q;
    git fsck --full; echo x >new; git add new; git commit -qm two; test "$(git log --oneline | wc -l)" = 2'

# ---- python ----

cat >"$work/p.py" <<'END'
import mmap, os, shutil, subprocess, tempfile
assert os.getcwd() == "/benchfs"
with open("p", "w") as f: f.write("hello\n" * 10000)
with open("p") as f: assert f.read() == "hello\n" * 10000
with open("p", "rb") as f, mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ) as m: assert m[6:11] == b"hello"
shutil.copytree("tree", "py", symlinks=True)
assert sorted(os.listdir("py")) == sorted(os.listdir("tree"))
assert sum(len(f) for _, _, f in os.walk("py")) == sum(len(f) for _, _, f in os.walk("tree"))
shutil.rmtree("py")
with open("q", "w") as f: subprocess.run(["sh", "-c", "echo out; echo err >&2"], stdout=f, stderr=f, check=True)
assert open("q").read() == "out\nerr\n"
assert subprocess.check_output(["cat"], stdin=open("q")) == b"out\nerr\n"
subprocess.run(["test", "-f", "link"], cwd="tree/deep", check=True)
with tempfile.TemporaryDirectory(dir=".") as d, tempfile.NamedTemporaryFile(dir=d) as t:
    t.write(b"x"); t.flush(); assert os.stat(t.name).st_size == 1
fd = os.open("p", os.O_RDWR); os.ftruncate(fd, 5); assert os.pread(fd, 9, 0) == b"hello"; os.close(fd)
os.symlink("p", "sl"); assert os.readlink("sl") == "p" and os.path.realpath("sl") == "/benchfs/p"
os.rename("p", "p2"); os.utime("p2", (1, 2)); assert os.stat("p2").st_mtime == 2; os.remove("p2"); os.remove("sl")
END
[ -x /usr/bin/python3 ] && ok "python3" script '/usr/bin/python3 "$W/p.py"'

# ---- locks ----

have sqlite3 && ok "sqlite3, several writers" script 'sqlite3 db "create table t(a)"; for i in 1 2 3; do sqlite3 -cmd ".timeout 20000" db \
    "insert into t values($i)" & done; wait; test "$(sqlite3 db "select count(*) from t; pragma integrity_check")" = "$(printf "3\nok")"'
ok "a lock ends with its program" script 'flock lk true; flock -n lk true; flock lk sh -c "! flock -n lk true"'

# ---- compiling ----

cat >"$work/h.c" <<'END'
#include <stdio.h>
#include "n.h"
int main(int c, char **v) { printf("%s %d\n", c > 1 ? v[1] : "", N); return 0; }
END
cat >"$work/h.cc" <<'END'
#include <fstream>
#include <iostream>
struct S { S() { std::cout << "before main\n"; } } s;
int main() { std::cout << "cout" << std::endl; std::ofstream("o") << 42 << "\n"; int n = 0; std::ifstream("o") >> n; std::cout << n << "\n"; }
END
ok "gcc and make" script 'mkdir build; cd build; cp "$W/h.c" .; echo "#define N 5" >n.h; printf "h: h.c n.h\n\tcc -o h h.c\n" >Makefile;
    make -s; test "$(./h a)" = "a 5"; make -q'
ok "a program inside, by PATH and as interpreter" script 'cd build; PATH=/benchfs/build:$PATH; test "$(h b)" = "b 5";
    printf "#!/benchfs/build/h c\n" >sc; chmod +x sc; test "$(./sc)" = "c 5"; printf "#!/bin/sh\necho \$0 \$1\n" >sh; chmod +x sh;
    test "$(./sh x)" = "/benchfs/build/./sh x" -o "$(./sh x)" = "./sh x"; ! ./n.h 2>/dev/null'
ok "C++ streams, redirected before main" script 'cd build; c++ -o hh "$W/h.cc"; ./hh >out; printf "before main\ncout\n42\n" | cmp - out'

# ---- fio ----

have fio && ok "fio verifies what it wrote" script 'fio --name=v --rw=randrw --bs=4k --size=2m --filename=/benchfs/fio --ioengine=psync --verify=crc32c \
    --output=/dev/null'
have fio && ok "libaio is refused" script '! fio --name=a --rw=write --bs=4k --size=64k --filename=/benchfs/fio --ioengine=libaio >fio.out 2>&1;
    grep -q "Operation not permitted" fio.out'

# ---- MPI ----

mpi() {
    mpicc -o "$work/mpi" "$(dirname "$0")/ranks.c" || return 1
    timeout 60 mpirun --allow-run-as-root --oversubscribe --bind-to none -n 3 -x "LD_PRELOAD=$PRELOAD" -x BENCHFS_CLUSTER \
        "$work/mpi" /benchfs/mpi /benchfs/mpi-io
}
have mpirun && ok "MPI ranks write one file" mpi

finish
