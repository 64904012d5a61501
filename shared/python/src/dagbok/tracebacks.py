"""What an exception looks like to the person who wrote the DAG: their frames, not ours; file and line.

The exception may be anybody's class: nothing that it defines is relied on, and nothing that it raises, were
it `SystemExit`, comes out of here.

Secrets are masked before anything is cut: half a secret would not be known for one.
"""

from __future__ import annotations

import os
import traceback
from dataclasses import dataclass

from dagbok.installing import advice_for
from dagbok.masking import mask
from dagbok.text import cut_middle

_PACKAGE = os.path.dirname(os.path.abspath(__file__)) + os.sep
MAX_MESSAGE = 16 * 1024
MAX_TRACEBACK = 64 * 1024
MAX_LINE = 2**31 - 1


@dataclass(frozen=True)
class Report:
    """An exception in text."""

    exception: str
    message: str
    traceback: str
    file: str | None
    line: int | None


def report(error: BaseException, folder: str | None = None) -> Report:
    """Describe an exception. `file` is relative to the folder where it lies inside."""
    file, line = place(error, folder)
    return Report(
        _name(type(error)),
        shortened(mask(safe_text(error) + advice_for(error))),
        shortened(mask(user_traceback(error)), MAX_TRACEBACK),
        file,
        line,
    )


def _name(kind: type) -> str:
    """Return a class's name with its module, but for builtins and our own."""
    try:
        module, name = str(kind.__module__), str(kind.__qualname__)
    except BaseException:
        module, name = "builtins", type.__dict__["__name__"].__get__(kind)
    ours = module in {"builtins", "__main__"} or module.split(".")[0] == "dagbok"
    return _clean(name if ours else f"{module}.{name}")


def _clean(text: str) -> str:
    """Return text that UTF-8 can say."""
    return str.encode(text, "utf-8", "backslashreplace").decode()


def safe_text(error: BaseException) -> str:
    """Return str(error), whatever its `__str__` does."""
    try:
        return _clean(str(error))
    except BaseException as inner:
        return f"<{_name(type(error))} whose text can't be had: {_name(type(inner))}>"


def safe_repr(value: object) -> str:
    """Return repr(value), whatever its `__repr__` does."""
    try:
        return _clean(repr(value))
    except BaseException as inner:
        return f"<{_name(type(value))} whose text can't be had: {_name(type(inner))}>"


def user_traceback(error: BaseException) -> str:
    """Return the traceback with the chain of causes, our own and the import system's frames cut."""
    try:
        whole = traceback.TracebackException.from_exception(error, compact=True)
        waiting: list[traceback.TracebackException | None] = [whole]
        while waiting:
            part = waiting.pop()
            if part is None:
                continue
            part.stack = traceback.StackSummary.from_list(
                [frame for frame in part.stack if is_users(frame.filename)]
            )
            waiting += [part.__cause__, part.__context__, *(part.exceptions or ())]
        return _clean("".join(whole.format()))
    except BaseException:
        return f"{_name(type(error))}: {safe_text(error)}\n"


def is_users(filename: str) -> bool:
    """Whether a frame is neither ours nor the import system's."""
    return not filename.startswith((_PACKAGE, "<frozen importlib", "<frozen zipimport", "<frozen runpy"))


def place(error: BaseException, folder: str | None) -> tuple[str | None, int | None]:
    """Return the innermost place inside the folder, else the innermost of the user's at all."""
    if isinstance(error, SyntaxError) and isinstance(error.filename, str) and error.filename:
        line = error.lineno if isinstance(error.lineno, int) and 0 < error.lineno <= MAX_LINE else None
        return relative(_clean(error.filename), folder), line
    inside: tuple[str, int] | None = None
    outside: tuple[str, int] | None = None
    step = error.__traceback__
    while step is not None:
        filename = step.tb_frame.f_code.co_filename
        if is_users(filename):
            # A frame whose code was made by hand has no line.
            outside = (filename, step.tb_lineno or 0)
            if folder is not None and filename.startswith(folder.rstrip("/") + "/"):
                inside = outside
        step = step.tb_next
    best = inside or outside
    return (relative(_clean(best[0]), folder), best[1] or None) if best else (None, None)


def relative(path: str, folder: str | None) -> str:
    """Return a path within the folder, or the path itself where it lies outside."""
    if folder is not None and path.startswith(folder.rstrip("/") + "/"):
        return path[len(folder.rstrip("/")) + 1 :]
    return path


def shortened(text: str, limit: int = MAX_MESSAGE) -> str:
    """Return text within a limit of bytes, the middle cut and counted."""
    return cut_middle(text, limit)
