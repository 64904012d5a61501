"""Keeps a try from writing into its bundle: the copy of the DAG folder that all tries read.

The folder is for reading only, which does not keep root from writing, nor says where to write instead.
What does not go through Python is not seen here; the executor finds it, and puts the bundle back.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable
from typing import Any

ADVICE = (
    "tries read a copy of the DAG folder, which nothing may change; write to a temporary folder "
    "(tempfile.mkdtemp()) or to a path outside the DAG folder"
)
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


def _opened(path: Any, mode: Any, flags: Any) -> list[Any]:
    return [path] if isinstance(flags, int) and flags & _WRITES else []


def _made(path: Any, *_: Any) -> list[Any]:
    return [] if os.path.lexists(path) else [path]  # it fails by itself where it is there


def _changed(path: Any, *_: Any) -> list[Any]:
    return [path] if isinstance(path, str | bytes | os.PathLike) and os.path.lexists(path) else []


def _moved(source: Any, target: Any, *_: Any) -> list[Any]:
    return [source, target] if os.path.lexists(source) else []


# What each of Python's audit events would write to.
_EVENTS: dict[str, Callable[..., list[Any]]] = {
    "open": _opened,
    "os.mkdir": _made,
    "os.symlink": lambda source, target, *_: [target],
    "os.link": lambda source, target, *_: [target],
    "os.rename": _moved,
    "shutil.move": _moved,
    "shutil.rmtree": _changed,
    **dict.fromkeys(("os.remove", "os.rmdir", "os.truncate", "os.chmod", "os.chown"), _changed),
}


def install(folder: str) -> None:
    """From here on, writing below `folder` is a PermissionError that says where to write. For good."""
    inside = os.path.realpath(folder)

    def hook(event: str, args: tuple[Any, ...]) -> None:
        paths = _EVENTS.get(event)
        if paths is None:
            return
        for path in paths(*args):
            if not isinstance(path, str | bytes | os.PathLike):
                continue  # a descriptor
            real = os.path.realpath(os.fsdecode(path))
            if real == inside or real.startswith(f"{inside}/"):
                raise PermissionError(errno.EACCES, ADVICE, os.fsdecode(path))

    sys.addaudithook(hook)
