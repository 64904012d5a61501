"""A spare: a process forked ahead of the try that it will be, so that a hand-off does not wait for a fork.

It is the zygote's fork like any other and has done what no try's inputs are needed for: it leads a
session of its own and has rehearsed a try, and below the base zygote it has loaded a DAG file whose import
leaves threads, which no fork survives. It waits on a socket for the executor's word, with which it
becomes that try.
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

from dagbok.models import lookup
from dagbok.runtime import child, processes, rehearsal
from dagbok.runtime.control import Control, Message
from dagbok.runtime.sources import Source

# With more tries at once the next comes before a spare is done: to fork it ahead only costs.
MOST_RUNNING = 1
# How many files of the base zygote have one: what each has loaded is its own, and may be large.
MOST = 2

Name = tuple[str, str]
_READY = b"ready"


@dataclass
class Spare:
    """A process that waits to become a try."""

    pid: int
    line: socket.socket
    since: float
    # One that loads a file is worth waiting for; any other says when it is ready.
    loads: bool


class Spares:
    """The spares of one zygote: one of each source that a try was lately forked of.

    Each is kept for so many seconds with nothing to do; with 0 there are none.
    """

    def __init__(self, kept_for: float) -> None:
        self._kept_for = kept_for
        # A DAG file that puts its own code in place of ours would hear a try that is none.
        self._rehearses = kept_for > 0 and rehearsal.is_possible()
        self._there: dict[Name, Spare] = {}
        self._ended: set[int] = set()
        self._next: Source | None = None

    @property
    def pids(self) -> set[int]:
        """The processes, those among them that were told to end."""
        return self._ended.union(spare.pid for spare in self._there.values())

    def take(self, source: Source, message: Message) -> int | None:
        """Have the spare of a source become the message's try; return its pid, None where there is none."""
        spare = self._there.get(source.name)
        if spare is None or not (spare.loads or _is_ready(spare)):
            return None
        del self._there[source.name]
        try:
            socket.send_fds(spare.line, [message.raw], message.fds)
        except OSError:
            self._kill(spare)  # it has ended, or does not read
            return None
        spare.line.close()
        return spare.pid

    def want(self, source: Source) -> None:
        """Say what the next spare is to be of, once there is time for it."""
        if self._kept_for > 0:
            self._next = source

    def make(self, running: int, leave: Callable[[], None]) -> int | None:
        """Fork the spare that is wanted, where there is time for it; return its pid.

        In the child `leave` closes what is the zygote's, and nothing returns.
        """
        if self._next is None or running > MOST_RUNNING:
            return None
        source, self._next = self._next, None
        if source.name in self._there:
            return None
        while len(self._there) >= MOST:
            self._end(min(self._there, key=lambda name: self._there[name].since))
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
            _be_spare(theirs, parent, source, self._rehearses)
        theirs.close()
        ours.setblocking(False)
        self._there[source.name] = Spare(pid, ours, time.monotonic(), source.dags is None)
        return pid

    def leave(self) -> None:
        """Close, in a forked child, what is the zygote's."""
        for spare in self._there.values():
            spare.line.close()

    def keep(self) -> None:
        """Keep them from now on for as long again: a try has ended, whose successor may follow."""
        now = time.monotonic()
        for spare in self._there.values():
            spare.since = now

    def patience(self) -> float | None:
        """Seconds until a spare was kept long enough; None where there is none."""
        if not self._there:
            return None
        oldest = min(spare.since for spare in self._there.values())
        return max(0.0, oldest + self._kept_for - time.monotonic())

    def trim(self) -> None:
        """End those that nobody has needed."""
        now = time.monotonic()
        for name, spare in list(self._there.items()):
            if now >= spare.since + self._kept_for:
                self._end(name)

    def forget(self, pid: int) -> None:
        """Take note that a process has ended, which may have been one of them."""
        self._ended.discard(pid)
        for name, spare in list(self._there.items()):
            if spare.pid == pid:
                spare.line.close()
                del self._there[name]

    def end(self) -> None:
        """End all of them, and wait for that."""
        for name in list(self._there):
            self._end(name)
        for pid in self._ended:
            os.waitpid(pid, 0)

    def _end(self, name: Name) -> None:
        self._kill(self._there.pop(name))

    def _kill(self, spare: Spare) -> None:
        spare.line.close()
        processes.kill_group(spare.pid, signal.SIGKILL)
        self._ended.add(spare.pid)


def _be_spare(line: socket.socket, parent: int, source: Source, rehearses: bool) -> NoReturn:
    """Prepare what can be, wait for the word, and be the try."""
    try:
        child.separate(parent)
        find_dag = source.ahead()
        if rehearses:
            rehearsal.again()
        if lookup.asked and source.dags is None and not _has_word(line.fileno(), 0):
            os._exit(0)  # what it read of the log may be another at the time of the try
        if source.dags is not None:
            line.send(_READY)
        control = Control(line.detach())
        _has_word(control.fd, None)
        message = control.receive()
        control.close()
        if message is None:
            os._exit(0)
    except BaseException:
        sys.excepthook(*sys.exc_info())
        os._exit(child.EXIT_INTERNAL)
    child.run_and_exit(message, parent, find_dag, is_separate=True)


def _is_ready(spare: Spare) -> bool:
    """Whether it has said so. What is not read would be an error of its line once that is closed."""
    try:
        return spare.line.recv(len(_READY)) == _READY
    except OSError:
        return False  # not yet, or it has ended


def _has_word(fd: int, wait: float | None) -> bool:
    """Whether a word is there to be read, or comes in time."""
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(wait))
