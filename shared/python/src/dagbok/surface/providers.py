"""What installed provider packages say of themselves, and `airflow.providers_manager` over it.

Packages are found by their `apache_airflow_provider` entry points, and asked when somebody wants to know.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

from dagbok.surface.modules import import_string

__all__ = ["DialectInfo", "HookInfo", "ProviderInfo", "ProvidersManager", "decorator_of", "infos"]


class ProviderInfo(NamedTuple):
    """A provider package."""

    version: str
    data: dict[str, Any]


class DialectInfo(NamedTuple):
    """How a kind of database speaks SQL."""

    name: str
    dialect_class_name: str
    provider_name: str


class HookInfo(NamedTuple):
    """The hook of a type of connection."""

    hook_class_name: str
    connection_type: str
    package_name: str


@functools.cache
def infos() -> dict[str, ProviderInfo]:
    """Return what each installed provider package says, by its name; one that can't be asked is left out."""
    from importlib import metadata

    found = {}
    for entry in metadata.entry_points(group="apache_airflow_provider"):
        try:
            data = entry.load()()
        except Exception:
            continue
        package = str(data.get("package-name") or (entry.dist and entry.dist.name))
        found[package] = ProviderInfo(entry.dist.version if entry.dist else "", data)
    return dict(sorted(found.items()))


def decorator_of(kind: str) -> Any:
    """Return what a provider has for `@task.<kind>`; None where no installed one has it."""
    for info in infos().values():
        for entry in info.data.get("task-decorators", ()):
            if entry.get("name") == kind:
                return import_string(entry["class-name"])
    return None


def filesystem_module(scheme: str) -> Any:
    """Return the module that opens paths of a scheme; None where no installed provider has one."""
    import importlib

    for info in infos().values():
        for name in info.data.get("filesystems", ()):
            try:
                module = importlib.import_module(name if isinstance(name, str) else name["module"])
            except ImportError:
                continue
            if scheme in getattr(module, "schemes", ()):
                return module
    return None


class ProvidersManager:
    """Says what provider packages are installed."""

    @property
    def providers(self) -> dict[str, ProviderInfo]:
        """The packages."""
        return infos()

    @property
    def dialects(self) -> dict[str, DialectInfo]:
        """How databases speak SQL."""
        return {
            entry["dialect-type"]: DialectInfo(entry["dialect-type"], entry["dialect-class-name"], package)
            for package, info in infos().items()
            for entry in info.data.get("dialects", ())
        }

    @property
    def hooks(self) -> dict[str, HookInfo]:
        """The hooks of types of connections."""
        return {
            entry["connection-type"]: HookInfo(entry["hook-class-name"], entry["connection-type"], package)
            for package, info in infos().items()
            for entry in info.data.get("connection-types", ())
        }
