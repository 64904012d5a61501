"""The task instance, as tasks see it: who it is, and its XComs."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from dagbok.authoring.xcom_arg import XCOM_RETURN_KEY
from dagbok.datetimes import DateTime
from dagbok.runtime import xcom
from dagbok.runtime.copies import LazyXComSequence
from dagbok.surface.columns import WithColumns

if TYPE_CHECKING:
    from dagbok.authoring.operator import BaseOperator
    from dagbok.runtime.checkpoint import Checkpoint, Progress
    from dagbok.runtime.dag_run import DagRun
    from dagbok.runtime.past import OtherTaskInstance
    from dagbok.runtime.supervisor import Supervisor


def _past(name: str) -> Callable[..., Any]:
    """Return what asks about other runs; few tasks do, so it is imported when one does."""

    def asking(*args: Any, **kwargs: Any) -> Any:
        from dagbok.runtime import past

        return getattr(past, name)(*args, **kwargs)

    asking.__name__, asking.__doc__ = name, f"See `dagbok.runtime.past.{name}`."
    return asking


class TaskInstanceKey(NamedTuple):
    """Names one try."""

    dag_id: str
    task_id: str
    run_id: str
    try_number: int = 1
    map_index: int = -1


class TaskInstance(metaclass=WithColumns):
    """One try of a task in a run."""

    def __init__(
        self, details: Mapping[str, Any], task: BaseOperator, dag_run: DagRun, supervisor: Supervisor
    ) -> None:
        own, ti_context = details["ti"], details["ti_context"]
        self.id: str = own["id"]
        self.dag_id: str = own["dag_id"]
        self.run_id: str = own["run_id"]
        self.task_id: str = own["task_id"]
        self.map_index: int = own.get("map_index", -1)
        self.try_number: int = own.get("try_number", 1)
        self.hostname: str = own.get("hostname") or ""
        self.queue: str = own.get("queue") or task.queue
        self.pool: str = own.get("pool") or task.pool
        self.max_tries: int = ti_context.get("max_tries", 0)
        self.task_reschedule_count: int = ti_context.get("task_reschedule_count", 0)
        first = ti_context.get("first_started_at")
        self._first_started_at = None if first is None else DateTime.instance(first)
        following = ti_context.get("next_data_interval")
        self.next_data_interval = following and tuple(map(DateTime.instance, following))
        self.start_date = DateTime.instance(details["start_date"])
        self.end_date: DateTime | None = None
        self.state = "running"
        self.task = task
        self.dag_run = dag_run
        self.rendered_map_index: str | None = None
        # Of a copy in a mapped group, what it got of what that is mapped over.
        self.group_arguments: dict[int, dict[str, Any]] = {}
        self._supervisor = supervisor
        self._context: Any = None
        self._checkpoint: Checkpoint | None = None
        self._progress: Progress | None = None

    logical_date = property(lambda self: self.dag_run.logical_date, doc="The run's logical date.")
    execution_date = logical_date
    operator = property(lambda self: self.task.task_type, doc="The operator's class.")
    priority_weight = property(lambda self: self.task.priority_weight, doc="The task's own weight.")
    log = property(lambda self: logging.getLogger("airflow.task"), doc="The task's logger.")

    @property
    def key(self) -> TaskInstanceKey:
        """Names this try."""
        return TaskInstanceKey(self.dag_id, self.task_id, self.run_id, self.try_number, self.map_index)

    @property
    def duration(self) -> float | None:
        """Seconds, once it is over."""
        return None if self.end_date is None else (self.end_date - self.start_date).total_seconds()

    @property
    def prev_attempted_tries(self) -> int:
        """Tries before this one."""
        return self.try_number - 1

    @property
    def next_try_number(self) -> int:
        """The number of the try after this one."""
        return self.try_number + 1

    @property
    def log_url(self) -> str:
        """Where this try's log is read: an address of the API."""
        return f"{self._address()}/logs/{self.try_number}"

    @property
    def mark_success_url(self) -> str:
        """The task instance's address in the API."""
        return self._address()

    def _address(self) -> str:
        from urllib.parse import quote

        from dagbok.models.configuration import conf

        base = conf.get("api", "base_url", fallback=None) or conf.get("webserver", "base_url")
        dag_id, run_id, task_id = (quote(part, safe="") for part in (self.dag_id, self.run_id, self.task_id))
        path = f"api/v2/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}"
        if self.map_index >= 0:
            path += f"/{self.map_index}"
        return f"{base.rstrip('/')}/{path}"

    def get_previous_dagrun(self, state: Any = None, session: Any = None) -> DagRun | None:
        """Return the run before this one, in a state where one is named; None where there is none."""
        return self.dag_run.get_previous_dagrun(state)

    def get_previous_ti(
        self,
        state: Any = None,
        session: Any = None,
        *,
        logical_date: Any = None,
        map_index: int | None = None,
    ) -> OtherTaskInstance | None:
        """Return this task of the newest earlier run, in a state where one is named."""
        from dagbok.runtime.past import previous_task

        date = self.logical_date if logical_date is None else logical_date
        copy = self.map_index if map_index is None else map_index
        return previous_task(self.dag_id, self.task_id, date, copy, state)

    previous_ti = property(get_previous_ti, doc="This task of the newest earlier run.")
    previous_ti_success = property(
        lambda self: self.get_previous_ti("success"), doc="The last time that it succeeded."
    )

    def get_previous_execution_date(self, state: Any = None, session: Any = None) -> DateTime | None:
        """Return the logical date of the run before this one."""
        before = self.get_previous_dagrun(state)
        return None if before is None else before.logical_date

    get_previous_logical_date = get_previous_execution_date

    def get_previous_start_date(self, state: Any = None, session: Any = None) -> DateTime | None:
        """Return when the run before this one began."""
        before = self.get_previous_dagrun(state)
        return None if before is None else before.start_date

    get_ti_count = staticmethod(_past("count_tasks"))
    get_task_states = staticmethod(_past("task_states"))
    get_dr_count = staticmethod(_past("count_runs"))
    get_dagrun_state = staticmethod(_past("run_state"))

    def current_state(self, session: Any = None) -> str:
        """Return its state."""
        return self.state

    def get_template_context(self) -> Any:
        """Return the context."""
        return self._context

    def get_dagrun(self, session: Any = None) -> DagRun:
        """Return the run."""
        return self.dag_run

    def xcom_push(self, key: str, value: Any, execution_date: Any = None, session: Any = None) -> None:
        """Push a value for the run's other tasks."""
        xcom.set_value(self._supervisor, key, value, self)

    def xcom_pull(
        self,
        task_ids: str | Iterable[str] | None = None,
        dag_id: str | None = None,
        key: str = XCOM_RETURN_KEY,
        include_prior_dates: bool = False,
        session: Any = None,
        *,
        map_indexes: Any = None,
        default: Any = None,
        run_id: str | None = None,
    ) -> Any:
        """Return what a task of this run pushed, a list for several; `default` where there is nothing.

        Of a mapped task that is a sequence of what its copies pushed, in order of their map indexes, or what
        those of `map_indexes` did.
        """
        target = (dag_id or self.dag_id, run_id or self.run_id)

        def one(task_id: str, map_index: int) -> tuple[Any, bool]:
            return xcom.get_value(
                self._supervisor, key, *target, task_id, map_index, include_prior_dates=include_prior_dates
            )

        def pull(task_id: str) -> tuple[Any, bool]:
            is_mapped = self._is_mapped(task_id, dag_id)
            if not is_mapped:
                value, found = one(task_id, -1)
                # Whether a task of another DAG is mapped is told by what it pushed alone.
                if found or is_mapped is not None:
                    return value, found
            values = xcom.get_copies(self._supervisor, key, *target, task_id)
            return (values, True) if len(values) else (None, False)

        if map_indexes is not None:
            return self._pull_copies(one, task_ids, map_indexes, default)
        if task_ids is None:
            own = partial(one, self.task_id, self.map_index)
            return self._pull_nearest(pull, own, default)
        if isinstance(task_ids, str):
            value, found = pull(task_ids)
            if not found:
                return default
            return list(value) if self.task.dag.era == 3 and isinstance(value, LazyXComSequence) else value
        return self._flat(task_ids, pull, default)

    @property
    def checkpoint(self) -> Checkpoint:
        """What the task keeps for its next try: a directory and values."""
        if self._checkpoint is None:
            from dagbok.runtime.checkpoint import Checkpoint

            self._checkpoint = Checkpoint(self._supervisor)
        return self._checkpoint

    def progress(self, fraction: float, text: str | None = None) -> None:
        """Say how much is done, from 0 to 1, and what people read beside it."""
        if self._progress is None:
            from dagbok.runtime.checkpoint import Progress

            self._progress = Progress(self._supervisor)
        self._progress.say(fraction, text)

    def end_progress(self) -> None:
        """Tell what was said last of it, before the try's end is told."""
        if self._progress is not None:
            self._progress.end()

    def push_result(self, value: Any, mapped_length: int | None) -> None:
        """Push what the task returned, with how many copies of other tasks it makes."""
        xcom.set_value(self._supervisor, XCOM_RETURN_KEY, value, self, mapped_length)

    def skip_downstream(self, tasks: Any) -> None:
        """Have tasks skipped once this try has succeeded: ids, or pairs of an id and a map index."""
        named = (
            [tasks] if isinstance(tasks, str) else [one if isinstance(one, str) else one[0] for one in tasks]
        )
        self._supervisor.ask({"type": "SkipDownstreamTasks", "tasks": named})

    def copies_of(self, task_id: str, key: str = XCOM_RETURN_KEY) -> LazyXComSequence:
        """Return what the copies of a mapped task of this run pushed, to be fetched when it is looked at."""
        return xcom.get_copies(self._supervisor, key, self.dag_id, self.run_id, task_id)

    def elements_of(self, task_id: str) -> Any:
        """Return the elements of what a task of this run returned, each fetched when it is looked at.

        None where that has no elements.
        """
        place = max(self.map_index, 0)
        return xcom.get_elements(self._supervisor, XCOM_RETURN_KEY, self.dag_id, self.run_id, task_id, place)

    def _is_mapped(self, task_id: str, dag_id: str | None) -> bool | None:
        """Return whether a task is mapped; None where it is none of this DAG."""
        dag = self.task.dag
        known = dag_id in {None, dag.dag_id} and dag.has_task(task_id)
        return dag.get_task(task_id).expansion is not None if known else None

    def _pull_copies(self, one: Any, task_ids: Any, map_indexes: Any, default: Any) -> Any:
        """Return what copies pushed that were asked for by number."""
        names = [self.task_id] if task_ids is None else [task_ids] if isinstance(task_ids, str) else task_ids
        single = isinstance(map_indexes, int)
        numbers = [map_indexes] if single else list(map_indexes)
        pulled = [one(name, number) for name in names for number in numbers]
        if single and (task_ids is None or isinstance(task_ids, str)):
            value, found = pulled[0]
            return value if found else default
        return [value if found else default for value, found in pulled]

    @staticmethod
    def _flat(task_ids: Iterable[str], pull: Any, default: Any) -> list[Any]:
        """Return what several tasks pushed, the copies of mapped ones one after the other."""
        values: list[Any] = []
        for task_id in task_ids:
            value, found = pull(task_id)
            values += (
                value if found and isinstance(value, LazyXComSequence) else [value if found else default]
            )
        return values

    def _pull_nearest(self, pull: Any, own: Any, default: Any) -> Any:
        """Without a task named: this task's own in the newer era, in the older the nearest upstream's."""
        if self.task.dag.era == 3:
            value, found = own()
            return value if found else default
        seen, layer = {self.task_id}, [self.task]
        while layer:
            above = sorted({task_id for task in layer for task_id in task.upstream_task_ids} - seen)
            seen.update(above)
            for task_id in above:
                value, found = pull(task_id)
                if found:
                    return value
            layer = [self.task.dag.get_task(task_id) for task_id in above]
        value, found = own()
        return value if found else default

    def get_first_reschedule_date(self, context: Any = None) -> DateTime | None:
        """Return when the try began that has been rescheduled since; None where it has not been."""
        return self._first_started_at

    def __repr__(self) -> str:
        copy = "" if self.map_index < 0 else f" map_index={self.map_index}"
        return f"<TaskInstance: {self.dag_id}.{self.task_id} {self.run_id}{copy} [{self.state}]>"
