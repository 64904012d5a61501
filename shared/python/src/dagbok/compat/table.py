"""Which of our objects stands behind which `airflow.…` name. Old paths and new ones, both eras.

An entry is `module:attribute`, `module` for a module itself, or `refused:Name` for an operator that is
known and can't run today.
"""

from __future__ import annotations

from dagbok.compat.sections import common, operators, sdk

MODULES: dict[str, dict[str, str]] = {}


def _add(section: dict[str, dict[str, str]]) -> None:
    for name, entries in section.items():
        MODULES.setdefault(name, {}).update(entries)
        # Every parent is a module too.
        parent = name.rpartition(".")[0]
        while parent:
            MODULES.setdefault(parent, {})
            parent = parent.rpartition(".")[0]


for _section in (common.MODULES, operators.MODULES, sdk.MODULES):
    _add(_section)
