"""Setups and teardowns: marks on tasks, and `with setup >> teardown:`, which joins what is made inside."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Self

from dagbok.authoring.edges import DependencyMixin
from dagbok.authoring.enums import TriggerRule
from dagbok.exceptions import AirflowException

if TYPE_CHECKING:
    from dagbok.authoring.operator import BaseOperator


class Marks:
    """What makes a task a setup or a teardown; the task itself is the subclass."""

    task_id: str
    trigger_rule: TriggerRule
    on_failure_fail_dagrun: bool = False
    _is_setup: bool = False
    _is_teardown: bool = False

    @property
    def is_setup(self) -> bool:
        """Whether it is a setup."""
        return self._is_setup

    @is_setup.setter
    def is_setup(self, value: bool) -> None:
        if value and self._is_teardown:
            raise ValueError(f"Cannot mark task '{self.task_id}' as setup; task is already a teardown.")
        self._is_setup = bool(value)

    @property
    def is_teardown(self) -> bool:
        """Whether it is a teardown."""
        return self._is_teardown

    @is_teardown.setter
    def is_teardown(self, value: bool) -> None:
        if value and self._is_setup:
            raise ValueError(f"Cannot mark task '{self.task_id}' as teardown; task is already a setup.")
        self._is_teardown = bool(value)

    def as_setup(self) -> Self:
        """Mark it as a setup."""
        self.is_setup = True
        return self

    def as_teardown(self, *, setups: Any = None, on_failure_fail_dagrun: bool | None = None) -> Self:
        """Mark it as the teardown of these setups, which become direct upstreams of it."""
        self.is_teardown = True
        self.trigger_rule = TriggerRule.ALL_DONE_SETUP_SUCCESS
        if on_failure_fail_dagrun is not None:
            self.on_failure_fail_dagrun = bool(on_failure_fail_dagrun)
        if setups is not None:
            for setup in operators_of(setups):
                setup.is_setup = True
                setup.set_downstream(self)
        return self

    def __enter__(self) -> type[SetupTeardownContext]:
        return SetupTeardownContext.push([self])  # type: ignore[list-item]

    def __exit__(self, *exception: object) -> None:
        SetupTeardownContext.pop(joined=exception[0] is None)


def operators_of(nodes: Any) -> list[BaseOperator]:
    """Return the tasks of one node or several, of a result the one that returns it."""
    if isinstance(nodes, DependencyMixin):
        return list(nodes.leaves)  # type: ignore[arg-type]
    if isinstance(nodes, Iterable):
        return [task for node in nodes for task in operators_of(node)]
    raise AirflowException(f"a setup is a task, not {type(nodes).__name__}: {nodes!r}")


class _Level:
    """One `with` in force."""

    def __init__(self, setups: Sequence[BaseOperator], teardowns: Sequence[BaseOperator]) -> None:
        self.setups, self.teardowns = setups, teardowns
        self.inside: list[BaseOperator] = []


_levels: list[_Level] = []
# As in Airflow, what is made after an inner `with` is taken by no outer one.
_active = False


class SetupTeardownContext:
    """What `with setup >> teardown as scope:` gives; tasks made before are added with `add_task`."""

    @property
    def active(self) -> bool:
        """Whether a `with` is in force."""
        return _active

    @staticmethod
    def add_task(task: Any) -> None:
        """Take a task in that was made before."""
        if not _active:
            raise AirflowException("Cannot add task to context outside the context manager.")
        for operator in operators_of(task):
            note(operator)

    @classmethod
    def push(cls, operators: Sequence[BaseOperator]) -> type[SetupTeardownContext]:
        """Begin a `with` over setups, or over teardowns, all of one kind."""
        global _active
        if any(not task.is_setup and not task.is_teardown for task in operators):
            raise AirflowException("Only setup/teardown tasks can be used as context managers.")
        if any(task.is_setup != operators[0].is_setup for task in operators):
            raise ValueError("All tasks in the list must be either setup or teardown tasks")
        if operators[0].is_setup:
            below = {task.task_id: task for one in operators for task in one.downstream_list}
            teardowns = [task for task in below.values() if task.is_teardown]
            _levels.append(_Level(operators, teardowns))
        else:
            above = {task.task_id: task for one in operators for task in one.upstream_list}
            setups = [task for task in above.values() if task.is_setup]
            _levels.append(_Level(setups, operators))
        _active = True
        return cls

    @staticmethod
    def pop(*, joined: bool = True) -> None:
        """End a `with`: what was made inside stands between its setups and its teardowns."""
        global _active
        level, _active = _levels.pop(), False
        if not joined:
            return
        inside = [task for task in level.inside if not task.is_setup and not task.is_teardown]
        roots = [task for task in inside if not task.upstream_task_ids] or inside[:1]
        leaves = [task for task in inside if not task.downstream_task_ids] or inside[-1:]
        for setup in level.setups:
            setup.set_downstream(roots)
        for teardown in level.teardowns:
            teardown.set_upstream(leaves)
        if not _levels:
            return
        outer = _levels[-1]
        for setup in outer.setups:
            setup.set_downstream([task for task in level.setups if task is not setup])
        for teardown in outer.teardowns:
            teardown.set_upstream([task for task in level.teardowns if task is not teardown])


def note(task: BaseOperator) -> None:
    """Take a new task into the `with` in force, if any."""
    if _active:
        _levels[-1].inside.append(task)


def forget() -> None:
    """Drop what an earlier file left open."""
    global _active
    _levels.clear()
    _active = False


class ContextWrapper(list[Any]):
    """Several setups, or several teardowns, for one `with`."""

    def __init__(self, tasks: Iterable[Any]) -> None:
        super().__init__(tasks)

    def __enter__(self) -> type[SetupTeardownContext]:
        return SetupTeardownContext.push(operators_of(list(self)))

    def __exit__(self, *exception: object) -> None:
        SetupTeardownContext.pop(joined=exception[0] is None)


context_wrapper = ContextWrapper
