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
from dagbok.compat.lookup import find, has_module, public_names
from dagbok.compat.table import MODULES

Spec = importlib.machinery.ModuleSpec
EXAMPLES = "airflow.example_dags"


class AirflowFinder:
    """Answers the modules of the table; a provider's that is not in it is left to what is installed."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> Spec | None:
        """Return one of our modules, None for an installed provider's, or say what is missing."""
        if fullname != "airflow" and not fullname.startswith("airflow."):
            return None
        # An empty entry is only the way to others: the installed package has more to say.
        if MODULES.get(fullname) or fullname == "airflow.providers":
            return _ours(fullname)
        if fullname.startswith("airflow.providers."):
            found = importlib.machinery.PathFinder.find_spec(fullname, path)
            if found is not None:
                return _with_removed(found)
        if fullname.startswith(EXAMPLES):
            # Airflow's own example files import each other by this path, where somebody put them.
            found = importlib.machinery.PathFinder.find_spec(fullname, path or _parts("airflow"))
            if found is not None:
                return found
        if has_module(fullname):
            return _ours(fullname)
        spec = _of_plugin(fullname)
        if spec is not None:
            return spec
        # No `name`: with one, `from airflow.x import y` would swallow this and say less.
        raise ModuleNotFoundError(advice(fullname))


def _of_plugin(fullname: str) -> Spec | None:
    """Return the module that shows a plugin's operators or macros under its name."""
    above, _, name = fullname.rpartition(".")
    if above not in ("airflow.macros", "airflow.operators", "airflow.sensors", "airflow.hooks"):
        return None
    from dagbok.surface.plugins import shown

    try:
        made = shown(above, name)
    except AttributeError as error:
        raise ModuleNotFoundError(f"{advice(fullname)}; {error}") from None
    return importlib.machinery.ModuleSpec(fullname, _Made(made))  # type: ignore[arg-type]


class _Made:
    """Gives a module that is there already."""

    def __init__(self, module: ModuleType) -> None:
        self._module = module

    def create_module(self, spec: Spec) -> ModuleType:
        return self._module

    def exec_module(self, module: ModuleType) -> None:
        """Nothing to run."""


def _ours(fullname: str) -> Spec:
    loader: Any = _Loader()
    spec = importlib.machinery.ModuleSpec(fullname, loader, is_package=True)
    spec.submodule_search_locations = _installed_parts(fullname)
    return spec


def _installed_parts(fullname: str) -> list[str]:
    """Return the folders where installed provider packages add to one of our modules."""
    return _parts(fullname) if fullname.startswith("airflow.providers") else []


def _parts(fullname: str) -> list[str]:
    inner = os.path.join(*fullname.split("."))
    return [folder for entry in sys.path if os.path.isdir(folder := os.path.join(entry or ".", inner))]


class _Loader:
    def create_module(self, spec: Spec) -> ModuleType:
        return _AirflowModule(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """Nothing to run: names are looked up when they are asked for."""


class _AirflowModule(ModuleType):
    """A module whose names come from the table on first use, so that an import loads only what it names."""

    def __getattr__(self, name: str) -> Any:
        if name == "__all__":
            return public_names(self.__name__)
        if name.startswith("__") and name != "__version__":
            raise AttributeError(name)
        value = find(self.__name__, name)
        setattr(self, name, value)
        return value

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *public_names(self.__name__)})


def _with_removed(spec: Spec) -> Spec:
    """Let an installed module answer also for the classes that its package dropped."""
    from dagbok.compat.removed import MODULES as REMOVED

    if spec.name in REMOVED and spec.loader is not None:
        loader: Any = _Completing(spec.loader)
        spec.loader = loader
    return spec


class _Completing:
    """Loads a module as its own loader does, and has it ask us for what it does not define."""

    def __init__(self, loader: Any) -> None:
        self._loader = loader

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)

    def create_module(self, spec: Spec) -> ModuleType | None:
        created: ModuleType | None = self._loader.create_module(spec)
        return created

    def exec_module(self, module: ModuleType) -> None:
        self._loader.exec_module(module)
        own = module.__dict__.get("__getattr__")

        def __getattr__(name: str) -> Any:
            if own is not None:
                try:
                    return own(name)
                except AttributeError:
                    pass
            if name.startswith("__"):
                raise AttributeError(name)
            from dagbok.compat.removed import removed

            return removed(module.__name__, name)

        module.__dict__["__getattr__"] = __getattr__
