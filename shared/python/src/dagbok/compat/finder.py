"""The meta-path finder behind `airflow.…`, and the modules that it makes.

Finder and loader are duck-typed: `importlib.abc` alone would cost every fresh interpreter 10 ms.
"""

from __future__ import annotations

import importlib
import importlib.machinery
import os
import sys
from collections.abc import Sequence
from types import ModuleType
from typing import Any

from dagbok.compat.advice import advice
from dagbok.compat.table import MODULES


class AirflowFinder:
    """Answers the modules of the table; a provider's that is not in it is left to what is installed."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Return one of our modules, None for an installed provider's, or say what is missing."""
        if fullname != "airflow" and not fullname.startswith("airflow."):
            return None
        if fullname in MODULES:
            loader: Any = _Loader()
            spec = importlib.machinery.ModuleSpec(fullname, loader, is_package=True)
            spec.submodule_search_locations = _installed_parts(fullname)
            return spec
        if fullname.startswith("airflow.providers"):
            found = importlib.machinery.PathFinder.find_spec(fullname, path)
            if found is not None:
                return found
        # No `name`: with one, `from airflow.x import y` would swallow this and say less.
        raise ModuleNotFoundError(advice(fullname))


def _installed_parts(fullname: str) -> list[str]:
    """Return the folders where installed provider packages add to one of our modules."""
    if not fullname.startswith("airflow.providers"):
        return []
    inner = os.path.join(*fullname.split("."))
    return [folder for entry in sys.path if os.path.isdir(folder := os.path.join(entry or ".", inner))]


class _Loader:
    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType:
        return _AirflowModule(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """Nothing to run: names are looked up when they are asked for."""


class _AirflowModule(ModuleType):
    """A module whose names come from the table on first use, so that an import loads only what it names."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            if name == "__all__":
                return [public for public in MODULES[self.__name__] if not public.startswith("_")]
            raise AttributeError(name)
        target = MODULES[self.__name__].get(name)
        if target is not None:
            value = resolve(target)
        elif f"{self.__name__}.{name}" in MODULES:
            value = importlib.import_module(f"{self.__name__}.{name}")
        else:
            raise AttributeError(advice(f"{self.__name__}.{name}"))
        setattr(self, name, value)
        return value

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *MODULES[self.__name__]})


def resolve(target: str) -> Any:
    """Return what an entry of the table names: `module:attribute`, or `refused:Operator`."""
    module, _, attribute = target.partition(":")
    if module == "refused":
        from dagbok.compat.refused import refused_operator

        return refused_operator(attribute)
    value: Any = importlib.import_module(module)
    for part in attribute.split(".") if attribute else ():
        value = getattr(value, part)
    return value
