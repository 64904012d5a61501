"""TaskFlow: `@task` turns a function into a factory of tasks, whose calls give references to results."""

from __future__ import annotations

import functools
import inspect
import typing
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, ParamSpec, TypeVar, overload

from dagbok.authoring import session
from dagbok.authoring.decorated import (
    DecoratedOperator,
    _PythonDecoratedOperator,
    unique_task_id,
    with_context_defaults,
)
from dagbok.authoring.mapping import Mapped, Partial
from dagbok.authoring.operator import BaseOperator
from dagbok.authoring.xcom_arg import XComArg
from dagbok.exceptions import AirflowException

if TYPE_CHECKING:
    from dagbok.authoring.dag import DAG

P = ParamSpec("P")
R = TypeVar("R")


class Marks(NamedTuple):
    """Whether the tasks of a factory are setups or teardowns."""

    is_setup: bool = False
    is_teardown: bool = False
    on_failure_fail_dagrun: bool = False

    def put_on(self, operator: BaseOperator) -> None:
        """Make a task what it is to be."""
        if self.is_setup:
            operator.as_setup()
        if self.is_teardown:
            operator.as_teardown(on_failure_fail_dagrun=self.on_failure_fail_dagrun)


NO_MARKS = Marks()


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


class TaskFactory(Generic[P, R]):
    """What `@task` makes of a function; a call adds a task to the DAG and returns a reference."""

    makes_tasks = True

    def __init__(
        self,
        function: Callable[P, R],
        operator_class: type[DecoratedOperator],
        settings: dict[str, Any],
        feature: str | None = None,
        marks: Marks = NO_MARKS,
    ) -> None:
        if inspect.isclass(function):
            raise TypeError(f"@task goes on functions, not on the class {function.__name__}")
        if "self" in inspect.signature(function).parameters:
            raise TypeError("@task does not go on methods")
        self.function = function
        self.operator_class = operator_class
        self.settings = settings
        self.feature = feature
        self.marks = marks
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
        self.marks.put_on(operator)
        return XComArg(operator)

    def override(self, **settings: Any) -> TaskFactory[P, R]:
        """Return the same with other settings."""
        settings = {**self.settings, **settings}
        return TaskFactory(self.function, self.operator_class, settings, self.feature, self.marks)

    def marked(self, marks: Marks) -> TaskFactory[P, R]:
        """Return the same, whose tasks are setups or teardowns."""
        if marks.is_teardown and "trigger_rule" in self.settings:
            raise ValueError("Trigger rule not configurable for teardown tasks.")
        return TaskFactory(self.function, self.operator_class, self.settings, self.feature, marks)

    def partial(self, **kwargs: Any) -> Partial:
        """Start a mapped task with the arguments that are the same for all of its copies."""
        return Partial(self._mapped, kwargs)

    def expand(self, **mapped: Any) -> XComArg:
        """Add a mapped task: a copy for each element, or each combination of several."""
        return self.partial().expand(**mapped)  # type: ignore[no-any-return]

    def expand_kwargs(self, kwargs: Any, *, strict: bool = True) -> XComArg:
        """Add a mapped task: a copy for each dict of arguments."""
        return self.partial().expand_kwargs(kwargs)  # type: ignore[no-any-return]

    def _mapped(self, mapped: Mapped) -> XComArg:
        """Add the task that stands for all copies."""
        if session.current_dag() is None and "dag" not in self.settings:
            raise AirflowException(
                f"the task function {self.function.__name__}() was mapped outside a DAG; "
                "do it inside `with DAG(…)` or a function with @dag"
            )
        mapped.check_call(with_context_defaults(self.function), self.function.__name__)
        settings = self._operator_settings()
        dag = settings.get("dag") or session.current_dag()
        group = settings.get("task_group") or session.current_group()
        settings["task_id"] = unique_task_id(settings["task_id"], dag, group)
        operator = mapped.stand_in(
            BaseOperator, self.operator_class, {"python_callable": self.function, **settings}, "op_kwargs"
        )
        if self.feature:
            operator._refuse(self.feature)
        self.marks.put_on(operator)
        return XComArg(operator)


# Kinds of Airflow's own provider, which stays out where it is installed.
_LEFT_OUT = {"stub", "llm"}


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
        from dagbok.operators.sensor import DecoratedSensorOperator

        return self._decorate(DecoratedSensorOperator, python_callable, kwargs)

    def branch(self, python_callable: Any = None, **kwargs: Any) -> Any:
        """Follow the tasks or groups whose ids a function returns."""
        from dagbok.operators.branching import _BranchPythonDecoratedOperator

        return self._decorate(_BranchPythonDecoratedOperator, python_callable, kwargs)

    def short_circuit(self, python_callable: Any = None, **kwargs: Any) -> Any:
        """Go on only where a function returns something true."""
        from dagbok.operators.branching import _ShortCircuitDecoratedOperator

        return self._decorate(_ShortCircuitDecoratedOperator, python_callable, kwargs)

    def run_if(self, condition: Callable[[Any], Any], skip_message: str | None = None) -> Any:
        """Run a task only where a function says something true of its context."""
        from dagbok.surface.conditions import run_if

        return run_if(condition, skip_message)

    def skip_if(self, condition: Callable[[Any], Any], skip_message: str | None = None) -> Any:
        """Skip a task where a function says something true of its context."""
        from dagbok.surface.conditions import skip_if

        return skip_if(condition, skip_message)

    def __getattr__(self, kind: str) -> Any:
        if kind.startswith("_"):
            raise AttributeError(kind)

        if kind in {"virtualenv", "external_python", "branch_virtualenv", "branch_external_python"}:

            def elsewhere(python_callable: Any = None, **kwargs: Any) -> Any:
                """Run a function by another Python."""
                from dagbok.operators.virtualenv import DECORATED

                return self._decorate(DECORATED[kind], python_callable, kwargs)

            return elsewhere

        def refused(python_callable: Any = None, **kwargs: Any) -> Any:
            """Refused when the DAG is parsed."""
            return self._decorate(_RefusedDecoratedOperator, python_callable, kwargs, f"@task.{kind} is")

        from dagbok.surface.providers import decorator_of

        provided = None if kind in _LEFT_OUT else decorator_of(kind)
        if provided is not None:
            return provided if self._dag is None else functools.partial(provided, dag=self._dag)
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
    """Turn a function into a factory of setup tasks."""
    return _factory(function).marked(Marks(is_setup=True))


def teardown(function: Any = None, *, on_failure_fail_dagrun: bool = False) -> Any:
    """Turn a function into a factory of teardown tasks."""
    marks = Marks(is_teardown=True, on_failure_fail_dagrun=on_failure_fail_dagrun)
    if function is None:
        return lambda wrapped: _factory(wrapped).marked(marks)
    return _factory(function).marked(marks)


def _factory(function: Any) -> TaskFactory[Any, Any]:
    made: TaskFactory[Any, Any] = function if isinstance(function, TaskFactory) else task(function)
    return made
