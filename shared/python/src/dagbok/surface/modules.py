"""What `airflow.utils.module_loading` and `airflow.utils.deprecation_tools` have."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

__all__ = [
    "add_deprecated_classes",
    "getattr_with_deprecation",
    "import_string",
    "is_valid_dotpath",
    "iter_namespace",
    "qualname",
]


def import_string(dotted_path: str) -> Any:
    """Import what a dotted path names: the module, and the last part from it."""
    module, _, name = dotted_path.rpartition(".")
    if not module:
        raise ImportError(f"{dotted_path!r} names no module: it must be like package.module.Name")
    try:
        return getattr(importlib.import_module(module), name)
    except AttributeError:
        raise ImportError(f"the module {module!r} does not define {name!r}") from None


def qualname(o: Any, use_qualname: bool = False, exclude_module: bool = False) -> str:
    """Return the dotted path of a function or class, or of an instance's class."""
    kind: Any = o if callable(o) and hasattr(o, "__module__") and hasattr(o, "__name__") else type(o)
    name = str(kind.__qualname__ if use_qualname else kind.__name__)
    module = kind.__module__
    return name if exclude_module or not module or module == "builtins" else f"{module}.{name}"


def iter_namespace(ns: ModuleType) -> Iterator[str]:
    """Yield the full names of a package's modules."""
    import pkgutil

    for _, name, _ in pkgutil.iter_modules(ns.__path__, f"{ns.__name__}."):
        yield name


def is_valid_dotpath(path: str) -> bool:
    """Whether a text could be a dotted path."""
    return isinstance(path, str) and all(part.isidentifier() for part in path.split("."))


def add_deprecated_classes(
    module_imports: dict[str, dict[str, str]],
    package: str,
    override_deprecated_classes: dict[str, dict[str, str]] | None = None,
    extra_message: str | None = None,
) -> None:
    """Give modules of a package names that lead elsewhere: `{"old": {"Name": "new.module.Name"}}`."""
    for name, imports in module_imports.items():
        full = name if name.startswith(f"{package}.") else f"{package}.{name}" if name else package
        module = sys.modules.get(full)
        if module is None:
            module = ModuleType(full)
            sys.modules[full] = module
        # A module's own `__getattr__` is asked for what it does not have.
        module.__dict__["__getattr__"] = _leading_elsewhere(full, imports)


def _leading_elsewhere(module: str, imports: dict[str, str]) -> Callable[[str], Any]:
    def __getattr__(name: str) -> Any:
        target = imports.get(name) or (imports.get("*") and f"{imports['*']}.{name}")
        if not target:
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        return import_string(target)

    return __getattr__


def getattr_with_deprecation(
    imports: dict[str, str], module: str, override_deprecated_classes: Any, extra_message: str, name: str
) -> Any:
    """Return what an old name of a module leads to."""
    return _leading_elsewhere(module, imports)(name)
