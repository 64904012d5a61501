"""Rendered template fields as people look at them: JSON, cut where it is long."""

from __future__ import annotations

import math
from typing import Any

from dagbok.masking import mask
from dagbok.text import cut

MAX_TEXT = 4096
MAX_ITEMS = 100


def presentable(value: Any, depth: int = 0) -> Any:
    """Return a JSON form; what has none becomes its text."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, int):
        return value if -(2**63) <= value < 2**63 else str(value)
    if isinstance(value, str):
        return _cut(value)
    if depth < 8 and isinstance(value, dict):
        return {_cut(str(key)): presentable(item, depth + 1) for key, item in list(value.items())[:MAX_ITEMS]}
    if depth < 8 and isinstance(value, list | tuple | set | frozenset):
        return [presentable(item, depth + 1) for item in list(value)[:MAX_ITEMS]]
    try:
        return _cut(str(value))
    except Exception:
        return f"<{type(value).__name__}>"


def _cut(text: str) -> str:
    return cut(mask(text.encode("utf-8", "replace").decode()), MAX_TEXT)
