"""Airflow's log lines as the executor keeps them: exceptions as text, the rest behind the message."""

from __future__ import annotations

import io
import json
import os
from typing import Any

from dagbok.exact import part
from dagbok.masking import mask
from dagbok.text import cut

Json = dict[str, Any]
LONGEST = 256 * 1024
KEPT = ("timestamp", "level", "logger", "filename", "lineno")
# What the executor knows of its try, and would stand in each line again.
KNOWN = frozenset(
    (
        *KEPT,
        *("event", "error_detail", "exception", "loc", "func_name", "pathname"),
        *("ti", "ti_id", "task_instance_id", "dag_id", "task_id", "run_id", "try_number", "map_index"),
    )
)


class Lines(io.RawIOBase):
    """A binary stream for structlog, which writes a JSON object a line to it."""

    def __init__(self, fd: int) -> None:
        super().__init__()
        self._fd = fd
        self._rest = b""

    def writable(self) -> bool:
        """Whether it can be written to."""
        return True

    def write(self, data: Any, /) -> int:
        """Take bytes, and pass each whole line on."""
        data = bytes(data)
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            if line:
                self._pass_on(line)
        return len(data)

    def _pass_on(self, line: bytes) -> None:
        try:
            said = json.loads(line)
            told = json.dumps(told_of(said)).encode() if isinstance(said, dict) else line
        except ValueError:
            told = line
        view = memoryview(told + b"\n")
        try:
            while view:
                view = view[os.write(self._fd, view) :]
        except OSError:
            return  # a log that can't be written never fails the task


def told_of(said: Json) -> Json:
    """Return a line in our own fields."""
    fields: Json = {name: said[name] for name in KEPT if said.get(name) is not None}
    place = said.get("loc")
    if isinstance(place, str) and "filename" not in fields:
        file, _, line = place.rpartition(":")
        fields["filename"] = file
        if line.isdigit():
            fields["lineno"] = int(line)
    more = " ".join(f"{name}={value}" for name, value in said.items() if name not in KNOWN)
    event = str(said.get("event", ""))
    fields["event"] = cut(mask(f"{event} {more}" if more else event), LONGEST)
    exception = _traceback(said.get("error_detail") or said.get("exception"))
    if exception:
        fields["exception"] = cut(mask(str(exception)), LONGEST)
    return fields


def _traceback(details: Any) -> str:
    """Return structlog's description of exceptions as Python prints them, the last one raised last."""
    if not isinstance(details, list):
        return str(details or "")
    parts = []
    for one in reversed([one for one in details if isinstance(one, dict)]):
        lines = ["Traceback (most recent call last):"]
        for frame in one.get("frames") or ():
            name, number = frame.get("filename"), frame.get("lineno")
            lines.append(f'  File "{name}", line {number}, in {frame.get("name")}')
        lines.append(f"{one.get('exc_type')}: {one.get('exc_value')}")
        parts.append("\n".join(lines))
    return "\n\n".join(parts)


def configure(fd: int) -> None:
    """Have Airflow's logging, and Python's, write to a descriptor of the executor's."""
    configure_logging = part("airflow.sdk.log").configure_logging
    configure_logging(json_output=True, output=Lines(fd), sending_to_supervisor=True)
