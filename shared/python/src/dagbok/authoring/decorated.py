"""The base of the operators that `@task` and its kinds make: a function with the arguments of one call."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from dagbok.authoring import session
from dagbok.authoring.operator import BaseOperator
from dagbok.operators.arguments import context_arguments

if TYPE_CHECKING:
    from dagbok.authoring.dag import DAG

# Names that the run's context fills in, so that a call need not give them.
CONTEXT_NAMES = frozenset(
    [
        "conf",
        "conn",
        "dag",
        "dag_run",
        "data_interval_end",
        "data_interval_start",
        "ds",
        "ds_nodash",
        "execution_date",
        "expanded_ti_count",
        "inlet_events",
        "inlets",
        "logical_date",
        "macros",
        "map_index_template",
        "next_ds",
        "next_ds_nodash",
        "next_execution_date",
        "outlet_events",
        "outlets",
        "params",
        "prev_data_interval_end_success",
        "prev_data_interval_start_success",
        "prev_ds",
        "prev_ds_nodash",
        "prev_end_date_success",
        "prev_execution_date",
        "prev_execution_date_success",
        "prev_start_date_success",
        "run_id",
        "start_date",
        "task",
        "task_instance",
        "task_instance_key_str",
        "task_reschedule_count",
        "templates_dict",
        "test_mode",
        "ti",
        "tomorrow_ds",
        "tomorrow_ds_nodash",
        "triggering_asset_events",
        "triggering_dataset_events",
        "try_number",
        "ts",
        "ts_nodash",
        "ts_nodash_with_tz",
        "var",
        "yesterday_ds",
        "yesterday_ds_nodash",
    ]
)


def unique_task_id(task_id: str, dag: DAG | None, group: Any) -> str:
    """Return the id, or with `__1`, `__2` … where the DAG already has a task of it."""
    if dag is None or session.is_apart():
        return task_id
    prefixed = group.child_id if group is not None else str
    if prefixed(task_id) not in dag.used_ids:
        return task_id
    stem = re.split(r"__\d+$", task_id)[0]
    number = 1
    while prefixed(f"{stem}__{number}") in dag.used_ids:
        number += 1
    return f"{stem}__{number}"


def with_context_defaults(function: Callable[..., Any]) -> inspect.Signature:
    """Return a function's signature where the context's names need not be given."""
    signature = inspect.signature(function)
    parameters, optional = [], False
    for parameter in signature.parameters.values():
        changed = parameter
        if parameter.kind in {parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD}:
            fills = parameter.name in CONTEXT_NAMES
            if (fills or optional) and parameter.default is parameter.empty:
                changed = parameter.replace(default=None)
            optional = optional or changed.default is not parameter.empty
        elif parameter.kind is parameter.KEYWORD_ONLY and parameter.name in CONTEXT_NAMES:
            changed = parameter.replace(default=None)
        parameters.append(changed)
    return signature.replace(parameters=parameters)


class DecoratedOperator(BaseOperator):
    """Base of the operators that `@task` makes: a function with the arguments of one call."""

    custom_operator_name = "@task"
    template_fields: Sequence[str] = ("templates_dict", "op_args", "op_kwargs")
    shallow_copy_attrs = ("python_callable",)

    def __init__(
        self,
        *,
        python_callable: Callable[..., Any],
        task_id: str,
        op_args: Any = None,
        op_kwargs: Mapping[str, Any] | None = None,
        templates_dict: dict[str, Any] | None = None,
        templates_exts: list[str] | None = None,
        show_return_value_in_logs: bool = True,
        **kwargs: Any,
    ) -> None:
        dag = kwargs.get("dag") or session.current_dag()
        group = kwargs.get("task_group") or session.current_group()
        super().__init__(task_id=unique_task_id(task_id, dag, group), **kwargs)
        self.python_callable = python_callable
        self.op_args, self.op_kwargs = list(op_args or ()), dict(op_kwargs or {})
        self.templates_dict = templates_dict
        if templates_exts:
            self.template_ext = templates_exts
        self.show_return_value_in_logs = show_return_value_in_logs
        try:
            with_context_defaults(python_callable).bind(*self.op_args, **self.op_kwargs)
        except TypeError as error:
            name = getattr(python_callable, "__name__", "the function")
            raise TypeError(f"task `{self.task_id}`: {name}() was called wrongly: {error}") from None

    def get_python_source(self) -> str:
        """Return the function's source without its decorator, for whoever runs it in another Python."""
        import textwrap

        from dagbok.surface.sources import without_decorators

        return without_decorators(textwrap.dedent(inspect.getsource(self.python_callable)))

    def call_arguments(self, context: Mapping[str, Any]) -> tuple[list[Any], dict[str, Any]]:
        """Return the arguments of this run: the call's, with the context's where the function asks for it."""
        full = context if self.templates_dict is None else {**context, "templates_dict": self.templates_dict}
        return self.op_args, context_arguments(self.python_callable, self.op_args, self.op_kwargs, full)


class _PythonDecoratedOperator(DecoratedOperator):
    """A function run in the try's process."""

    def execute(self, context: Any) -> Any:
        """Call the function."""
        args, kwargs = self.call_arguments(context)
        from dagbok.runtime.driving import call

        return call(self.python_callable, *args, **kwargs)
