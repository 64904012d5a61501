"""The end of a try's process that has nothing left to run.

Such a try is over at its last word, and reported then: what its process still does is to give back its
memory, which takes as long as many a task. It says so by telling what it has used. Where a thread, a
process below it or a callback may still run and write, its end is waited for.
"""

from __future__ import annotations

import os
import resource
import sys
from typing import NoReturn

from dagbok.runtime.processes import Children


def used() -> dict[str, int] | None:
    """Return what the process has used in all, where nothing is left to run but its own end; else None."""
    flush()
    if not _is_alone():
        return None
    own, below = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return {
        "max_rss_bytes": max(own.ru_maxrss, below.ru_maxrss) * 1024,
        "user_us": round((own.ru_utime + below.ru_utime) * 1_000_000),
        "system_us": round((own.ru_stime + below.ru_stime) * 1_000_000),
    }


def leave() -> NoReturn:
    """End at once, all that is open closed before: a port or a lock is free when the end is heard of.

    The executor hears of it by the standard streams and the log's, so the standard streams come last.
    """
    for fd in sorted(map(int, os.listdir("/proc/self/fd")), reverse=True):
        os.closerange(fd, fd + 1)
    os._exit(0)


def flush() -> None:
    """Write out what the standard streams hold, as far as they can be written to."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError, AttributeError):
            continue


def _is_alone() -> bool:
    """Whether there is no other thread here, and no process below that anybody could hear of."""
    try:
        if len(os.listdir("/proc/self/task")) > 1:
            return False
        children = Children()
        try:
            return not children.pids()
        finally:
            children.close()
    except OSError:
        return False  # nobody can tell
