"""Signals of a try: its timeout and the word to end, raised in the main thread and in no other.

An exception raised in the middle of a frame would leave the stream torn, so it waits while the main
thread is inside `held`; what other threads do with the stream holds nothing back.
"""

from __future__ import annotations

import os
import select
import signal
import threading
from collections.abc import Callable
from types import FrameType, TracebackType

from dagbok.exceptions import AirflowTaskTerminated, AirflowTaskTimeout

_main = threading.main_thread().ident
_depth = 0
_waiting: BaseException | None = None
_wake: int | None = None
_listener: Callable[[BaseException], None] | None = None


def in_main_thread() -> bool:
    """Whether the caller runs in the thread that signals interrupt."""
    return threading.get_ident() == _main


def after_fork() -> None:
    """Say that this process's only thread is its main one; whoever forked it may have been another."""
    global _main, _wake
    _main = threading.get_ident()
    if _wake is not None:
        os.close(_wake)
        _wake = None


class _Held:
    """`with held:` holds signals back in the main thread; in others it does nothing."""

    def __enter__(self) -> None:
        global _depth
        if in_main_thread():
            _depth += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        global _depth
        if in_main_thread():
            _depth -= 1
            raise_waiting()


held = _Held()


def raise_waiting() -> None:
    """Raise what was held back, where nothing holds it any more."""
    if _depth == 0:
        check()


def check() -> None:
    """Raise what was held back, here and now: nothing is torn by it."""
    global _waiting
    if _waiting is not None:
        waiting, _waiting = _waiting, None
        raise waiting


def wait_readable(fd: int) -> None:
    """Wait until there is something to read; a signal that is held back ends the wait of the main thread."""
    global _wake
    if not in_main_thread():
        return
    if _wake is None:
        _wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    poll.register(_wake, select.POLLIN)
    check()
    while all(ready == _wake for ready, _ in poll.poll()):
        os.eventfd_read(_wake)
        check()


def listen(listener: Callable[[BaseException], None] | None) -> None:
    """Have every interruption told to `listener` before it is raised; None takes that back."""
    global _listener
    _listener = listener


def _interrupt(error: BaseException) -> None:
    global _waiting
    if _listener is not None:
        _listener(error)
    if _depth:
        if _waiting is None:
            _waiting = error
        if _wake is not None:
            os.eventfd_write(_wake, 1)
        return
    raise error


def on_terminate(signum: int, frame: FrameType | None) -> None:
    """Raise in the task that it was told to end; a second signal changes nothing."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    _interrupt(AirflowTaskTerminated("the task was told to end by SIGTERM"))


def arm_timeout(seconds: float) -> None:
    """Raise AirflowTaskTimeout in the task after so many seconds."""

    def on_alarm(signum: int, frame: FrameType | None) -> None:
        _interrupt(AirflowTaskTimeout(f"the task ran longer than its execution_timeout of {seconds:g} s"))

    signal.signal(signal.SIGALRM, on_alarm)
    signal.setitimer(signal.ITIMER_REAL, max(seconds, 0.000001))


def disarm_timeout() -> None:
    """Take the timeout back."""
    signal.setitimer(signal.ITIMER_REAL, 0)


def reopen() -> None:
    """Undo `shut`; for rehearsals before the fork."""
    global _depth, _waiting
    _depth, _waiting = 0, None


def shut() -> None:
    """From here on no signal interrupts: the result is being told."""
    global _depth, _waiting
    signal.setitimer(signal.ITIMER_REAL, 0)
    _depth += 1
    _waiting = None
