"""Operators that decide which of the tasks below them run: branches, short circuits, the latest run only.

What is decided is told to the executor, and counts once the try has succeeded. What Airflow keeps as the XCom
`skipmixin_key` is pushed too, for whoever reads it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from dagbok.authoring.decorated import _PythonDecoratedOperator
from dagbok.authoring.operator import BaseOperator
from dagbok.exceptions import AirflowException, DownstreamTasksSkipped
from dagbok.operators.python import PythonOperator

if TYPE_CHECKING:
    from dagbok.runtime.task_instance import TaskInstance

XCOM_SKIPMIXIN_KEY = "skipmixin_key"
XCOM_SKIPMIXIN_SKIPPED = "skipped"
XCOM_SKIPMIXIN_FOLLOWED = "followed"


class SkipMixin:
    """Skips tasks of the run, for operators that decide so."""

    def skip(
        self,
        dag_run: Any = None,
        execution_date: Any = None,
        tasks: Iterable[Any] | None = None,
        map_index: int = -1,
        session: Any = None,
        *,
        ti: TaskInstance | None = None,
    ) -> None:
        """Skip these tasks: `skip(ti, tasks)` in Airflow 3, before `skip(dag_run, date, tasks)`."""
        ti, wanted = _asked(dag_run, execution_date, tasks, ti)
        task_ids = [task.task_id for task in wanted if isinstance(task, BaseOperator)]
        if task_ids:
            ti.xcom_push(XCOM_SKIPMIXIN_KEY, {XCOM_SKIPMIXIN_SKIPPED: task_ids})
            _skip(ti, task_ids)

    @staticmethod
    def skip_all_except(ti: TaskInstance, branch_task_ids: Any) -> None:
        """Skip the tasks right below, but for those named and those below them."""
        followed = _checked(branch_task_ids)
        _log(ti).info("Following branch %s", followed or "{}")
        dag = ti.task.dag
        unknown = followed - set(dag.task_ids)
        if unknown:
            raise AirflowException(
                f"'branch_task_ids' must contain only valid task_ids. Invalid tasks found: {unknown}."
            )
        below = ti.task.downstream_list
        if not below:
            return
        for task_id in tuple(followed):
            followed |= dag.get_task(task_id).get_flat_relative_ids(upstream=False)
        skipped = [task.task_id for task in below if task.task_id not in followed]
        taken = [task.task_id for task in below if task.task_id in followed]
        _log(ti).info("Skipping tasks %s", skipped)
        ti.xcom_push(XCOM_SKIPMIXIN_KEY, {XCOM_SKIPMIXIN_FOLLOWED: taken})
        if skipped:
            _skip(ti, skipped)


def _asked(
    dag_run: Any, execution_date: Any, tasks: Any, ti: TaskInstance | None
) -> tuple[TaskInstance, Iterable[Any]]:
    from dagbok.runtime.current import current_context
    from dagbok.runtime.task_instance import TaskInstance

    if isinstance(dag_run, TaskInstance):
        ti, tasks = dag_run, execution_date if tasks is None else tasks
    if ti is None:
        ti = current_context()["ti"]
    return ti, [tasks] if isinstance(tasks, BaseOperator) else tasks or ()


def _skip(ti: TaskInstance, task_ids: list[str]) -> None:
    # In Airflow 3 the decision ends the task, and nothing that it returns is pushed; copies go on there, too.
    if ti.task.dag.era == 3 and ti.map_index < 0:
        raise DownstreamTasksSkipped(tasks=task_ids)
    ti.skip_downstream(task_ids)


def _checked(branch_task_ids: Any) -> set[str]:
    if branch_task_ids is None:
        return set()
    if isinstance(branch_task_ids, str):
        return {branch_task_ids}
    if not isinstance(branch_task_ids, Iterable):
        raise AirflowException(
            "'branch_task_ids' must be either None, a task ID, or an Iterable of IDs, "
            f"but got {type(branch_task_ids).__name__!r}."
        )
    named = list(branch_task_ids)
    odd = [(name, type(name).__name__) for name in named if not isinstance(name, str)]
    if odd:
        raise AirflowException(
            f"'branch_task_ids' expected all task IDs are strings. Invalid tasks found: {odd}."
        )
    return set(named)


def _log(ti: TaskInstance) -> Any:
    return ti.task.log


class BranchMixIn(SkipMixin):
    """Follows a choice of tasks and groups."""

    def do_branch(self, context: Any, branches_to_execute: Any) -> Any:
        """Skip what was not chosen; return the choice as it was given."""
        ti = context["ti"]
        _log(ti).info("Branch into %s", branches_to_execute)
        chosen = None
        if branches_to_execute is not None:
            chosen = list(self._expand_task_group_roots(ti, branches_to_execute))
        self.skip_all_except(ti, chosen)
        return branches_to_execute

    def _expand_task_group_roots(self, ti: TaskInstance, branches_to_execute: Any) -> Iterator[Any]:
        """Yield the chosen tasks, of a group the first ones."""
        if isinstance(branches_to_execute, str) or not isinstance(branches_to_execute, Iterable):
            branches_to_execute = [branches_to_execute]
        groups = ti.task.dag.task_group_dict
        for branch in branches_to_execute:
            group = groups.get(branch) if isinstance(branch, str) else None
            if group is None:
                yield branch
            else:
                yield from (root.task_id for root in group.roots)  # type: ignore[attr-defined]


class BaseBranchOperator(BaseOperator, BranchMixIn):
    """Base of operators that choose: `choose_branch(context)` returns ids of tasks or groups, or None."""

    inherits_from_skipmixin = True

    def choose_branch(self, context: Any) -> Any:
        """Return the id or ids to follow."""
        raise NotImplementedError(f"{type(self).__name__} defines no choose_branch(context)")

    def execute(self, context: Any) -> Any:
        """Choose, and skip the rest."""
        return self.do_branch(context, self.choose_branch(context))


class BranchPythonOperator(PythonOperator, BranchMixIn):
    """Follows the tasks or groups whose ids a function returns."""

    inherits_from_skipmixin = True

    def execute(self, context: Any) -> Any:
        """Call the function, and skip the rest."""
        return self.do_branch(context, super().execute(context))


class _BranchPythonDecoratedOperator(_PythonDecoratedOperator, BranchMixIn):
    """A branch with @task.branch."""

    custom_operator_name = "@task.branch"
    inherits_from_skipmixin = True

    def execute(self, context: Any) -> Any:
        """Call the function, and skip the rest."""
        return self.do_branch(context, super().execute(context))


class _ShortCircuit(SkipMixin):
    """Skips everything below where a condition is not met."""

    inherits_from_skipmixin = True
    ignore_downstream_trigger_rules: bool

    def _go_on_if(self, condition: Any, context: Any) -> Any:
        ti = context["ti"]
        log, task = _log(ti), ti.task
        log.info("Condition result is %s", condition)
        if condition:
            log.info("Proceeding with downstream tasks...")
            return condition
        if not task.downstream_task_ids:
            log.info("No downstream tasks; nothing to do.")
            return condition
        all_below = self.ignore_downstream_trigger_rules is True
        tasks = task.get_flat_relatives() if all_below else task.downstream_list
        log.info("Skipping downstream tasks")
        self.skip(ti=ti, tasks=[below for below in tasks if not below.is_teardown])
        return condition


class ShortCircuitOperator(PythonOperator, _ShortCircuit):
    """Goes on only where a function returns something true."""

    def __init__(self, *, ignore_downstream_trigger_rules: bool = True, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.ignore_downstream_trigger_rules = ignore_downstream_trigger_rules

    def execute(self, context: Any) -> Any:
        """Call the function, and skip what is below where it says so."""
        return self._go_on_if(super().execute(context), context)


class _ShortCircuitDecoratedOperator(_PythonDecoratedOperator, _ShortCircuit):
    """A short circuit with @task.short_circuit."""

    custom_operator_name = "@task.short_circuit"

    def __init__(self, *, ignore_downstream_trigger_rules: bool = True, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.ignore_downstream_trigger_rules = ignore_downstream_trigger_rules

    def execute(self, context: Any) -> Any:
        """Call the function, and skip what is below where it says so."""
        return self._go_on_if(super().execute(context), context)


class LatestOnlyOperator(BaseBranchOperator):
    """Goes on only in the latest run by the schedule, and in runs that somebody triggered."""

    ui_color = "#e9ffdb"
    _wants_next_interval = True

    def choose_branch(self, context: Any) -> list[str]:
        """Return all that is right below, or nothing."""
        run, ti = context["dag_run"], context["ti"]
        everything = sorted(self.downstream_task_ids)
        if run.external_trigger:
            self.log.info("Manually triggered DAG_Run: allowing execution to proceed.")
            return everything
        following = ti.next_data_interval
        if following is None:
            self.log.info("Last scheduled execution: allowing execution to proceed.")
            return everything
        own = run.data_interval_start if ti.task.dag.era == 3 else run.data_interval_end
        left, now, right = own or run.run_after, datetime.now(UTC), following[1]
        self.log.info("Checking latest only with left_window: %s right_window: %s now: %s", left, right, now)
        if left < now <= right:
            self.log.info("Latest, allowing execution to proceed.")
            return everything
        self.log.info("Not latest execution, skipping downstream.")
        return []
