"""What an exception looks like to the person who wrote the DAG: their frames, not ours; file and line."""

from __future__ import annotations

import os
import traceback
from dataclasses import dataclass

_PACKAGE = os.path.dirname(os.path.abspath(__file__)) + os.sep
MAX_MESSAGE = 16 * 1024
MAX_TRACEBACK = 64 * 1024


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
    kind = type(error)
    name = kind.__qualname__ if kind.__module__ in {"builtins", "__main__"} else _qualified(kind)
    message = _shortened(safe_text(error), MAX_MESSAGE)
    file, line = place(error, folder)
    return Report(name, message, _shortened(user_traceback(error), MAX_TRACEBACK), file, line)


def _qualified(kind: type[BaseException]) -> str:
    module = kind.__module__
    return kind.__qualname__ if module.split(".")[0] == "dagbok" else f"{module}.{kind.__qualname__}"


def safe_text(error: BaseException) -> str:
    """Return str(error), whatever its `__str__` does."""
    try:
        return str(error).encode("utf-8", "backslashreplace").decode()
    except Exception as inner:
        return f"<{type(error).__name__} whose text can't be had: {type(inner).__name__}>"


def user_traceback(error: BaseException) -> str:
    """Return the traceback with the chain of causes, our own and the import system's frames cut."""
    try:
        whole = traceback.TracebackException.from_exception(error, compact=True)
    except Exception:
        return f"{type(error).__name__}: {safe_text(error)}\n"
    waiting: list[traceback.TracebackException | None] = [whole]
    while waiting:
        part = waiting.pop()
        if part is None:
            continue
        part.stack = traceback.StackSummary.from_list(
            [frame for frame in part.stack if is_users(frame.filename)]
        )
        waiting += [part.__cause__, part.__context__, *(part.exceptions or ())]
    try:
        return "".join(whole.format()).encode("utf-8", "backslashreplace").decode()
    except Exception:
        return f"{type(error).__name__}: {safe_text(error)}\n"


def is_users(filename: str) -> bool:
    """Whether a frame is neither ours nor the import system's."""
    return not filename.startswith((_PACKAGE, "<frozen importlib", "<frozen runpy"))


def place(error: BaseException, folder: str | None) -> tuple[str | None, int | None]:
    """Return the innermost place inside the folder, else the innermost of the user's at all."""
    if isinstance(error, SyntaxError) and error.filename:
        return relative(error.filename, folder), error.lineno
    inside: tuple[str, int] | None = None
    outside: tuple[str, int] | None = None
    step = error.__traceback__
    while step is not None:
        filename = step.tb_frame.f_code.co_filename
        if is_users(filename):
            outside = (filename, step.tb_lineno)
            if folder is not None and filename.startswith(folder.rstrip("/") + "/"):
                inside = outside
        step = step.tb_next
    best = inside or outside
    return (relative(best[0], folder), best[1]) if best else (None, None)


def relative(path: str, folder: str | None) -> str:
    """Return a path within the folder, or the path itself where it lies outside."""
    if folder is not None and path.startswith(folder.rstrip("/") + "/"):
        return path[len(folder.rstrip("/")) + 1 :]
    return path


def _shortened(text: str, limit: int) -> str:
    if len(text) <= limit:
        return text
    half = limit // 2
    return f"{text[:half]}\n… {len(text) - 2 * half} characters cut …\n{text[-half:]}"
