"""Values of the context that are asked for when somebody looks at them: dates of earlier runs.

Few tasks look at them, and each would cost a question to the API. Whoever takes one by its name gets the
value itself; where all of the context is handed on, a stand-in that acts as the value does, but is never
`None` itself.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

_UNASKED: Any = object()


class Later:
    """Stands for a value until it is looked at."""

    __slots__ = ("_make", "_value")

    def __init__(self, make: Callable[[], Any]) -> None:
        object.__setattr__(self, "_make", make)
        object.__setattr__(self, "_value", _UNASKED)

    @property  # type: ignore[misc]
    def __class__(self) -> Any:
        return type(resolved(self))

    def __getattr__(self, name: str) -> Any:
        return getattr(resolved(self), name)

    def __reduce__(self) -> Any:
        return _itself, (resolved(self),)

    def __hash__(self) -> int:
        return hash(resolved(self))

    def __bool__(self) -> bool:
        return bool(resolved(self))

    def __str__(self) -> str:
        return str(resolved(self))

    def __repr__(self) -> str:
        return repr(resolved(self))

    def __format__(self, spec: str) -> str:
        return format(resolved(self), spec)


def _itself(value: Any) -> Any:
    return value


def resolved(value: Any) -> Any:
    """Return a value, asked for where it was not yet."""
    if type(value) is not Later:
        return value
    if value._value is _UNASKED:
        object.__setattr__(value, "_value", value._make())
    return value._value


def _forward(name: str, function: Callable[..., Any], swapped: bool = False) -> None:
    def method(self: Later, other: Any) -> Any:
        left, right = resolved(self), resolved(other)
        return function(right, left) if swapped else function(left, right)

    setattr(Later, name, method)


for _name in ("eq", "ne", "lt", "le", "gt", "ge", "add", "sub"):
    _forward(f"__{_name}__", getattr(operator, _name))
_forward("__radd__", operator.add, swapped=True)
_forward("__rsub__", operator.sub, swapped=True)


class Context(dict[str, Any]):
    """What a task's function gets as keywords and a template can name."""

    def __getitem__(self, key: str) -> Any:
        value = dict.__getitem__(self, key)
        return value if type(value) is not Later else resolved(value)

    def get(self, key: str, default: Any = None) -> Any:
        """Return a value, or the default where the context has none of that name."""
        return resolved(dict.get(self, key, default))
