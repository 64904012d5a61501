"""What a task keeps for its next try: a directory and values. What it says of how far it has come.

The executor has both: it fills the directory when that is first asked for, and keeps it where this process
can't.
"""

from __future__ import annotations

import contextlib
import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dagbok.exceptions import SupervisorError
from dagbok.runtime.values import from_json, to_json

if TYPE_CHECKING:
    from dagbok.runtime.supervisor import Supervisor


class Checkpoint:
    """A task's own directory and values in a run, over its tries; each copy of a mapped task has its own.

    `save` keeps the directory as it is at that moment, whole or not at all. After a try that ended badly the
    last save stands; where the task never saves, what lies there at the end. All is gone once the task has
    succeeded.
    """

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor
        self._path: Path | None = None
        self._values: dict[str, str] = {}

    def _open(self) -> Path:
        if self._path is None:
            answer = self._supervisor.ask({"type": "GetCheckpoint"})
            self._values = dict(answer["values"])
            self._path = Path(answer["path"])
        return self._path

    @property
    def path(self) -> Path:
        """The directory, with what the try before left in it."""
        return self._open()

    def save(self) -> bool:
        """Keep the directory now; whether that was done. Where it was not, the log says why."""
        self._open()
        return bool(self._supervisor.ask({"type": "SaveCheckpoint"})["kept"])

    def get(self, key: str, default: Any = None) -> Any:
        """Return a value; `default` where there is none."""
        self._open()
        text = self._values.get(key)
        return default if text is None else from_json(json.loads(text))

    def set(self, key: str, value: Any) -> bool:
        """Set a value that JSON has; whether it is kept. Where it is not, the log says why."""
        if not isinstance(key, str) or not key:
            raise TypeError(f"the key of a checkpoint's value is text, not {key!r}")
        text = json.dumps(to_json(value, f"the value `{key}`"), allow_nan=False, ensure_ascii=False)
        return self._change(key, text)

    def delete(self, key: str) -> None:
        """Take a value away; nothing is done where there is none."""
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
    """Tells how far a task has come: a few words at once, then one a second. The last one is always told."""

    BURST = 10
    EVERY = 1.0

    def __init__(self, supervisor: Supervisor, clock: Callable[[], float] = time.monotonic) -> None:
        self._supervisor, self._clock = supervisor, clock
        self._left, self._at = float(self.BURST), clock()
        self._last: tuple[float, str | None] | None = None
        self._untold = False

    def say(self, fraction: float, text: str | None) -> None:
        """Take in how much is done, from 0 to 1, and what people read beside it."""
        if isinstance(fraction, bool) or not isinstance(fraction, int | float):
            raise TypeError(f"progress is a number from 0 to 1, not {fraction!r}")
        if math.isnan(fraction) or not 0 <= fraction <= 1:
            raise ValueError(f"progress goes from 0 to 1, and {fraction!r} is not between")
        if text is not None and not isinstance(text, str):
            raise TypeError(f"what is said of a progress is text, not {text!r}")
        word = (float(fraction), text)
        if word == self._last:
            return
        self._last, self._untold = word, True
        now = self._clock()
        self._left = min(float(self.BURST), self._left + (now - self._at) / self.EVERY)
        self._at = now
        if self._left >= 1:
            self._left -= 1
            self.tell()

    def tell(self) -> None:
        """Tell the last word, where it was passed over."""
        if self._untold and self._last is not None:
            fraction, text = self._last
            self._untold = False
            self._supervisor.ask({"type": "SetProgress", "fraction": fraction, "text": text})

    def end(self) -> None:
        """Tell the last word; what became of the task is told even where that can't be."""
        with contextlib.suppress(SupervisorError):
            self.tell()
