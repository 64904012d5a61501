"""How an operator goes on after its trigger."""

from __future__ import annotations

from typing import Any

from dagbok.exceptions import AirflowException

# What is called where the trigger came to nothing, and its word where the time was up, as in Airflow.
FAIL = "__fail__"
TIMEOUT = "Trigger timeout"


def resume(task: Any, next_method: str, next_kwargs: dict[str, Any] | None, context: Any) -> Any:
    """Call the method that a task named, or raise what became of its trigger."""
    from dagbok.runtime.driving import call
    from dagbok.surface.errors import TaskDeferralError, TaskDeferralTimeout

    next_kwargs = next_kwargs or {}
    if next_method == FAIL:
        if traceback := next_kwargs.get("traceback"):
            task.log.error("Trigger failed:\n%s", "\n".join(traceback))
        error = next_kwargs.get("error", "Unknown")
        if error == TIMEOUT:
            raise TaskDeferralTimeout(error)
        raise TaskDeferralError(error)
    method = getattr(task, next_method, None)
    if method is None:
        raise AirflowException(f"task `{task.task_id}` has no method `{next_method}` to go on with")
    return call(method, context, **next_kwargs)
