#!/usr/bin/env python3
"""Runs `benchfs top` on a pseudo terminal of 80 x 24: it must fit, obey its keys, and leave the terminal as it was.

Usage: top_terminal.py BENCHFS
"""
import fcntl, os, pty, re, select, signal, struct, sys, termios, time, unicodedata

ENTER, LEAVE = b"\x1b[?1049h", b"\x1b[?1049l"


def start(program):
    pid, fd = pty.fork()
    if pid == 0:
        os.environ["TERM"] = "xterm"
        os.execvp(program, [program, "top", "--interval", "100ms"])
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    return pid, fd


def read_until(fd, wanted, seconds=20):
    """Everything up to and with the first match of a pattern."""
    got, end = b"", time.monotonic() + seconds
    while not re.search(wanted, got):
        left = end - time.monotonic()
        assert left > 0, f"no {wanted!r} in {got[-2000:]!r}"
        if select.select([fd], [], [], left)[0]:
            try:
                piece = os.read(fd, 65536)
            except OSError:
                piece = b""
            assert piece, f"ended before {wanted!r}: {got[-2000:]!r}"
            got += piece
    return got


def wait(pid):
    end = time.monotonic() + 20
    while time.monotonic() < end:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.01)
    os.kill(pid, signal.SIGKILL)
    raise AssertionError("it does not end")


def lines_of(frame):
    text = re.sub(rb"\x1b\[[?0-9;]*[A-Za-z]", b"", frame.split(b"\x1b[H")[-1])
    return [line for line in text.split(b"\r\n")]


def check_end(fd, pid, before, how):
    rest = read_until(fd, re.escape(LEAVE))
    assert b"\x1b[?25h" in rest, how + ": the cursor stays hidden"
    assert termios.tcgetattr(fd)[:4] == before, how + ": modes are not put back"
    status = wait(pid)
    assert status == 0, f"{how}: exit status {status}"


def columns(line):
    return sum(1 + (unicodedata.east_asian_width(letter) in "WF") for letter in line.decode())


def main():
    program = sys.argv[1]
    for how in ("q", "SIGTERM", "SIGINT"):
        pid, fd = start(program)
        before = termios.tcgetattr(fd)[:4]
        frame = read_until(fd, rb"q quit")
        assert ENTER in frame and b"SRV" in frame and b"OPERATION" in frame, frame
        frame = read_until(fd, rb"SRV[\s\S]*q quit")
        lines = lines_of(frame)
        assert len(lines) <= 24 and max(map(columns, lines)) <= 80, lines
        os.write(fd, b"c")
        read_until(fd, rb"PROCESS/THREAD")
        os.write(fd, b"c")
        read_until(fd, rb"SRV")
        os.write(fd, b"p")
        read_until(fd, rb"PAUSED")
        if how == "q":
            os.write(fd, b"q")
        else:
            os.kill(pid, getattr(signal, how))
        check_end(fd, pid, before, how)
        os.close(fd)
    # What fills a line stays whole: nothing may be erased behind it, where the cursor stands on the last column.
    pid, fd = start(program)
    frame = read_until(fd, rb"SRV[\s\S]*q quit")
    assert b"\x1b[K\n" not in frame and b"\x1b[K\r\n" not in frame, frame
    os.write(fd, b"qq")
    wait(pid)
    os.close(fd)
    # A terminal that goes away ends it as well.
    pid, fd = start(program)
    read_until(fd, rb"q quit")
    os.close(fd)
    wait(pid)


main()
