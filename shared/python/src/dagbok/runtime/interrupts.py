"""Signals of a try: its timeout and the word to end, raised in the main thread and in no other.

An exception raised in the middle of a frame would leave the stream torn, so it waits while the main
thread is inside `held`; what other threads do with the stream holds nothing back.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import TYPE_CHECKING

from dagbok.exceptions import AirflowTaskTerminated, AirflowTaskTimeout

if TYPE_CHECKING:
    import select

_main = threading.main_thread().ident
_depth = 0
_waiting: BaseException | None = None
# Whether the main thread waits for the first byte of an answer: nothing is torn there.
_between = False
_listener: Callable[[BaseException], None] | None = None


def in_main_thread() -> bool:
    """Whether the caller runs in the thread that signals interrupt."""
    return threading.get_ident() == _main


def after_fork() -> None:
    """Say that this process's only thread is its main one; whoever forked it may have been another."""
    global _main
    _main = threading.get_ident()


class _Held:
    """`with held:` holds signals back in the main thread; in others it does nothing."""

    def __enter__(self) -> None:
        if in_main_thread():
            hold()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if in_main_thread():
            release()


held = _Held()


def hold() -> None:
    """Hold signals back; for the main thread, which calls `release` after it."""
    global _depth
    _depth += 1


def release() -> None:
    """Take a `hold` back; where nothing else holds, raise what was held back."""
    global _depth
    _depth -= 1
    if _depth == 0 and _waiting is not None:
        check()


def check() -> None:
    """Raise what was held back, here and now: nothing is torn by it."""
    global _waiting
    if _waiting is not None:
        waiting, _waiting = _waiting, None
        raise waiting


def wait_readable(poll: select.poll) -> None:
    """Wait until there is something to read; a signal ends the main thread's wait if no one else holds it.

    It is raised in here: whoever waits for the first byte of an answer has read nothing of it yet.
    """
    global _between
    if _depth == 1:
        check()
        _between = True
        try:
            poll.poll()
        finally:
            _between = False
    else:
        poll.poll()


def listen(listener: Callable[[BaseException], None] | None) -> None:
    """Have every interruption told to `listener` before it is raised; None takes that back."""
    global _listener
    _listener = listener


def _interrupt(error: BaseException) -> None:
    global _waiting
    if _listener is not None:
        _listener(error)
    if _depth == 0 or _between:
        raise error
    if _waiting is None:
        _waiting = error


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
