"""TaskFlow: `@task` turns a function into a factory of tasks, whose calls give references to results."""

from __future__ import annotations

import functools
import inspect
import re
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar, overload

from dagbok.authoring import session
from dagbok.authoring.operator import BaseOperator
from dagbok.authoring.xcom_arg import XComArg
from dagbok.exceptions import AirflowException

if TYPE_CHECKING:
    from dagbok.authoring.dag import DAG

P = ParamSpec("P")
R = TypeVar("R")

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
    if dag is None:
        return task_id
    prefixed = group.child_id if group is not None else str
    if prefixed(task_id) not in dag.used_ids:
        return task_id
    stem = re.split(r"__\d+$", task_id)[0]
    number = 1
    while prefixed(f"{stem}__{number}") in dag.used_ids:
        number += 1
    return f"{stem}__{number}"


def returns_mapping(function: Callable[..., Any]) -> bool:
    """Whether a function's annotation says that it returns a dict, each key of which is an XCom then."""
    if "return" not in getattr(function, "__annotations__", {}):
        return False
    try:
        hint = typing.get_type_hints(function).get("return")
    except Exception:  # an annotation that can't be evaluated says nothing
        return False
    kind = typing.get_origin(hint) or hint
    return isinstance(kind, type) and issubclass(kind, Mapping)


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

    def call_arguments(self, context: Mapping[str, Any]) -> tuple[list[Any], dict[str, Any]]:
        """Return the arguments of this run: the call's, with the context's where the function asks for it."""
        from dagbok.operators.arguments import context_arguments

        full = context if self.templates_dict is None else {**context, "templates_dict": self.templates_dict}
        return self.op_args, context_arguments(self.python_callable, self.op_args, self.op_kwargs, full)


class _PythonDecoratedOperator(DecoratedOperator):
    """A function run in the try's process."""

    def execute(self, context: Any) -> Any:
        """Call the function."""
        args, kwargs = self.call_arguments(context)
        return self.python_callable(*args, **kwargs)


class TaskFactory(Generic[P, R]):
    """What `@task` makes of a function; a call adds a task to the DAG and returns a reference."""

    def __init__(
        self,
        function: Callable[P, R],
        operator_class: type[DecoratedOperator],
        settings: dict[str, Any],
        feature: str | None = None,
    ) -> None:
        if inspect.isclass(function):
            raise TypeError(f"@task goes on functions, not on the class {function.__name__}")
        if "self" in inspect.signature(function).parameters:
            raise TypeError("@task does not go on methods")
        self.function = function
        self.operator_class = operator_class
        self.settings = settings
        self.feature = feature
        self.is_teardown = self.is_setup = False
        functools.update_wrapper(self, function)

    def _operator_settings(self) -> dict[str, Any]:
        settings = {"task_id": self.function.__name__, **self.settings}
        if settings.get("multiple_outputs") is None:
            settings["multiple_outputs"] = returns_mapping(self.function)
        if settings.get("doc_md") is None and self.function.__doc__:
            settings["doc_md"] = inspect.cleandoc(self.function.__doc__)
        return settings

    def __call__(self, *args: Any, **kwargs: Any) -> XComArg:
        """Add a task to the DAG."""
        if session.current_dag() is None and "dag" not in self.settings:
            raise AirflowException(
                f"the task function {self.function.__name__}() was called outside a DAG; "
                "call it inside `with DAG(…)` or a function with @dag"
            )
        operator = self.operator_class(
            python_callable=self.function, op_args=args, op_kwargs=kwargs, **self._operator_settings()
        )
        if self.feature:
            operator._refuse(self.feature)
        return XComArg(operator)

    def override(self, **settings: Any) -> TaskFactory[P, R]:
        """Return the same with other settings."""
        return TaskFactory(self.function, self.operator_class, {**self.settings, **settings}, self.feature)

    def partial(self, **kwargs: Any) -> _Partial:
        """Start a mapped task, which is refused when its file is parsed."""
        return _Partial(self, kwargs)

    def expand(self, **mapped: Any) -> XComArg:
        """Refused when the DAG is parsed."""
        return _Partial(self, {}).expand(**mapped)

    def expand_kwargs(self, kwargs: Any, *, strict: bool = True) -> XComArg:
        """Refused when the DAG is parsed."""
        return _Partial(self, {}).expand(kwargs=kwargs)


