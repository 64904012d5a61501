"""Which files of the DAG folder an import read: modules, and data files that were opened."""

from __future__ import annotations

import os
import sys
from typing import Any


class ReadTracker:
    """Collects the files of a folder that this process opens for reading, from the moment it is made.

    An audit hook can't be taken out again, so this belongs in a process that parses one file and ends.
    """

    def __init__(self, folder: str) -> None:
        self._prefix = folder.rstrip("/") + "/"
        self._opened: set[str] = set()
        sys.addaudithook(self._hook)

    def _hook(self, event: str, args: tuple[Any, ...]) -> None:
        if event != "open":
            return
        path, mode, flags = args
        if isinstance(path, bytes):
            path = os.fsdecode(path)
        if not isinstance(path, str):
            return
        writes = any(letter in mode for letter in "wax+") if isinstance(mode, str) else flags & 3
        if writes:
            return
        full = path if path.startswith("/") else os.path.join(os.getcwd(), path)
        if full.startswith(self._prefix):
            self._opened.add(os.path.normpath(full))

    def files(self, besides: str) -> list[str]:
        """Return the files read, relative and sorted, without the DAG file itself."""
        found = {path for path in self._opened if not path.endswith(".pyc")}
        for module in list(sys.modules.values()):
            file = getattr(module, "__file__", None)
            if isinstance(file, str) and file.startswith(self._prefix):
                found.add(file)
        inside = {path[len(self._prefix) :] for path in found if os.path.isfile(path)}
        inside.discard(besides)
        return sorted(path for path in inside if "__pycache__" not in path)
