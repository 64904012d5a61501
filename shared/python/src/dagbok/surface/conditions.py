"""`@task.run_if` and `@task.skip_if`: a task that skips itself by what a function says of its context."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dagbok.exceptions import AirflowSkipException

__all__ = ["run_if", "skip_if"]


def run_if(condition: Callable[[Any], Any], skip_message: str | None = None) -> Callable[[Any], Any]:
    """Run a task only where the function says something true of its context; else it is skipped."""
    return _skipping_unless(condition, True, skip_message)


def skip_if(condition: Callable[[Any], Any], skip_message: str | None = None) -> Callable[[Any], Any]:
    """Skip a task where the function says something true of its context."""
    return _skipping_unless(condition, False, skip_message)


def _skipping_unless(
    condition: Callable[[Any], Any], wanted: bool, message: str | None
) -> Callable[[Any], Any]:
    def wrap(factory: Any) -> Any:
        if not getattr(factory, "makes_tasks", False):
            raise TypeError("run_if and skip_if go above @task, on what it makes of a function")
        before = factory.settings.get("pre_execute")

        def pre_execute(context: Any) -> None:
            if before is not None:
                before(context)
            if bool(condition(context)) is not wanted:
                raise AirflowSkipException(message)

        return factory.override(pre_execute=pre_execute)

    return wrap
