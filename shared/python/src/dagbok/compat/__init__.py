"""Answers `airflow.…` imports of both eras from a table, where Airflow itself is not installed.

Only our own parser and task processes call `activate`; nothing is ever written into site-packages.
"""

from __future__ import annotations

import os
import sys

MODE_VARIABLE = "DAGBOK_AIRFLOW"
MODES = ("auto", "shim", "real")


def real_airflow_is_installed() -> bool:
    """Whether Airflow itself can be imported; provider packages alone, without `__init__.py`, are not it."""
    from importlib.machinery import PathFinder

    spec = PathFinder.find_spec("airflow")
    return spec is not None and spec.origin is not None


def activate() -> bool:
    """Put the finder in place if the setting and the installation call for it; whether it is there now."""
    from dagbok import exact

    if exact.is_wanted():
        return False  # there it is Airflow itself that answers
    from dagbok.compat.finder import AirflowFinder

    mode = os.environ.get(MODE_VARIABLE, "auto")
    if mode not in MODES:
        raise SystemExit(f"{MODE_VARIABLE} is {mode!r}; it may be {', '.join(MODES)}")
    if any(isinstance(finder, AirflowFinder) for finder in sys.meta_path):
        return True
    if mode == "real" or (mode == "auto" and real_airflow_is_installed()):
        return False
    sys.meta_path.insert(0, AirflowFinder())
    return True
