"""Exact mode: tries run by the task runner of an installed Airflow, files read by its parser.

`start.py` says that a process is of it, in that process and what it forks: what a task or a file starts by
itself is not of it. What is in here runs in that installation's own Python,
between its task runner and our executor: Airflow says what it wants in its own message classes, and each
is put into a frame that the executor knows, and back. Airflow's modules are had by `part` alone, so that
this package can be read, checked and tested where there is no Airflow. Nothing here is imported otherwise.
"""

from __future__ import annotations

import importlib
from typing import Any

_begun: list[bool] = []


def begin() -> None:
    """Make this process one of exact mode."""
    _begun.append(True)


def is_wanted() -> bool:
    """Whether this process is one of exact mode."""
    return bool(_begun)


def part(name: str) -> Any:
    """Return a module of the installed Airflow."""
    return importlib.import_module(name)
