"""Making an environment from a lock, and finding it again."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dagbok
from dagbok.environments import EnvironmentFailure
from dagbok.environments.lock import Lock, pip
from dagbok.environments.standin import constraints, make_wheels

# Says that an environment was made to its end.
COMPLETE = "dagbok-complete"


def store() -> Path:
    """Return the folder with all environments: `DAGBOK_ENVIRONMENTS`, or with a person's other data."""
    if named := os.environ.get("DAGBOK_ENVIRONMENTS"):
        return Path(named)
    data = os.environ.get("XDG_DATA_HOME") or os.path.expanduser("~/.local/share")
    return Path(data, "dagbok", "environments")


def place(lock: Lock) -> Path:
    """Return where a lock's environment is, or would be."""
    return store() / lock.digest()[:16]


def interpreter(lock: Lock) -> Path | None:
    """Return the interpreter of a lock's environment, if it was made here."""
    folder = place(lock)
    return folder / "bin" / "python" if (folder / COMPLETE).exists() else None


@contextmanager
def one_at_a_time(name: str) -> Iterator[None]:
    """Wait for whoever makes or removes the same on this machine; the end of a process ends its turn."""
    store().mkdir(parents=True, exist_ok=True)
    with open(store() / f"{name}.turn", "w") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)
        yield


def build(lock: Lock, dags: Path) -> Path:
    """Make the environment of a DAG folder's lock, if it is not there; return its interpreter."""
    with one_at_a_time(place(lock).name):
        # Whoever was before may have made it.
        return interpreter(lock) or _make(lock, dags)


def _make(lock: Lock, dags: Path) -> Path:
    # In its place, since scripts name their interpreter by its path; nobody takes it before it is complete.
    folder = place(lock)
    shutil.rmtree(folder, ignore_errors=True)
    made = subprocess.run(
        [sys.executable, "-m", "venv", str(folder)], capture_output=True, text=True, check=False
    )
    if made.returncode != 0:
        raise EnvironmentFailure(f"no environment can be made: {made.stderr or made.stdout}")
    python = str(folder / "bin" / "python")
    try:
        with tempfile.TemporaryDirectory(prefix="dagbok-build-") as name:
            make_wheels(Path(name))
            locked = Path(name, "lock.txt")
            locked.write_text(lock.text)
            pip("install", "--no-deps", "--no-index", "--find-links", name, *constraints(), python=python)
            pinned = ["--no-deps", "--require-hashes", "-r", str(locked)]
            pip("install", *pinned, python=python, folder=dags)
        _lend(folder)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    (folder / COMPLETE).touch()
    return Path(python)


def _lend(folder: Path) -> None:
    """Let the environment find this package where it is, after all that is its own."""
    (packages,) = folder.glob("lib/python3*/site-packages")
    own = Path(dagbok.__path__[0]).parent
    (packages / "dagbok.pth").write_text(f"{own}\n")


def remove(lock: Lock) -> None:
    """Remove a lock's environment."""
    with one_at_a_time(place(lock).name):
        # First what says that it is there, so that nobody takes it up half gone.
        (place(lock) / COMPLETE).unlink(missing_ok=True)
        shutil.rmtree(place(lock), ignore_errors=True)
