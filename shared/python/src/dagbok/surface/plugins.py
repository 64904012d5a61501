"""What `airflow.plugins_manager` has: the base of plugins, and those in the DAG folder's `plugins/`.

Airflow imports every plugin before any DAG file. Here they are imported when somebody asks for what only a
plugin can have: `macros.NAME` in a template, `airflow.macros.NAME`, `airflow.operators.NAME`. One that breaks
is told of to who asked in vain, and to nobody else.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import logging
import os
import sys
from types import ModuleType
from typing import Any, ClassVar

from dagbok.project import plugin_folders
from dagbok.surface.errors import AirflowPluginException

# Of which list of a plugin a module of Airflow's shows things, by the plugin's name.
SHOWN = {
    "airflow.macros": "macros",
    "airflow.operators": "operators",
    "airflow.sensors": "sensors",
    "airflow.hooks": "hooks",
}

log = logging.getLogger("airflow.plugins_manager")
__all__ = ["AirflowPlugin", "AirflowPluginException", "AirflowPluginSource"]


class AirflowPluginSource:
    """Where a plugin came from."""


class AirflowPlugin:
    """A plugin of Airflow; defining one is accepted, and what it adds to the server has no effect."""

    name: str | None = None
    source: AirflowPluginSource | None = None
    macros: ClassVar[list[Any]] = []
    operators: ClassVar[list[Any]] = []
    sensors: ClassVar[list[Any]] = []
    hooks: ClassVar[list[Any]] = []
    admin_views: ClassVar[list[Any]] = []
    flask_blueprints: ClassVar[list[Any]] = []
    fastapi_apps: ClassVar[list[Any]] = []
    fastapi_root_middlewares: ClassVar[list[Any]] = []
    external_views: ClassVar[list[Any]] = []
    react_apps: ClassVar[list[Any]] = []
    menu_links: ClassVar[list[Any]] = []
    appbuilder_views: ClassVar[list[Any]] = []
    appbuilder_menu_items: ClassVar[list[Any]] = []
    global_operator_extra_links: ClassVar[list[Any]] = []
    operator_extra_links: ClassVar[list[Any]] = []
    timetables: ClassVar[list[Any]] = []
    partition_mappers: ClassVar[list[Any]] = []
    listeners: ClassVar[list[Any]] = []
    hook_lineage_readers: ClassVar[list[Any]] = []
    priority_weight_strategies: ClassVar[list[Any]] = []

    @classmethod
    def validate(cls) -> None:
        """Raise where it has no name."""
        if not cls.name:
            raise AirflowPluginException(f"the plugin {cls.__name__} needs a name")

    @classmethod
    def on_load(cls, *args: Any, **kwargs: Any) -> None:
        """Run when it is loaded."""


class _Search:
    """One search of all plugins; what plugins ask for themselves meanwhile is not looked for in plugins."""

    under_way = False


@functools.cache
def plugins() -> tuple[dict[str, type[AirflowPlugin]], dict[str, str]]:
    """Return the plugins by name, and of each file that could not be imported why."""
    found: dict[str, type[AirflowPlugin]] = {}
    broken: dict[str, str] = {}
    _Search.under_way = True
    try:
        for folder in plugin_folders():
            for path in _files(folder):
                try:
                    _add(found, vars(_module(folder, path)))
                except Exception as error:
                    broken[os.path.relpath(path, os.path.dirname(folder))] = (
                        f"{type(error).__name__}: {error}"
                    )
        _add_installed(found, broken)
    finally:
        _Search.under_way = False
    for file, why in broken.items():
        log.warning("The plugin %s could not be imported: %s", file, why)
    return found, broken


def shown(module: str, name: str) -> Any:
    """Return what the plugin `name` shows in one of Airflow's modules; AttributeError where none does."""
    kind = SHOWN.get(module)
    if kind is None or _Search.under_way:
        raise AttributeError(name)
    found, broken = plugins()
    plugin = found.get(name)
    things = list(getattr(plugin, kind, ()) or ())
    if not things:
        why = "; ".join(f"{file} could not be imported: {why}" for file, why in broken.items())
        raise AttributeError(f"no plugin `{name}` with {kind}{': ' if why else ''}{why}")
    made = ModuleType(f"{module}.{name}")
    for thing in things:
        setattr(made, thing.__name__.rpartition(".")[2], thing)
    return sys.modules.setdefault(made.__name__, made)


def _files(folder: str) -> list[str]:
    paths = []
    for around, inner, names in os.walk(folder):
        inner[:] = sorted(name for name in inner if not name.startswith((".", "__pycache__")))
        paths += [os.path.join(around, name) for name in sorted(names) if name.endswith(".py")]
    return paths


def _module(folder: str, path: str) -> ModuleType:
    """Import a plugin's file, under the name by which DAG files import it where it has one."""
    parts = os.path.relpath(path, folder).removesuffix(".py").split(os.sep)
    if parts[-1] == "__init__":
        parts.pop()
    name = ".".join(parts)
    if parts and all(part.isidentifier() for part in parts):
        module = importlib.import_module(name)
        if getattr(module, "__file__", None) == path:
            return module
    # Another module has that name.
    spec = importlib.util.spec_from_file_location(f"dagbok_plugin_{'_'.join(parts)}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _add_installed(found: dict[str, type[AirflowPlugin]], broken: dict[str, str]) -> None:
    """Add the plugins of installed packages."""
    from importlib import metadata

    for entry in metadata.entry_points(group="airflow.plugins"):
        try:
            _add(found, {entry.name: entry.load()})
        except Exception as error:
            broken[entry.value] = f"{type(error).__name__}: {error}"


def _add(found: dict[str, type[AirflowPlugin]], values: dict[str, Any]) -> None:
    for value in list(values.values()):
        if (
            isinstance(value, type)
            and issubclass(value, AirflowPlugin)
            and value is not AirflowPlugin
            and value.name
        ):
            found.setdefault(value.name, value)