class _Partial:
    def __init__(self, factory: TaskFactory[Any, Any], given: dict[str, Any]) -> None:
        self.factory, self.given = factory, given

    def expand(self, **mapped: Any) -> XComArg:
        from dagbok.authoring.mapping import mapped_placeholder

        wanted = str(self.factory.settings.get("task_id", self.factory.function.__name__))
        task_id = unique_task_id(wanted, session.current_dag(), session.current_group())
        return mapped_placeholder(task_id, [self.given, mapped])

    def expand_kwargs(self, kwargs: Any, *, strict: bool = True) -> XComArg:
        return self.expand(kwargs=kwargs)


class TaskDecorators:
    """`@task`, and `@task.<kind>` for the kinds that ship."""

    def __init__(self, dag: DAG | None = None) -> None:
        self._dag = dag

    @overload
    def __call__(self, python_callable: Callable[P, R], **kwargs: Any) -> TaskFactory[P, R]: ...
    @overload
    def __call__(
        self, python_callable: None = None, **kwargs: Any
    ) -> Callable[[Callable[P, R]], TaskFactory[P, R]]: ...
    def __call__(self, python_callable: Any = None, **kwargs: Any) -> Any:
        """Run a function as a task."""
        return self._decorate(_PythonDecoratedOperator, python_callable, kwargs)

    def python(self, python_callable: Any = None, **kwargs: Any) -> Any:
        """Run a function as a task."""
        return self._decorate(_PythonDecoratedOperator, python_callable, kwargs)

    def bash(self, python_callable: Any = None, **kwargs: Any) -> Any:
        """Run the command that a function returns."""
        from dagbok.operators.bash import _BashDecoratedOperator

        return self._decorate(_BashDecoratedOperator, python_callable, kwargs)

    def sensor(self, python_callable: Any = None, **kwargs: Any) -> Any:
        """Call a function until it returns something true."""
        from dagbok.operators.sensor import _SensorDecoratedOperator

        return self._decorate(_SensorDecoratedOperator, python_callable, kwargs)

    def __getattr__(self, kind: str) -> Any:
        if kind.startswith("_"):
            raise AttributeError(kind)

        def refused(python_callable: Any = None, **kwargs: Any) -> Any:
            """Refused when the DAG is parsed."""
            return self._decorate(_RefusedDecoratedOperator, python_callable, kwargs, f"@task.{kind} is")

        return refused

    def _decorate(
        self,
        operator_class: type[DecoratedOperator],
        function: Any,
        settings: dict[str, Any],
        feature: str | None = None,
    ) -> Any:
        if self._dag is not None:
            settings = {"dag": self._dag, **settings}
        if function is None:
            return lambda wrapped: TaskFactory(wrapped, operator_class, settings, feature)
        if isinstance(function, TaskFactory):
            function = function.function
        if not callable(function):
            raise TypeError(f"@task goes on functions, not on {function!r}; its settings are given by name")
        return TaskFactory(function, operator_class, settings, feature)


class _RefusedDecoratedOperator(DecoratedOperator):
    """Stands for a kind of task that can't run today; takes whatever settings that kind has."""

    def __init__(self, **kwargs: Any) -> None:
        names = ("python_callable", "task_id", "op_args", "op_kwargs", "dag", "trigger_rule", "retries")
        super().__init__(**{name: kwargs[name] for name in names if name in kwargs})


task = TaskDecorators()


def setup(function: Any) -> Any:
    """Refused when the DAG is parsed: setup tasks come in a later version."""
    return _marked(function)


def teardown(function: Any = None, *, on_failure_fail_dagrun: bool = False) -> Any:
    """Refused when the DAG is parsed: teardown tasks come in a later version."""
    return _marked if function is None else _marked(function)


def _marked(function: Any) -> Any:
    factory = function if isinstance(function, TaskFactory) else task(function)
    feature = "setup and teardown tasks are"
    return TaskFactory(factory.function, factory.operator_class, factory.settings, feature)
