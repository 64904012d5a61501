"""Which parts of the context a function asks for."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple

from dagbok.runtime.later import Later, resolved


class Wishes(NamedTuple):
    """What a function's signature asks for."""

    positional: tuple[str, ...]
    by_name: frozenset[str]
    everything: bool


@cache
def wishes(function: Callable[..., Any]) -> Wishes | None:
    """Read a function's signature, once; None for a builtin that tells none."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except ValueError:
        return None
    return Wishes(
        tuple(p.name for p in parameters if p.kind in {p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD}),
        frozenset(p.name for p in parameters if p.kind in {p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY}),
        any(p.kind is p.VAR_KEYWORD for p in parameters),
    )


def wishes_of(function: Callable[..., Any]) -> Wishes | None:
    """Read a function's signature; of one that can't be a key, each time."""
    try:
        return wishes(function)
    except TypeError:
        return wishes.__wrapped__(function)


def context_arguments(
    function: Callable[..., Any],
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    context: Mapping[str, Any],
) -> dict[str, Any]:
    """Return the keywords of a call: those given, and those of the context that the function can take.

    A function with `**kwargs` gets the whole context; positional arguments must not stand where the
    context would, as in Airflow.
    """
    asked = wishes_of(function)
    if asked is None:
        return dict(kwargs)
    taken = asked.positional[: len(args)]
    for name in taken:
        if name in context and name not in kwargs:
            raise ValueError(
                f"the argument `{name}` of {getattr(function, '__name__', function)!r} is one that "
                "the context fills in; give it by name, or call it something else"
            )
    if asked.everything:
        full = {**context, **kwargs}
        return {**full, **_looked_at(function, full)}
    wanted = asked.by_name.difference(taken)
    return {**{name: resolved(context[name]) for name in wanted if name in context}, **kwargs}


def _looked_at(function: Callable[..., Any], context: dict[str, Any]) -> dict[str, Any]:
    """Return what a function names of the values that are asked for only when somebody looks at them."""
    code = getattr(function, "__code__", None)
    names = [name for name in code.co_consts if type(name) is str] if code is not None else []
    return {name: resolved(context[name]) for name in names if type(context.get(name)) is Later}
