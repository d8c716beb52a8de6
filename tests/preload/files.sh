#!/bin/bash
# Files, directories and links through the usual tools, and what the shell does with descriptors.
. "$(dirname "$0")/preload.sh"

ok "an empty root is listed" prints "" on ls /benchfs
ok "redirection of a builtin" script 'echo hello >a'
ok "redirection of a program" script 'date >b; test -s b'
ok "reading" prints "hello" on cat /benchfs/a
ok "input from a file" prints "hello" script 'cat <a'
ok "a builtin reads" prints "hello" script 'read -r line <a; echo "$line"'
ok "appending" prints $'hello\nworld' script 'echo world >>a; cat a'
ok "O_APPEND set by a child holds for the parent, too" prints $'first\nsecond' script '(python3 -c "import fcntl, os
fcntl.fcntl(1, fcntl.F_SETFL, os.O_WRONLY | os.O_APPEND); os.write(1, b\"first\\n\")"; echo second) >log; cat log; rm log'
ok "O_APPEND cleared by a child is cleared for the parent, too" prints "New" script 'python3 -c "import fcntl, os
fd = os.open(\"log\", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
os.write(fd, b\"Old\")
child = os.fork()
if child == 0:
    fcntl.fcntl(fd, fcntl.F_SETFL, os.O_WRONLY)
    os._exit(0)
os.waitpid(child, 0)
assert fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_APPEND == 0
os.pwrite(fd, b\"New\", 0)"; cat log; rm log'
ok "close_range of one descriptor closes no other" prints alive \
    script 'python3 -c "import os; os.closerange(0, 1); os.write(1, b\"alive\\n\")" <a'
ok "one offset for a group of commands" prints $'one\ntwo\nthree' script '(echo one; /bin/echo two; echo three) >c; cat c'
ok "one offset for subshells one after the other" prints $'1\n2\n3' script '{ (echo 1); (/bin/echo 2); echo 3; } >c; cat c'
ok "a child goes on reading where its parent stopped" prints $'2\n3' script 'printf "1\n2\n3\n" >c; { read -r x; cat; } <c'
ok "standard error too" prints "ls: cannot access '/benchfs/none': No such file or directory" \
    script 'ls /benchfs/none 2>c || true; cat c'
ok "both to one file" script '{ echo out; echo err >&2; } >c 2>&1; test "$(cat c)" = "$(printf "out\nerr")"'
ok "here-document" prints "text 42" script 'x=42; cat >c <<END
text $x
END
cat c'
ok "pipes" prints "3" script 'printf "b\na\nc\n" >c; cat c | sort | tee d | wc -l'
ok "descriptors above 2" prints $'x\ny' script 'exec 5>c; echo x >&5; /bin/echo y >&5; exec 5>&-; cat c'
ok "a descriptor read and written" prints "bcd" script 'printf abcdef >c; exec 6<>c; read -r -n 1 x <&6; read -r -n 3 y <&6; echo $y'
ok "a pattern" prints "a b c d" script 'echo ?'
ok "tests of files" script 'test -f a; test ! -e none; test -s a; mkdir dir; test -d dir; ln -s a link; test -L link; test -w a'
ok "cd and pwd" prints $'/benchfs/dir\n/benchfs/dir\n/benchfs' script 'cd dir; pwd; /bin/pwd; cd ..; /bin/pwd'
ok "cd out" prints "/" script 'cd /benchfs; cd ..; /bin/pwd'
ok "a relative path in a program started there" prints "hello" script 'cd dir; cat ../a | head -n 1'
ok "a path that leads out with .." on cmp /benchfs/../etc/passwd /etc/passwd
ok "a link that leads out" script 'ln -s /etc/passwd out; cmp out /etc/passwd; test "$(readlink out)" = /etc/passwd'
ok "a link to a directory outside" script 'ln -s /etc outdir; cmp outdir/passwd /etc/passwd; ls outdir/ >/dev/null'
ok "a link to an absolute path inside" prints "hello" script 'ln -s /benchfs/a in; head -n 1 in'
ok "a dangling link" script 'ln -s /benchfs/none gone; ! cat gone 2>/dev/null; test -L gone'
ok "double slashes" prints "hello" on head -n 1 //benchfs//a
ok "realpath" prints $'/benchfs/a\n/etc/passwd' script 'realpath in out'
ok "a name that only begins like the prefix" fails 1 "No such file" on cat /benchfsx/a
ok "a file outside is not touched" script 'echo x >"$1/outside"; test -e "$1/outside"' "$work"
ok "the outside file is there" test -s "$work/outside"
ok "moving in and out" script 'cp /etc/passwd "$1/p"; mv "$1/p" p; test ! -e "$1/p"; mv p "$1/q"; cmp "$1/q" /etc/passwd' "$work"
ok "a fifo" prints "through" script 'mkfifo fifo; echo through >fifo & cat fifo; wait; rm fifo'
ok "a fifo for two programs that redirect" prints "3" script 'mkfifo fifo; seq 3 >fifo & wc -l <fifo; wait'
cat >"$work/refused.py" <<'END'
import errno, os
def refused(flags):
    try:
        os.open("/benchfs/fifo", flags)
    except OSError as error:
        return error.errno
assert refused(os.O_WRONLY | os.O_NONBLOCK) == errno.ENXIO
assert refused(os.O_WRONLY | os.O_CREAT | os.O_EXCL) == errno.EEXIST
os.chmod("/benchfs/fifo", 0o444)
os.seteuid(65534)
assert refused(os.O_WRONLY) == errno.EACCES
END
[ -x /usr/bin/python3 ] && ok "opening a fifo is refused as ever" on /usr/bin/python3 "$work/refused.py"
ok "errors name the right cause" fails 1 "File exists" script 'mkdir dir'
ok "no cluster: one line that says so" fails 1 "benchfs start" env BENCHFS_CLUSTER="$work/none" \
    LD_PRELOAD="$PRELOAD" bash -c 'test -e /benchfs/a || test -e /benchfs/b'

ok "the kernel's fifos are its user's alone" test "$(stat -c %a "$BENCHFS_CLUSTER.fifos")" = 700
# Under consistency close: what a program has written is there for the one that takes its place, and what a program has not
# waited to close is there when it has ended.
benchfs stop >/dev/null
ok "and go with the cluster" test ! -e "$BENCHFS_CLUSTER.fifos"
benchfs start -n 1 --set cluster.consistency=close >/dev/null
ok "exec publishes" prints "text" script 'exec 5>kept; echo text >&5; exec cat kept'
ok "_exit publishes" prints "text" script 'python3 -c "import os
os.write(os.open(\"kept\", os.O_WRONLY | os.O_TRUNC), b\"text\")
os._exit(0)"; cat kept'

# What the library does on its own, in a thread that had not called it yet, is out of the program's sight.
cat >"$work/fork.py" <<'END'
import os, threading
file = os.open("/benchfs/kept", os.O_CREAT | os.O_WRONLY)
os.write(file, b"text")
new = set()
def low():
    return {int(number) for number in os.listdir("/proc/self/fd") if int(number) < 200}
def fork():
    before = low()
    child = os.fork()
    if child == 0:
        os._exit(len(low() - before))
    new.update(low() - before)
    assert os.waitpid(child, 0)[1] == 0
thread = threading.Thread(target=fork)
thread.start()
thread.join()
assert not new, new
END
[ -x /usr/bin/python3 ] && ok "a fork brings no descriptors" on /usr/bin/python3 "$work/fork.py"

# A file without a name, handed to another program by one that ends before that program uses it.
cat >"$work/heir.py" <<'END'
import os, subprocess, sys, time
def unnamed(text):
    file = os.open("/benchfs/unnamed", os.O_RDWR | os.O_CREAT | os.O_EXCL)
    os.write(file, text)
    os.unlink("/benchfs/unnamed")
    return file
def end_of(action):
    child = os.fork()
    if child == 0:
        action()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
def free():
    return os.statvfs("/benchfs").f_bfree
told, tell = os.pipe()
answer, say = os.pipe()
def bequeath():
    file = unnamed(b"text")
    subprocess.Popen([sys.executable, "-c", "import os, sys\nsys.stdin.read(); os.write(1, os.pread(int(sys.argv[1]), 9, 0))",
        str(file)], stdin=told, stdout=say, pass_fds=[file])
end_of(bequeath)
os.close(told)
os.close(say)
before = free()
end_of(lambda: unnamed(b"x" * (8 << 20)))
turns = 0
while free() < before and turns < 1000:
    time.sleep(0.005)
    turns += 1
assert turns < 1000, "what the dead held is not freed"
os.close(tell) # by now the server knows that both are dead
assert os.read(answer, 9) == b"text"
END
[ -x /usr/bin/python3 ] && ok "a file without a name is handed on by one that ends" on timeout 20 /usr/bin/python3 "$work/heir.py"

# The same by posix_spawn, whose child makes no call of the library before it is another program; its parent closes the file at
# once, and goes on.
cat >"$work/spawn.py" <<'END'
import os, sys
told, tell = os.pipe()
file = os.open("/benchfs/unnamed", os.O_RDWR | os.O_CREAT | os.O_EXCL)
os.write(file, b"text")
os.unlink("/benchfs/unnamed")
os.set_inheritable(file, True)
os.set_inheritable(told, True)
program = "import os\nos.read(%d, 1)\nassert os.pread(%d, 9, 0) == b'text'" % (told, file)
child = os.posix_spawn(sys.executable, [sys.executable, "-c", program], os.environ)
os.close(file)
free = os.statvfs("/benchfs").f_bfree
for number in range(300):
    with open("/benchfs/other", "w") as other:
        other.write("x" * 9000)
    os.unlink("/benchfs/other")
os.write(tell, b".")
assert os.waitpid(child, 0)[1] == 0
END
[ -x /usr/bin/python3 ] && ok "a file without a name is handed on by posix_spawn" on timeout 20 /usr/bin/python3 "$work/spawn.py"

# Locks of flock are the description's: they last as long as any process has it open, whoever of them has locked.
ok "a lock outlasts the program that took it" script 'exec 9>lock; flock 9; ! flock -n lock true; exec 9>&-; flock -n lock true'
ok "a lock goes with the program that was executed under it" script 'sh -c "exec 9>lock; flock 9; exec true"; flock -n lock true'
ok "a lock outlasts exec" script 'exec 9<>lock; flock 9; exec bash -c "cat <&9; ! flock -n lock true; exec 9>&-; flock -n lock true"'
cat >"$work/locker.py" <<'END'
import fcntl, os, signal, time
def lock():
    return os.open("/benchfs/lock", os.O_RDWR | os.O_CREAT)
def free():
    other = lock()
    try:
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(other)
    return True
def end_of(action):
    child = os.fork()
    if child == 0:
        action()
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
file = lock()
end_of(lambda: fcntl.flock(file, fcntl.LOCK_EX))
time.sleep(0.1) # by then the server knows that the child is dead
assert not free(), "the lock went with the child that took it"
fcntl.flock(file, fcntl.LOCK_UN)
assert free(), "whoever has the description open can unlock it"
end_of(lambda: end_of(lambda: fcntl.flock(file, fcntl.LOCK_EX)))
time.sleep(0.1)
assert not free(), "the lock went with the grandchild"
os.close(file)
assert free(), "nobody has it open"
file = lock()
told, tell = os.pipe()
child = os.fork()
if child == 0:
    os.read(told, 1)
    fcntl.flock(file, fcntl.LOCK_EX)
    os._exit(0)
os.close(file)
os.write(tell, b".")
os.waitpid(child, 0)
assert free(), "the parent had closed it before it was locked"
END
[ -x /usr/bin/python3 ] && ok "locks are the description's" on timeout 20 /usr/bin/python3 "$work/locker.py"

# Servers that count as elsewhere are reached by UCX, which has a thread of its own: a child has to get another one, and
# the program sees nothing of what that thread has open, nor does it spin.
benchfs stop >/dev/null
export UCX_TLS=tcp,self UCX_NET_DEVICES=lo
benchfs start -n 2 --set server.transports=tcp,self --set server.devices=lo >/dev/null
cat >"$work/elsewhere.py" <<'END'
import os, time
def low():
    return sum(int(number) < 200 for number in os.listdir("/proc/self/fd"))
before = low()
file = os.open("/benchfs/file", os.O_CREAT | os.O_RDWR)
os.unlink("/benchfs/file")
for size in range(1, 21):
    child = os.fork()
    if child == 0:
        os.pwrite(file, b"x", size - 1)
        os.stat("/benchfs")
        os._exit(low() != before + 1)
    assert os.waitpid(child, 0)[1] == 0
    assert os.fstat(file).st_size == size
used = time.process_time()
time.sleep(0.5)
assert time.process_time() - used < 0.25, "something spins"
assert low() == before + 1
END
[ -x /usr/bin/python3 ] && ok "children reach servers elsewhere" on /usr/bin/python3 "$work/elsewhere.py"

finish
