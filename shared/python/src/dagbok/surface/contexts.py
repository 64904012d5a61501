"""What `airflow.utils.context` and `airflow.utils.operator_helpers` have besides the context itself."""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Mapping
from typing import Any

from dagbok.authoring.decorated import CONTEXT_NAMES
from dagbok.operators.arguments import context_arguments

__all__ = [
    "AIRFLOW_VAR_NAME_FORMAT_MAPPING",
    "KNOWN_CONTEXT_KEYS",
    "AirflowContextDeprecationWarning",
    "AirflowParsingContext",
    "ExecutionCallableRunner",
    "KeywordParameters",
    "LiteralValue",
    "context_copy_partial",
    "context_get_outlet_events",
    "context_merge",
    "context_to_airflow_vars",
    "determine_kwargs",
    "get_parsing_context",
    "lazy_mapping_from_context",
    "literal",
    "make_kwargs_callable",
]  # fmt: skip

KNOWN_CONTEXT_KEYS = CONTEXT_NAMES
AIRFLOW_VAR_NAME_FORMAT_MAPPING = {
    name: {"default": f"airflow.ctx.{name.removeprefix('AIRFLOW_CTX_').lower()}", "env_var_format": name}
    for name in (
        "AIRFLOW_CTX_DAG_ID",
        "AIRFLOW_CTX_TASK_ID",
        "AIRFLOW_CTX_LOGICAL_DATE",
        "AIRFLOW_CTX_EXECUTION_DATE",
        "AIRFLOW_CTX_TRY_NUMBER",
        "AIRFLOW_CTX_DAG_RUN_ID",
        "AIRFLOW_CTX_DAG_OWNER",
        "AIRFLOW_CTX_DAG_EMAIL",
    )
}


class AirflowContextDeprecationWarning(DeprecationWarning):
    """A key of the context that newer versions dropped."""


class AirflowParsingContext:
    """Which DAG and task a file is parsed for; a whole file is parsed for all of them."""

    def __init__(self, dag_id: str | None = None, task_id: str | None = None) -> None:
        self.dag_id, self.task_id = dag_id, task_id


def get_parsing_context() -> AirflowParsingContext:
    """Return for what the file is being parsed: for all that it holds."""
    return AirflowParsingContext()


class LiteralValue:
    """A value in which no template is looked for."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def iter_references(self) -> tuple[()]:
        """Name no tasks."""
        return ()

    def resolve(self, context: Mapping[str, Any]) -> Any:
        """Return the value."""
        return self.value


def literal(value: Any) -> LiteralValue:
    """Keep a value from being rendered."""
    return LiteralValue(value)


def context_merge(context: dict[str, Any], *args: Any, **kwargs: Any) -> None:
    """Put more into a context."""
    context.update(*args, **kwargs)


def context_copy_partial(source: Mapping[str, Any], keys: Collection[str]) -> dict[str, Any]:
    """Return a part of a context."""
    return {key: source[key] for key in keys if key in source}


def context_get_outlet_events(context: Mapping[str, Any]) -> Any:
    """Return what a task says of the assets that it changes."""
    return context.get("outlet_events", {})


def lazy_mapping_from_context(source: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the context."""
    return source


def determine_kwargs(
    func: Callable[..., Any], args: Collection[Any], kwargs: Mapping[str, Any]
) -> Mapping[str, Any]:
    """Return those of the keywords that a function takes."""
    return context_arguments(func, tuple(args), {}, kwargs)


class KeywordParameters:
    """The keywords that a function is called with."""

    def __init__(self, kwargs: Mapping[str, Any]) -> None:
        self._kwargs = kwargs

    @classmethod
    def determine(
        cls, func: Callable[..., Any], args: Collection[Any], kwargs: Mapping[str, Any]
    ) -> KeywordParameters:
        """Choose those that a function takes."""
        return cls(determine_kwargs(func, args, kwargs))

    def unpacking(self) -> Mapping[str, Any]:
        """Return them."""
        return self._kwargs

    serializing = unpacking


def make_kwargs_callable(func: Callable[..., Any]) -> Callable[..., Any]:
    """Let a function be called with more keywords than it takes."""

    @functools.wraps(func)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return func(*args, **determine_kwargs(func, args, kwargs))

    return wrapper


class ExecutionCallableRunner:
    """Calls a function of a task."""

    def __init__(self, func: Callable[..., Any], outlet_events: Any, *, logger: Any = None) -> None:
        self.func = func

    def run(self, *args: Any, **kwargs: Any) -> Any:
        """Call it."""
        from dagbok.runtime.driving import call

        return call(self.func, *args, **kwargs)


def context_to_airflow_vars(context: Mapping[str, Any], in_env_var_format: bool = False) -> dict[str, str]:
    """Return a try's AIRFLOW_CTX_… variables, or the same as `airflow.ctx.…`."""
    from dagbok.runtime.context import environment

    found = environment(context)
    if in_env_var_format:
        return found
    return {
        f"airflow.ctx.{name.removeprefix('AIRFLOW_CTX_').lower()}": value for name, value in found.items()
    }
