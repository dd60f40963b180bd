"""Strace on a fork: what a change asks of the system, and one of these calls killed, refused or cut short.

The fork opens its index, says so and waits; strace attaches itself; then the change runs. So what is traced and counted is the
change alone, and not Python's start.
"""

import contextlib
import os
import re
import shutil
import subprocess
from dataclasses import dataclass

from forks import ended, fork

WRITES = "pwrite64,pwritev,writev"
TRACED = f"{WRITES},write,lseek,fsync,fdatasync,ftruncate,truncate,openat,rename,renameat,renameat2,unlink,unlinkat,mkdir,rmdir"
PR_SET_PTRACER, ANY = 0x59616D61, -1


@dataclass(frozen=True)
class Call:
    """A call that succeeded.

    Attributes:
        name: of the system call.
        number: from 1: the how manieth of its name it is, as strace counts for its injections.
        arguments: as strace prints them, with -y and -xx.
        result: what it returned.
    """

    name: str
    number: int
    arguments: str
    result: str


def why_not():
    """Why nothing can be traced here, or None."""
    if shutil.which("strace") is None:
        return "strace is not installed"
    done = subprocess.run(["strace", "-o", "/dev/null", "true"], capture_output=True, text=True, check=False)
    return f"strace may not trace here: {done.stderr.strip()[-200:]}" if done.returncode else None


def traced(change, log, inject=None, data=0):
    """What a fork ends with that was traced.

    Args:
        change: called with a function that it calls when it is ready to be traced; it runs in the fork.
        log: file for what is traced.
        inject: strace's description of a call that fails, such as "fdatasync:error=EIO:when=2".
        data: bytes of data to print of each call.
    """
    (ready, say_ready), (go, say_go) = os.pipe(), os.pipe()

    def action():
        with contextlib.suppress(Exception):  # where a tracer has to be the parent of what it traces
            import ctypes

            ctypes.CDLL(None).prctl(PR_SET_PTRACER, ANY, 0, 0, 0)

        def begin():
            os.write(say_ready, b"x")
            assert os.read(go, 1) == b"x"

        return change(begin)

    child = fork(action)
    os.close(say_ready)
    try:
        if os.read(ready, 1) != b"x":
            return ended(child)
        rule = ["-e", f"inject={inject}"] if inject else []
        shown = ["-xx", "-s", str(data)] if data else []
        command = ["strace", "-f", "-y", *shown, "-e", f"trace={TRACED}", *rule, "-o", str(log), "-p", str(child)]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as strace:
            assert "attached" in strace.stderr.readline()
            os.write(say_go, b"x")
            strace.stderr.read()
        return ended(child)
    finally:
        for end in (ready, go, say_go):
            os.close(end)


_LINE = re.compile(r"^\d+ +(\w+)\((.*)\) += (-?\d+|\?)[^\n]*$")


def calls(log):
    """All calls of a log that succeeded, in order."""
    counts, found = {}, []
    for line in log.read_text().splitlines():
        match = _LINE.match(line)
        if match is None:
            continue
        name, arguments, result = match.groups()
        counts[name] = counts.get(name, 0) + 1
        if not result.startswith(("-", "?")):
            found.append(Call(name, counts[name], arguments, result))
    return found
