"""Dotted paths to what Python can import."""

from __future__ import annotations

import importlib
from typing import Any


def find_by_path(path: str) -> Any:
    """Return what a dotted path names; an ImportError or AttributeError where there is no such thing."""
    module, _, name = path.rpartition(".")
    if not module:
        raise ImportError(f"`{path}` names no module")
    return getattr(importlib.import_module(module), name)
