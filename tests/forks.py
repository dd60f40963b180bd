"""Actions in forks of one process that has everything imported and has opened no index: LMDB does not outlive a fork.

A fork takes milliseconds where a new Python takes seconds. Invariant: the forking process is one thread; else a lock that
another thread holds would be held in the fork for ever.
"""

import os
import signal
import sys
from pathlib import Path

import m3search.indexing.builder
import m3search.indexing.writer  # noqa: F401
from m3search import retrieval
from m3search.errors import M3SearchError

FAILED, ODD = 99, 97
"""Exit codes of an action that raised an error of m3search, or another one."""


def prepare():
    """Whatever an action would otherwise do for itself, once."""
    from live_model import given

    retrieval.warm()
    given([("a", 0)])
    tasks = Path("/proc/self/task")
    assert not tasks.exists() or len(list(tasks.iterdir())) == 1, "a process with threads must not fork"


def fork(action):
    """The process in which an action runs; its exit code is what the action returns, 0 for None."""
    child = os.fork()
    if child == 0:
        code = ODD
        try:
            code = action() or 0
        except M3SearchError as error:
            code = FAILED
            sys.stderr.write(f"{type(error).__name__}: {error}\n")
        except BaseException as error:  # noqa: BLE001 - the fork ends here whatever it was
            sys.stderr.write(f"{type(error).__name__}: {error}\n")
        finally:
            sys.stderr.flush()
            os._exit(code)
    return child


def ended(child):
    """What a process ended with: minus the signal, or its exit code."""
    status = os.waitpid(child, 0)[1]
    return -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)


def in_a_fork(action):
    """What an action ends with: minus the signal, or its exit code."""
    return ended(fork(action))


def kill(child):
    """Kill a process and see that it had not ended by itself."""
    os.kill(child, signal.SIGKILL)
    assert ended(child) == -signal.SIGKILL, "it ended by itself"


def dying_at(point, calls, action):
    """The action, killed at that of its calls of functions with these names, made or returned from; it counts from 0."""
    seen = 0

    def count(frame, event, argument):
        nonlocal seen
        if event in ("c_call", "c_return") and getattr(argument, "__name__", "") in calls:
            if seen == point:
                os.kill(os.getpid(), signal.SIGKILL)
            seen += 1

    def dying():
        sys.setprofile(count)
        action()

    return dying
