"""PythonOperator, and the context of the task that is running."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from dagbok.authoring.operator import BaseOperator
from dagbok.operators.arguments import context_arguments


class PythonOperator(BaseOperator):
    """Calls a function in the try's process."""

    template_fields: Sequence[str] = ("templates_dict", "op_args", "op_kwargs")
    ui_color = "#ffefeb"
    shallow_copy_attrs = ("python_callable", "op_kwargs")

    def __init__(
        self,
        *,
        python_callable: Callable[..., Any],
        op_args: Collection[Any] | None = None,
        op_kwargs: Mapping[str, Any] | None = None,
        templates_dict: dict[str, Any] | None = None,
        templates_exts: list[str] | None = None,
        show_return_value_in_logs: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if not callable(python_callable):
            raise TypeError(
                f"python_callable of task `{self.task_id}` must be callable, "
                f"not {type(python_callable).__name__}"
            )
        self.python_callable = python_callable
        self.op_args: Any = op_args or ()
        self.op_kwargs: Any = op_kwargs or {}
        self.templates_dict = templates_dict
        if templates_exts:
            self.template_ext = templates_exts
        self.show_return_value_in_logs = show_return_value_in_logs

    def determine_kwargs(self, context: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the keywords of the call."""
        full = {**context, "templates_dict": self.templates_dict}
        return context_arguments(self.python_callable, tuple(self.op_args), self.op_kwargs, full)

    def execute(self, context: Any) -> Any:
        """Call the function."""
        self.op_kwargs = self.determine_kwargs(context)
        return self.execute_callable()

    def execute_callable(self) -> Any:
        """Call the function with what was determined."""
        from dagbok.runtime.driving import call

        return call(self.python_callable, *self.op_args, **self.op_kwargs)


def get_current_context() -> Any:
    """Return the context of the task that is running."""
    from dagbok.runtime.current import current_context

    return current_context()
