"""Exact mode: tries run by the task runner of an installed Airflow, files read by its parser.

`DAGBOK_EXACT=1` says that a process is of it. What is in here runs in that installation's own Python,
between its task runner and our executor: Airflow says what it wants in its own message classes, and each
is put into a frame that the executor knows, and back. Airflow's modules are had by `part` alone, so that
this package can be read, checked and tested where there is no Airflow. Nothing here is imported otherwise.
"""

from __future__ import annotations

import importlib
import os
from typing import Any

VARIABLE = "DAGBOK_EXACT"


def is_wanted() -> bool:
    """Whether this process is one of exact mode."""
    return os.environ.get(VARIABLE) == "1"


def part(name: str) -> Any:
    """Return a module of the installed Airflow."""
    return importlib.import_module(name)
