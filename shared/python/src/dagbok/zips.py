"""Zipped DAGs: an archive in the DAG folder, and the modules at its top that define DAGs.

A DAG file in one is named by both, `x.zip/mod.py`, as Airflow names it. Nothing is unpacked: what the module
imports is found by Python's own zipimport. Whether an archive can be read at all, and which of its modules
are DAG files, the processor says (so its `candidate.rs`); `modules` says the same for people's own tests.
"""

from __future__ import annotations

import errno
import os
import sys
import zipimport

# Archives that were put on the import path here, and not by somebody else.
_ours: set[str] = set()
# What the system said of each when its modules were imported.
_stamps: dict[str, tuple[int, int]] = {}


def split(path: str) -> tuple[str, str] | None:
    """Return the archive that a DAG file lies in, and its name there; None where it lies in a folder."""
    archive, name = os.path.split(path)
    return (archive, name) if archive.endswith(".zip") and os.path.isfile(archive) else None


def put_first(archive: str) -> None:
    """Have imports look in an archive before all but the standard library, and in no other archive.

    Airflow has it before that, too, but has mostly imported what is in that by then.
    """
    leave_others(archive)
    status = os.stat(archive)
    stamp = (status.st_mtime_ns, status.st_size)
    if _stamps.setdefault(archive, stamp) != stamp:
        # What was imported of it is from before it was written anew.
        _forget({archive})
        _stamps[archive] = stamp
    rest = [entry for entry in sys.path if entry != archive]
    folder = os.path.dirname(os.__file__)
    library = [entry for entry in rest if entry in {folder, os.path.join(folder, "lib-dynload")}]
    sys.path[:] = [*library, archive, *(entry for entry in rest if entry not in library)]
    _ours.add(archive)
    _forget_importers({archive})


def leave_others(archive: str | None) -> None:
    """Forget archives of files that were read before: their modules would answer for those of this one."""
    others = _ours - {archive}
    if not others:
        return
    _forget(others)
    _forget_importers(others)
    sys.path[:] = [entry for entry in sys.path if entry not in others]
    _ours.difference_update(others)


def _forget(archives: set[str]) -> None:
    """Forget all modules of archives."""
    # First all are found: a namespace package may ask for its parent to say where it is.
    found = [name for name, module in list(sys.modules.items()) if _is_inside(module, archives)]
    for name in found:
        sys.modules.pop(name, None)
    for archive in archives:
        _stamps.pop(archive, None)


def _forget_importers(archives: set[str]) -> None:
    """Forget what Python knows of places in archives: it may be from before they were written anew."""
    for entry in list(sys.path_importer_cache):
        if any(entry == archive or entry.startswith(f"{archive}/") for archive in archives):
            sys.path_importer_cache.pop(entry, None)


def _is_inside(module: object, archives: set[str]) -> bool:
    """Whether a module, or a part of a package without a file, is of one of these archives."""
    known = getattr(module, "__dict__", {})
    places = [known.get("__file__"), getattr(known.get("__spec__"), "origin", None)]
    try:
        places += known.get("__path__") or []
    except Exception:  # Whatever stands there is asked.
        places += []
    inside = tuple(f"{archive}/" for archive in archives)
    return any(isinstance(place, str) and place.startswith(inside) for place in places)


def name_of(path: str, name: str, otherwise: str) -> str:
    """Return what a module is imported as: by its own name, as in Airflow, unless another module has that."""
    stem = os.path.splitext(name)[0]
    standing = sys.modules.get(stem)
    taken = standing is not None and getattr(standing, "__file__", None) != path
    return otherwise if taken or stem in sys.stdlib_module_names else stem


class Module(zipimport.zipimporter):
    """The loader of one module of an archive, whatever it is imported as."""

    def __init__(self, archive: str, path: str, name: str) -> None:
        super().__init__(archive)
        self.invalidate_caches()
        self._path, self._name = path, name

    def text(self) -> bytes:
        """Return the module's source; FileNotFoundError where there is none."""
        try:
            return self.get_data(self._path)
        except OSError as error:
            if error.errno:
                raise
            raise FileNotFoundError(errno.ENOENT, "the zip has no such module", self._path) from None

    def get_source(self, fullname: str) -> str | None:
        """Return a module's source, which tracebacks and `inspect` show."""
        if fullname != self._name:
            return super().get_source(fullname)
        from importlib.util import decode_source

        return decode_source(self.text())


def modules(archive: str) -> list[str]:
    """Return the modules at an archive's top that speak of DAGs, by their names in it."""
    import zipfile

    with zipfile.ZipFile(archive) as opened:
        names = (name for name in opened.namelist() if name.endswith(".py") and "/" not in name)
        return sorted(name for name in names if speaks_of_dags(opened.read(name)))


def shows_modules(content: bytes) -> bool:
    """Whether what is no whole zip was one with modules at its top, by the heads of the files in it."""
    for head, length, start in ((b"PK\x03\x04", 26, 30), (b"PK\x01\x02", 28, 46)):
        at = content.find(head)
        while at >= 0:
            size = int.from_bytes(content[at + length : at + length + 2], "little")
            name = content[at + start : at + start + size]
            if size and len(name) == size and name.endswith(b".py") and b"/" not in name:
                return True
            at = content.find(head, at + 1)
    return False


def speaks_of_dags(text: bytes) -> bool:
    """Whether a file may have DAGs, as Airflow guesses before it imports one."""
    text = text.lower()
    return b"dag" in text and (b"airflow" in text or b"dagbok" in text or b"asset" in text)
