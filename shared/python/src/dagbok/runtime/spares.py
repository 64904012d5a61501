"""A spare: a process forked ahead of the try that it will be, so that a hand-off does not wait for a fork.

It is the zygote's fork like any other and has done what no try's inputs are needed for: it leads a
session of its own, and where there is time has rehearsed a try. It waits on a socket for the executor's
word, with which it becomes that try.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import NoReturn

from dagbok.runtime import child, processes, rehearsal
from dagbok.runtime.control import Control, Message
from dagbok.runtime.runner import FindDag

# With more tries at once the next comes before a spare is done: to fork it ahead only costs.
MOST_RUNNING = 1
# The longest that is waited for its time to be over, in seconds: a poll counts milliseconds, in 32 bits.
LONGEST = 3600.0

# How long one lets those run whose turn it is before it rehearses, in milliseconds.
REST = 4
_READY = b"ready"


@dataclass
class Spare:
    """A process that waits to become a try."""

    pid: int
    line: socket.socket
    since: float


class Spares:
    """The spare of one zygote that has loaded a DAG file.

    It is kept for so many seconds with nothing to do; with 0 there is none.
    """

    def __init__(self, kept_for: float, find_dag: FindDag) -> None:
        self._kept_for = kept_for
        self._find_dag = find_dag
        self._there: Spare | None = None
        self._ended: set[int] = set()
        self._is_wanted = False

    @property
    def pids(self) -> set[int]:
        """The process, and those that were told to end and nobody has waited for yet."""
        return self._ended if self._there is None else {self._there.pid, *self._ended}

    def take(self, message: Message) -> int | None:
        """Have the spare become the message's try; return its pid, None where none is ready."""
        spare = self._there
        if spare is None or not _is_ready(spare):
            return None
        self._there = None
        try:
            socket.send_fds(spare.line, [message.raw], message.fds)
        except OSError:
            self._kill(spare)  # it has ended, or does not read
            return None
        spare.line.close()
        return spare.pid

    def want(self) -> None:
        """Say that there is to be one, once there is time for it."""
        self._is_wanted = self._kept_for > 0

    def make(self, running: int, leave: Callable[[], None]) -> int | None:
        """Fork one where it is wanted and there is time for it; return its pid.

        In the child `leave` closes what is the zygote's, and nothing returns.
        """
        if not self._is_wanted or running > MOST_RUNNING:
            return None
        self._is_wanted = False
        if self._there is not None:
            return None
        parent = os.getpid()
        try:
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        except OSError:
            return None  # the try is forked when it comes, or is told why not
        try:
            pid = os.fork()
        except OSError:
            ours.close()
            theirs.close()
            return None
        if pid == 0:
            ours.close()
            leave()
            _be_spare(theirs, parent, self._find_dag)
        theirs.close()
        ours.setblocking(False)
        self._there = Spare(pid, ours, time.monotonic())
        return pid

    def leave(self) -> None:
        """Close, in a forked child, what is the zygote's."""
        if self._there is not None:
            self._there.line.close()

    def keep(self) -> None:
        """Keep it from now on for as long again: a try has ended, whose successor may follow."""
        if self._there is not None:
            self._there.since = time.monotonic()

    def patience(self) -> float | None:
        """Seconds until it was kept long enough; None where there is none."""
        if self._there is None:
            return None
        return min(LONGEST, max(0.0, self._there.since + self._kept_for - time.monotonic()))

    def trim(self) -> None:
        """End it where nobody has needed it."""
        if self._there is not None and time.monotonic() >= self._there.since + self._kept_for:
            self._kill(self._there)
            self._there = None

    def forget(self, pid: int) -> None:
        """Take note that a process has ended, which may have been one."""
        self._ended.discard(pid)
        if self._there is not None and self._there.pid == pid:
            self._there.line.close()
            self._there = None

    def end(self) -> None:
        """End all, and wait for that."""
        if self._there is not None:
            self._kill(self._there)
            self._there = None
        for pid in self._ended:
            os.waitpid(pid, 0)

    def _kill(self, spare: Spare) -> None:
        processes.kill_group(spare.pid, signal.SIGKILL)
        spare.line.close()
        self._ended.add(spare.pid)


def _is_ready(spare: Spare) -> bool:
    """Whether it has said so. What is not read would be an error of its line once that is closed."""
    try:
        return spare.line.recv(len(_READY)) == _READY
    except OSError:
        return False  # not yet, or it has ended


def _be_spare(line: socket.socket, parent: int, find_dag: FindDag) -> NoReturn:
    """Wait for the word, rehearse where there is time, and be the try."""
    try:
        child.separate(parent)
        line.send(_READY)
        control = Control(line.detach())
        poll = select.poll()
        poll.register(control.fd, select.POLLIN)
        if not poll.poll(REST):
            rehearsal.again_unheard()
            poll.poll()
        message = control.receive()
        control.close()
        if message is None:
            os._exit(0)
    except BaseException:
        sys.excepthook(*sys.exc_info())
        os._exit(child.EXIT_INTERNAL)
    child.run_and_exit(message, parent, find_dag, is_separate=True)
