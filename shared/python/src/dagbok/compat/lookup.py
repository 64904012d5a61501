"""What stands behind an `airflow.…` name: our own object, one that moved, or a stand-in.

The table answers first, since nearly every file needs no more. What is asked for besides is looked up in this
order: what providers import, where Airflow's own names went, and what real Airflow is known to have.
"""

from __future__ import annotations

import functools
import importlib
from typing import Any

from dagbok.compat.advice import NAMESPACES, advice
from dagbok.compat.table import MODULES

_MISSING: Any = object()
# The package by which providers ask for what moved between Airflow 2 and 3; real Airflow always has it.
_FUNNEL = "airflow.providers.common.compat.sdk"


def prepare() -> None:
    """Read all tables now, for a process that many others are forked from."""
    from dagbok.compat import recorded

    for read in (recorded.known, recorded.moved, _wider, _parents, _removed_modules, _by_name):
        read()


def has_module(fullname: str) -> bool:
    """Whether there is such a module in either era, or here; providers' own are not known."""
    if fullname in MODULES:
        return True
    if fullname.startswith("airflow.providers."):
        return fullname in _removed_modules() or f"{_FUNNEL}.".startswith(f"{fullname}.")
    from dagbok.compat import recorded
    from dagbok.compat.absent import is_of_server

    return (
        fullname in _wider()
        or fullname in recorded.known()
        or fullname in _parents()
        or is_of_server(fullname)
    )


def find(module: str, name: str) -> Any:
    """Return what a module calls a name; raises AttributeError where no Airflow has it."""
    target = MODULES.get(module, {}).get(name)
    if target is not None:
        return resolve(target)
    if module == _FUNNEL:
        return _funnelled(name)
    if module.startswith("airflow.providers."):
        from dagbok.compat.removed import removed

        return removed(module, name)
    if f"{module}.{name}" in MODULES:
        return importlib.import_module(f"{module}.{name}")
    return _further(module, name)


def _funnelled(name: str) -> Any:
    try:
        return find("airflow.sdk", name)
    except AttributeError:
        target = _by_name().get(name)
        if target is None:
            raise
        return resolve(target)


def _further(module: str, name: str) -> Any:
    table = _wider().get(module, {})
    if name in table:
        return resolve(table[name])
    if "*" in table:
        answering = importlib.import_module(table["*"])
        if name in getattr(answering, "__all__", ()) or table["*"] == "dagbok.surface.yaml":
            return getattr(answering, name)
    from dagbok.compat import recorded
    from dagbok.compat.absent import absent, is_of_server

    where = recorded.moved().get(module, {}).get(name)
    if where is not None:
        return _moved(where)
    known_part = f"{module}.{name}" in _wider()
    if known_part or (has_module(f"{module}.{name}") and not is_of_server(module)):
        return importlib.import_module(f"{module}.{name}")
    if name in recorded.known().get(module, ()) or (is_of_server(module) and not name.startswith("__")):
        target = _by_name().get(name)
        return absent(f"{module}.{name}") if target is None else resolve(target)
    from dagbok.surface.plugins import SHOWN, shown

    if module in SHOWN and not name.startswith("_"):
        try:
            return shown(module, name)
        except AttributeError as error:
            raise AttributeError(f"{advice(f'{module}.{name}')}; {error}") from None
    raise AttributeError(advice(f"{module}.{name}"))


def _moved(where: str) -> Any:
    """Return what a name of old leads to."""
    # Airflow 2 kept copies of some of that provider's modules.
    where = where.replace("airflow.kubernetes.pre_7_4_0_compatibility.", "airflow.providers.cncf.kubernetes.")
    module, _, name = where.rpartition(".")
    found = getattr(importlib.import_module(module), name, _MISSING)
    if found is not _MISSING:
        return found
    from dagbok.compat.removed import removed

    return removed(module, name)


def resolve(target: str) -> Any:
    """Return what an entry of the table names: `module:attribute`, `module`, or `refused:Operator`."""
    module, _, attribute = target.partition(":")
    if module == "refused":
        from dagbok.compat.refused import refused_operator

        return refused_operator(attribute)
    value: Any = importlib.import_module(module)
    for part in attribute.split(".") if attribute else ():
        value = getattr(value, part)
    return value


def public_names(module: str) -> list[str]:
    """Return what `from module import *` gives."""
    from dagbok.compat import recorded

    table = {**_wider().get(module, {}), **MODULES.get(module, {})}
    names = {name for name in table if not name.startswith("_") and name != "*"}
    if "*" in table:
        names.update(getattr(importlib.import_module(table["*"]), "__all__", ()))
    # What moved to a provider counts where that is all there is: a table of ours needs no provider.
    return sorted(names or set(recorded.moved().get(module, ())))


@functools.cache
def _wider() -> dict[str, dict[str, str]]:
    from dagbok.compat.sections import wider

    return wider.MODULES


@functools.cache
def _removed_modules() -> frozenset[str]:
    """Modules of providers that current packages do not have, with the packages above them."""
    from dagbok.compat.removed import MODULES as removed

    found = {f"airflow.providers.{name}" for name in NAMESPACES}
    for module in removed:
        found |= _and_above(module)
    return frozenset(found)


@functools.cache
def _parents() -> frozenset[str]:
    from dagbok.compat import recorded

    return frozenset(
        above
        for source in (recorded.known(), recorded.moved(), _wider())
        for module in source
        for above in _and_above(module)
    )


def _and_above(module: str) -> set[str]:
    found = set()
    while module:
        found.add(module)
        module = module.rpartition(".")[0]
    return found


@functools.cache
def _by_name() -> dict[str, str]:
    """Return the entries of classes and constants by their name alone, where all modules agree.

    Airflow's modules can be asked for whatever they import themselves, and files do so.
    """
    found: dict[str, set[str]] = {}
    for table in (MODULES, _wider()):
        for entries in table.values():
            for name, target in entries.items():
                if name[:1].isupper():
                    found.setdefault(name, set()).add(target)
    from dagbok.surface import errors

    found.update({name: {f"dagbok.surface.errors:{name}"} for name in errors.__all__})
    return {name: next(iter(targets)) for name, targets in found.items() if len(targets) == 1}
