"""Python logging of a try: a JSON object a line on a descriptor of its own."""

from __future__ import annotations

import datetime as dt
import io
import json
import logging
import os
import sys

from dagbok.masking import mask
from dagbok.text import cut
from dagbok.tracebacks import user_traceback

LEVEL_VARIABLES = ("AIRFLOW__LOGGING__LOGGING_LEVEL", "DAGBOK_LOGGING_LEVEL")
MAX_EVENT = 256 * 1024


class JsonLines(logging.Handler):
    """Writes each record at once; a log that can't be written never fails the task."""

    def __init__(self) -> None:
        super().__init__()
        self.fd = 2

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record."""
        try:
            line = json.dumps(describe(record)).encode() + b"\n"
        except Exception:
            self.handleError(record)
            return
        view = memoryview(line)
        try:
            while view:
                view = view[os.write(self.fd, view) :]
        except OSError:
            return


def describe(record: logging.LogRecord) -> dict[str, object]:
    """Return a record as the fields of a line."""
    fields: dict[str, object] = {
        "timestamp": dt.datetime.fromtimestamp(record.created, dt.UTC).isoformat().replace("+00:00", "Z"),
        "level": record.levelname.lower(),
        "logger": record.name,
        "event": _cut(mask(record.getMessage())),
        "filename": record.filename,
        "lineno": record.lineno,
    }
    if record.exc_info and record.exc_info[1] is not None:
        fields["exception"] = _cut(mask(user_traceback(record.exc_info[1])))
    if record.stack_info:
        fields["stack"] = _cut(mask(record.stack_info))
    return fields


def _cut(text: str) -> str:
    return cut(text, MAX_EVENT)


def level() -> int:
    """Return the level that the environment asks for, INFO otherwise."""
    for name in LEVEL_VARIABLES:
        value = logging.getLevelName(os.environ.get(name, "").upper())
        if isinstance(value, int):
            return value
    return logging.INFO


_handler = JsonLines()


def install() -> None:
    """Make ours the root logger's handler, in the place of any that write to the standard streams.

    Done before the fork: the child only says where to write.
    """
    root = logging.getLogger()
    streams = {sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__}
    for handler in list(root.handlers):
        if handler is _handler or getattr(handler, "stream", None) in streams:
            root.removeHandler(handler)
    root.addHandler(_handler)
    root.setLevel(level())
    logging.captureWarnings(True)


def send_to(fd: int) -> None:
    """Send records to this descriptor from now on."""
    _handler.fd = fd


class MaskedText(io.TextIOWrapper):
    """A standard stream that masks secrets. One that falls into two writes is the executor's to mask."""

    def write(self, text: str) -> int:
        """Write text without the secrets in it."""
        return super().write(mask(text))


def mask_streams() -> None:
    """Put masking streams in the place of Python's own; what else stands there stays.

    Done before the fork, since a fork that makes them copies a hundred pages. They are made over a pipe,
    which a try's descriptors are: a stream keeps what it found of its descriptor when it was made.
    """
    for name, fd in (("stdout", 1), ("stderr", 2)):
        stream = getattr(sys, name)
        if type(stream) is io.TextIOWrapper:
            stream.flush()
            setattr(sys, name, _over_a_pipe(stream, fd))


def _over_a_pipe(like: io.TextIOWrapper, fd: int) -> MaskedText:
    ends = os.pipe()
    before = os.dup(fd)
    try:
        os.dup2(ends[1], fd)
        buffer = io.BufferedWriter(io.FileIO(fd, "wb", closefd=False))
        return MaskedText(buffer, like.encoding, like.errors, line_buffering=like.line_buffering)
    finally:
        os.dup2(before, fd)
        for one in (before, *ends):
            os.close(one)
