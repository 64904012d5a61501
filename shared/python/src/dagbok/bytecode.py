"""Compiled modules: what is installed is used, what is missing is kept in a folder of ours.

`sys.pycache_prefix` would hide the bytecode that was installed with the packages, and neither a package's
folder nor the DAG folder is ours to write into. So the bytecode beside the source counts first, whatever
`PYTHONDONTWRITEBYTECODE` says; where it is missing or stale, a copy in our own folder does; and what had to
be compiled is kept there. Whatever is wrong with that folder costs time and nothing else.
"""

from __future__ import annotations

import contextlib
import importlib.util
import marshal
import os
import sys
from importlib.machinery import (
    BYTECODE_SUFFIXES,
    EXTENSION_SUFFIXES,
    SOURCE_SUFFIXES,
    ExtensionFileLoader,
    FileFinder,
    SourceFileLoader,
    SourcelessFileLoader,
)
from types import CodeType
from typing import Any

VARIABLE = "DAGBOK_BYTECODE"
# PEP 552: magic number, flags, then the source's time and size.
_HEADER = 16
_folder = ""


def use_named() -> None:
    """Use the folder that the environment names, which nothing that this process starts is to inherit."""
    use(os.environ.pop(VARIABLE, ""))


def use(folder: str) -> None:
    """Keep what must be compiled in `folder`; with an empty name, nowhere."""
    global _folder
    _folder = folder
    # Nothing is written beside a source: the folder is the user's, or a package's.
    sys.dont_write_bytecode = True
    # It would hide what is installed.
    sys.pycache_prefix = None
    if not folder:
        return
    finder = FileFinder.path_hook(
        (ExtensionFileLoader, EXTENSION_SUFFIXES),
        (_KeepingLoader, SOURCE_SUFFIXES),
        (SourcelessFileLoader, BYTECODE_SUFFIXES),
    )
    # Right before the usual one, and behind that of zip files.
    usual = (place for place, hook in enumerate(sys.path_hooks) if "FileFinder" in str(hook))
    sys.path_hooks.insert(next(usual, len(sys.path_hooks)), finder)
    sys.path_importer_cache.clear()


class _KeepingLoader(SourceFileLoader):
    """A loader of sources that keeps what it compiles in our folder."""

    def get_code(self, fullname: str) -> CodeType | None:
        """Return a module's code, compiled at most once for each text of its source."""
        path = self.get_filename(fullname)
        try:
            stats: Any = self.path_stats(path)
            wanted = _stamp(int(stats["mtime"]), int(stats["size"]))
            installed = importlib.util.cache_from_source(path)
        except (OSError, NotImplementedError):
            return super().get_code(fullname)
        if _is_of(installed, wanted):
            return super().get_code(fullname)
        kept = _folder + installed
        code = _read(kept, wanted)
        if code is None:
            code = super().get_code(fullname)
            if code is not None:
                _write(kept, wanted + marshal.dumps(code))
        return code


def _stamp(modified: int, size: int) -> bytes:
    """Return the header that bytecode of a source of this time and size has."""
    mask = 0xFFFF_FFFF
    return b"".join(
        (
            importlib.util.MAGIC_NUMBER,
            bytes(4),
            (modified & mask).to_bytes(4, "little"),
            (size & mask).to_bytes(4, "little"),
        )
    )


def _is_of(path: str, wanted: bytes) -> bool:
    """Whether there is bytecode of this source; one that is known by the source's hash is left to Python."""
    try:
        with open(path, "rb") as file:
            header = file.read(_HEADER)
    except OSError:
        return False
    by_hash = header[:4] == wanted[:4] and header[4:8] != bytes(4)
    return header == wanted or by_hash


def _read(path: str, wanted: bytes) -> CodeType | None:
    try:
        with open(path, "rb") as file:
            data = file.read()
    except OSError:
        return None
    if data[:_HEADER] != wanted:
        return None
    try:
        code = marshal.loads(memoryview(data)[_HEADER:])
    except (EOFError, ValueError, TypeError):  # torn by a crash
        return None
    return code if isinstance(code, CodeType) else None


def _write(path: str, data: bytes) -> None:
    """Write whole or not at all; a full or read-only disk is no reason to fail."""
    draft = f"{path}.{os.getpid()}"
    try:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(draft, "xb") as file:
            file.write(data)
        os.replace(draft, path)
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(draft)
