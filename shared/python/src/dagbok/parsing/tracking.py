"""What of the DAG folder an import depends on: files opened, folders listed, places searched for modules.

All are told as they come, so that they are known also of an import that never ends.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable
from types import ModuleType
from typing import Any

READ, LISTED, SOUGHT = "read", "listed", "sought"
LISTINGS = {"os.listdir", "os.scandir"}
# These list every folder of the import path, whatever they look for.
FINDERS = {"importlib", "importlib_metadata", "pkg_resources"}
# An import that looks for ever new names is cut off here; nothing that is no attack comes near.
MOST_NOTES = 20_000
# Files beside the folder that a warning names.
MOST_BESIDE = 3

Tell = Callable[[str, str], None]


class Tracker:
    """Notes what this process reads of a folder besides one file, from the moment it is made.

    An audit hook can't be taken out again, so this belongs in a process that parses one file and ends. It
    is also the first finder of modules, and finds none.
    """

    def __init__(self, folder: str, besides: str, tell: Tell | None = None) -> None:
        # A file that resolves the links in its own path asks by the folder's real one.
        roots = dict.fromkeys((folder, os.path.realpath(folder)))
        self._roots = tuple(root.rstrip("/") for root in roots)
        self._besides = besides
        self._tell = tell
        self._pid = os.getpid()
        self._noted: dict[str, set[str]] = {READ: set(), LISTED: set(), SOUGHT: set()}
        self._beside: set[str] = set()
        # What is installed beside the folder, such as a virtual environment, is no part of a project.
        installed = [sys.prefix, sys.base_prefix, *(entry for entry in sys.path if entry != folder)]
        self._installed = tuple(f"{os.path.realpath(place)}/" for place in installed if place)
        sys.addaudithook(self._hook)
        sys.meta_path.insert(0, self)

    def files(self) -> list[str]:
        """Return the files that were read, or asked for and not there; relative and sorted."""
        for module in list(sys.modules.values()):
            file = _file_of(module)
            if file is not None:
                self._read(file)
        # Copied first: threads of the import may note on.
        return [name for name in sorted(self._noted[READ]) if not os.path.isdir(f"{self._roots[0]}/{name}")]

    def folders(self) -> list[str]:
        """Return the folders whose names were listed, there or not; empty for the DAG folder itself."""
        return sorted(self._noted[LISTED])

    def places(self) -> list[str]:
        """Return where in the folder modules were looked for: `lib/names` for `lib/names.py` or a package."""
        return sorted(self._noted[SOUGHT])

    def beside(self) -> list[str]:
        """Return files that were read beside the folder, relative to it: a copy of it is alone."""
        return sorted(self._beside)

    def find_spec(
        self, fullname: str, path: Iterable[str] | None = None, target: ModuleType | None = None
    ) -> None:
        """Note every place of the folder where the finders after this one may look."""
        tail = fullname.rpartition(".")[2]
        for entry in sys.path if path is None else path:
            if isinstance(entry, str):
                self._note(SOUGHT, self._inside(f"{entry or '.'}/{tail}"))

    def _hook(self, event: str, args: tuple[Any, ...]) -> None:
        if event == "open":
            path, mode, flags = args
            writes = any(letter in mode for letter in "wax+") if isinstance(mode, str) else flags & 3
            if not writes:
                self._read(_text(path))
        elif event in LISTINGS:
            caller = sys._getframe(1).f_globals.get("__name__")
            if str(caller).partition(".")[0] not in FINDERS:
                self._note(LISTED, self._inside(_text("." if args[0] is None else args[0])))

    def _read(self, path: str) -> None:
        inside = self._inside(path)
        if inside is None and path:
            self._note_beside(path)
        if inside != self._besides and "__pycache__" not in path and not path.endswith(".pyc"):
            self._note(READ, inside)

    def _note_beside(self, path: str) -> None:
        if len(self._beside) >= MOST_BESIDE or path.endswith((".py", ".pyc", ".so")):
            return
        try:
            full = os.path.realpath(path)
        except (OSError, ValueError):
            return
        around = os.path.dirname(self._roots[-1])
        if around == "/" or not full.startswith(f"{around}/") or full.startswith(self._installed):
            return
        if os.getpid() == self._pid:
            self._beside.add(os.path.relpath(full, self._roots[-1]))

    def _inside(self, path: str) -> str | None:
        """Return a path relative to the folder, None for one outside or that no snapshot could name."""
        if not path:
            return None
        try:
            full = os.path.abspath(path)
            full.encode()
        except (OSError, ValueError):  # a working directory that is gone, a name that is no UTF-8
            return None
        for root in self._roots:
            if full == root or full.startswith(f"{root}/"):
                return full[len(root) + 1 :]
        return None

    def _note(self, kind: str, inside: str | None) -> None:
        noted = self._noted[kind]
        # What the import forked shares the pipe: only this process may speak.
        if inside is None or inside in noted or len(noted) >= MOST_NOTES or os.getpid() != self._pid:
            return
        noted.add(inside)
        if self._tell is not None:
            self._tell(kind, inside)


def _file_of(module: object) -> str | None:
    """Return where a module lies; one that is made on demand may raise what it likes when it is asked."""
    try:
        file = getattr(module, "__file__", None)
    except BaseException:
        return None
    return file if isinstance(file, str) else None


def _text(path: object) -> str:
    """Return a path as text; nothing for a descriptor."""
    if isinstance(path, bytes):
        return os.fsdecode(path)
    return path if isinstance(path, str) else ""
