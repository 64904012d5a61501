"""What real Airflow has, as far as it was recorded: modules and names of both eras, and where names went.

The texts beside this file are written by `tests/oracle/record_names.py`. They are read only when a file asks
for something that the table does not answer.
"""

from __future__ import annotations

import functools
import os

_FOLDER = os.path.dirname(os.path.abspath(__file__))


def _read(name: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    names: list[str] = []
    with open(os.path.join(_FOLDER, name), encoding="utf-8") as file:
        for line in file:
            if line.startswith(" "):
                names += line.split()
            else:
                names = found.setdefault(line.rstrip(), [])
    return found


@functools.cache
def known() -> dict[str, frozenset[str]]:
    """Return the names of each module that Airflow 2 or 3 has."""
    return {module: frozenset(names) for module, names in _read("names.txt").items()}


@functools.cache
def moved() -> dict[str, dict[str, str]]:
    """Return for each module of old where its names went: `Hook` to `airflow.providers.….Hook`."""
    return {
        module: {name: where for name, _, where in (entry.partition("=") for entry in entries)}
        for module, entries in _read("moved.txt").items()
    }
