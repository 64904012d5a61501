"""What an operator gives its slot up by, and goes on with."""

from __future__ import annotations

from typing import Any, NoReturn

from dagbok.exceptions import TaskDeferred


class Deferring:
    """Operators that may wait for a trigger: all of them."""

    # Where it begins with a trigger and none of its own code: which.
    start_trigger_args: Any = None
    start_from_trigger: bool = False

    def defer(
        self,
        *,
        trigger: Any,
        method_name: str,
        kwargs: dict[str, Any] | None = None,
        timeout: Any = None,
    ) -> NoReturn:
        """Give the slot up until a trigger fires; then `method_name` is called with its event."""
        raise TaskDeferred(trigger=trigger, method_name=method_name, kwargs=kwargs, timeout=timeout)

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Any) -> Any:
        """Go on after a trigger: call that method, or raise what became of the trigger."""
        from dagbok.runtime.resuming import resume

        return resume(self, next_method, next_kwargs, context)
