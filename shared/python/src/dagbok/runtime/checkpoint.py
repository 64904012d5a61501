"""What a task keeps for its next try: a directory and values. What it says of how far it has come.

The executor has both: it fills the directory when that is first asked for, and keeps it where this process
can't.
"""

from __future__ import annotations

import contextlib
import json
import logging
import numbers
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dagbok.runtime.values import from_json, to_json

if TYPE_CHECKING:
    from dagbok.runtime.supervisor import Supervisor

log = logging.getLogger("airflow.task")


class Checkpoint:
    """A task's own directory and values in a run, over its tries; each copy of a mapped task has its own.

    `save` keeps the directory as it is at that moment, with the values as they are then, whole or not at all.
    After a try that ended badly the last save stands, of both; where the task never saves, what lies there
    at the end. A task that uses values alone needs no `save`: they are kept soon after they are set, and at
    the end of its try. All is gone once the task has succeeded.
    """

    def __init__(self, supervisor: Supervisor, sleep: Callable[[float], None] = time.sleep) -> None:
        self._supervisor, self._sleep = supervisor, sleep
        self._path: Path | None = None
        self._values: dict[str, str] = {}
        self._uses_directory = False

    def _open(self, directory: bool = False) -> Path:
        if self._path is None or (directory and not self._uses_directory):
            # The executor tells values together with the directory, once that is used.
            more = {"directory": True} if directory else {}
            answer = self._supervisor.ask({"type": "GetCheckpoint", **more})
            if self._path is None:
                self._values = dict(answer["values"])
            self._path = Path(answer["path"])
            self._uses_directory |= directory
        return self._path

    @property
    def path(self) -> Path:
        """The directory, with what the try before left in it.

        It lies elsewhere in each try: let nothing in it name its absolute path. Links in it that lead to
        others of its files are kept as relative ones.
        """
        return self._open(directory=True)

    def save(self, wait: bool = True) -> bool:
        """Keep the directory and the values now; whether that was done, so that they outlast this machine.

        Ten saves are done at once, and then one each five seconds; a task that has saved megabytes of values
        has fewer. One that comes sooner waits for its time, or with `wait=False` does nothing and returns
        `False`. Where nothing was kept, the log says why, and the save before stands.
        """
        self._open(directory=True)
        while True:
            answer = self._supervisor.ask({"type": "SaveCheckpoint"})
            left = answer.get("wait_ms")
            if left is None or not wait:
                return bool(answer["kept"])
            # Here, where a signal can end it and other threads may ask meanwhile.
            self._sleep(left / 1000)

    def get(self, key: str, default: Any = None) -> Any:
        """Return a value; `default` where there is none."""
        self._open()
        text = self._values.get(key)
        return default if text is None else from_json(json.loads(text))

    def set(self, key: str, value: Any) -> bool:
        """Set a value that JSON has; whether it is taken. Where it is not, the log says why.

        Once the task uses the directory, values go with that: they are kept by the next `save`, and what was
        set after the last one is gone after a bad end, as what was written to the directory is.
        """
        if not isinstance(key, str) or not key:
            raise TypeError(f"the key of a checkpoint's value is text, not {key!r}")
        text = json.dumps(to_json(value, f"the value `{key}`"), allow_nan=False, ensure_ascii=False)
        return self._change(key, text)

    def delete(self, key: str) -> None:
        """Take a value away, which is kept as `set` is; nothing is done where there is none."""
        self._open()
        if key in self._values:
            self._change(key, None)

    def _change(self, key: str, text: str | None) -> bool:
        self._open()
        kept = bool(self._supervisor.ask({"type": "SetCheckpointValue", "key": key, "value": text})["kept"])
        if text is None:
            self._values.pop(key, None)
        elif kept:
            self._values[key] = text
        return kept

    def __repr__(self) -> str:
        return f"<Checkpoint {self._path or 'not asked for yet'}>"


class Progress:
    """Tells how far a task has come: a word at once, and those that follow soon together, the newest of them.

    None is lost: one that waits is told by a thread, which is there only while words come that fast.
    """

    EVERY = 0.1
    # Of fractions, which sums of floats may overstep.
    ROUNDING = 1e-6
    # How long the end of a try waits for a word that is being told, in seconds.
    PATIENCE = 5.0

    def __init__(self, supervisor: Supervisor, clock: Callable[[], float] = time.monotonic) -> None:
        self._supervisor, self._clock = supervisor, clock
        self._last: tuple[float, str | None] | None = None
        self._untold: tuple[float, str | None] | None = None
        self._told_at: float | None = None
        self._start_anew()

    def _start_anew(self) -> None:
        """Begin with no thread that tells: a forked process has none of its parent's, and its own locks."""
        self._pid = os.getpid()
        self._lock = threading.RLock()
        self._ends = threading.Event()
        self._thread: threading.Thread | None = None

    def say(self, fraction: float, text: str | None) -> None:
        """Take in how much is done, from 0 to 1, and what people read beside it."""
        word = (_fraction(fraction, self.ROUNDING), _text(text))
        if self._pid != os.getpid():
            self._start_anew()
        with self._lock:
            if word == self._last:
                return
            self._last = self._untold = word
            if self._thread is not None:
                return
            now = self._clock()
            if self._told_at is not None and now < self._told_at + self.EVERY:
                self._start_telling()
                return
            self._told_at = now
        self._tell()

    def _start_telling(self) -> None:
        self._ends.clear()
        thread = threading.Thread(target=self._tell_each, name="dagbok-progress", daemon=True)
        # Where no thread can be had, the next word or the try's end tells.
        with contextlib.suppress(RuntimeError):
            thread.start()
            self._thread = thread

    def _tell_each(self) -> None:
        is_over = False
        while not is_over:
            is_over = self._ends.wait(self.EVERY)
            with self._lock:
                if is_over or self._untold is None:
                    self._thread, self._told_at = None, self._clock()
                    return
            self._try_to_tell()

    def _tell(self) -> None:
        with self._lock:
            word, self._untold = self._untold, None
        if word is not None:
            self._supervisor.ask({"type": "SetProgress", "fraction": word[0], "text": word[1]})

    def _try_to_tell(self) -> None:
        try:
            self._tell()
        except Exception:
            log.warning("how far the task has come can't be told", exc_info=True)

    def end(self) -> None:
        """Tell the last word; what became of the task is told even where that can't be."""
        if self._pid != os.getpid():
            self._start_anew()
        thread = self._thread
        if thread is not None:
            # A word of before that it tells just now comes before the last one.
            self._ends.set()
            thread.join(self.PATIENCE)
        self._try_to_tell()


def _fraction(said: Any, rounding: float) -> float:
    if isinstance(said, bool) or not isinstance(said, numbers.Real):
        raise TypeError(f"progress is a number from 0 to 1, not {said!r}")
    try:
        fraction = float(said)
    except OverflowError:
        fraction = float("inf")
    # NaN is not between either.
    if not -rounding <= fraction <= 1 + rounding:
        raise ValueError(f"progress goes from 0 to 1, and {said!r} is not between")
    return min(max(fraction, 0.0), 1.0)


def _text(said: Any) -> str | None:
    if said is not None and not isinstance(said, str):
        raise TypeError(f"what is said of a progress is text, not {said!r}")
    # Half of a surrogate pair has no UTF-8.
    return None if said is None else said.encode("utf-8", "replace").decode()
