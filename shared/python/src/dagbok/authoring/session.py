"""What is known while a DAG file is being imported: its era, and the DAGs and groups being filled.

One file is loaded at a time in a process, so plain module state is enough.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dagbok.authoring.dag import DAG
    from dagbok.authoring.group import TaskGroup

_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep
ERA_VARIABLE = "DAGBOK_SCHEDULE_ERA"


class LoadSession:
    """One import of one DAG file."""

    def __init__(self, path: str, era: int = 2) -> None:
        self.path, self.era = path, era
        self.made: list[DAG] = []
        self.registered: list[DAG] = []


_session: LoadSession | None = None
_dags: list[DAG] = []
_groups: list[TaskGroup] = []
_apart = False


def begin(session: LoadSession) -> None:
    """Open a session; contexts that an earlier file left open are dropped."""
    global _session
    _session = session
    _dags.clear()
    _groups.clear()


def end() -> None:
    """Close the session."""
    global _session
    _session = None
    _dags.clear()
    _groups.clear()


def era() -> int:
    """Whose schedules and defaults count, 2 or 3: the setting's, else those of the file being imported."""
    setting = os.environ.get(ERA_VARIABLE)
    if setting in {"2", "3"}:
        return int(setting)
    return _session.era if _session is not None else 2


def note_made(dag: DAG) -> None:
    """Remember a DAG in the order of the file."""
    if _session is not None:
        _session.made.append(dag)


def register(dag: DAG) -> None:
    """Take a DAG for one of the file's own, if the file itself was running when it was filled.

    A DAG that another module makes while it is imported belongs to that module's file.
    """
    if _session is None or not dag.auto_register or any(dag is known for known in _session.registered):
        return
    frame = sys._getframe(1)
    while frame is not None:
        if frame.f_code.co_name == "<module>":
            if frame.f_code.co_filename == _session.path:
                _session.registered.append(dag)
            return
        frame = frame.f_back  # type: ignore[assignment]


def push_dag(dag: DAG) -> None:
    """Make a DAG the one that new tasks join."""
    _dags.append(dag)
    _groups.append(dag.task_group)


def pop_dag() -> DAG:
    """Leave the current DAG."""
    _groups.pop()
    return _dags.pop()


def current_dag() -> DAG | None:
    """Return the DAG that new tasks join, if any."""
    return _dags[-1] if _dags else None


def push_group(group: TaskGroup) -> None:
    """Make a group the one that new tasks join."""
    _groups.append(group)


def pop_group() -> None:
    """Leave the current group."""
    _groups.pop()


def current_group() -> TaskGroup | None:
    """Return the group that new tasks join, if any."""
    return _groups[-1] if _groups else None


def call_site() -> tuple[str, int]:
    """Return file and line of the innermost caller outside this package; ("", 0) where there is none."""
    frame = sys._getframe(1)
    while frame is not None and frame.f_code.co_filename.startswith(_PACKAGE):
        frame = frame.f_back  # type: ignore[assignment]
    return (frame.f_code.co_filename, frame.f_lineno) if frame is not None else ("", 0)


@contextlib.contextmanager
def apart() -> Iterator[None]:
    """Make operators that stand for a part of a task that is there already: they join nothing."""
    global _apart
    _apart = True
    try:
        yield
    finally:
        _apart = False


def is_apart() -> bool:
    """Whether what is made joins no DAG and no group, and draws no edges."""
    return _apart
