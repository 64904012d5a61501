"""Signals of a try: its timeout and the word to end, held back while a frame is under way.

An exception raised in the middle of a frame would leave the stream torn, so it waits for the frame's end.
"""

from __future__ import annotations

import signal
from types import FrameType, TracebackType

from dagbok.exceptions import AirflowTaskTerminated, AirflowTaskTimeout

_depth = 0
_waiting: BaseException | None = None


class _Held:
    """`with held:` holds signals back."""

    def __enter__(self) -> None:
        global _depth
        _depth += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        global _depth, _waiting
        _depth -= 1
        if _depth == 0 and _waiting is not None:
            waiting, _waiting = _waiting, None
            raise waiting


held = _Held()


def _interrupt(error: BaseException) -> None:
    global _waiting
    if _depth:
        if _waiting is None:
            _waiting = error
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
