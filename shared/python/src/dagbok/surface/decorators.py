"""What `airflow.decorators.base` has, and its twin in `airflow.sdk`, for providers with kinds of @task."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from dagbok.authoring.decorated import DecoratedOperator, unique_task_id
from dagbok.authoring.taskflow import TaskDecorators, TaskFactory, task

__all__ = [
    "DecoratedMappedOperator",
    "DecoratedOperator",
    "TaskDecorator",
    "get_unique_task_id",
    "is_async_callable",
    "prevent_duplicates",
    "remove_task_decorator",
    "task_decorator_factory",
]
TaskDecorator = TaskFactory
TaskDecoratorCollection = TaskDecorators
DecoratedMappedOperator = DecoratedOperator


def get_unique_task_id(task_id: str, dag: Any = None, task_group: Any = None) -> str:
    """Return the id, or with a number where the DAG has a task of it."""
    from dagbok.authoring import session

    return unique_task_id(task_id, dag or session.current_dag(), task_group or session.current_group())


def task_decorator_factory(
    python_callable: Callable[..., Any] | None = None,
    *,
    multiple_outputs: bool | None = None,
    decorated_operator_class: type[Any],
    **kwargs: Any,
) -> Any:
    """Turn a function into a factory of tasks of an operator's class; without one, return what does so."""
    settings = {**kwargs, "multiple_outputs": multiple_outputs}
    return task._decorate(decorated_operator_class, python_callable, settings)


def is_async_callable(func: Any) -> bool:
    """Whether a call gives something to be awaited."""
    return inspect.iscoroutinefunction(func) or inspect.iscoroutinefunction(
        getattr(type(func), "__call__", None)  # noqa: B004 (its kind is asked for)
    )


def prevent_duplicates(kwargs1: dict[str, Any], kwargs2: dict[str, Any], *, fail_reason: str) -> None:
    """Raise where something is given twice."""
    twice = sorted(set(kwargs1) & set(kwargs2))
    if twice:
        raise TypeError(f"{fail_reason} argument{'s' if len(twice) > 1 else ''}: {', '.join(twice)}")


def remove_task_decorator(python_source: str, task_decorator_name: str) -> str:
    """Return a function's source without the decorator that made it a task."""
    lines, kept, depth, inside = python_source.splitlines(keepends=True), [], 0, False
    for line in lines:
        stripped = line.strip()
        if not inside and stripped.startswith(task_decorator_name):
            after = stripped[len(task_decorator_name) :]
            inside = after.startswith("(") or not after or after.startswith("#")
            if not inside:
                kept.append(line)
                continue
            depth = 0
        if inside:
            depth += line.count("(") - line.count(")")
            inside = depth > 0
            continue
        kept.append(line)
    return "".join(kept)
