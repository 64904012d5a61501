"""Which parts of the context a function asks for."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any


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
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except ValueError:  # a builtin that tells no signature
        return dict(kwargs)
    taken = [
        parameter
        for parameter in parameters
        if parameter.kind in {parameter.POSITIONAL_OR_KEYWORD, parameter.POSITIONAL_ONLY}
    ][: len(args)]
    for parameter in taken:
        if parameter.name in context and parameter.name not in kwargs:
            raise ValueError(
                f"the argument `{parameter.name}` of {getattr(function, '__name__', function)!r} is one that "
                "the context fills in; give it by name, or call it something else"
            )
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        positional = {parameter.name for parameter in taken}
        return {
            **{name: context[name] for name in context if name not in positional},
            **kwargs,
        }
    keywords = dict(kwargs)
    for parameter in parameters[len(taken) :]:
        by_name = parameter.kind in {parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY}
        if by_name and parameter.name in context and parameter.name not in keywords:
            keywords[parameter.name] = context[parameter.name]
    return keywords
