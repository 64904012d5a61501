"""The task instance, as tasks see it: who it is, and its XComs."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from dagbok.authoring.xcom_arg import XCOM_RETURN_KEY
from dagbok.datetimes import DateTime
from dagbok.exceptions import AirflowException, NotSupportedYet
from dagbok.runtime import xcom

if TYPE_CHECKING:
    from dagbok.authoring.operator import BaseOperator
    from dagbok.runtime.dag_run import DagRun
    from dagbok.runtime.supervisor import Supervisor


class TaskInstanceKey(NamedTuple):
    """Names one try."""

    dag_id: str
    task_id: str
    run_id: str
    try_number: int = 1
    map_index: int = -1


class TaskInstance:
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
        self.start_date = DateTime.instance(details["start_date"])
        self.end_date: DateTime | None = None
        self.state = "running"
        self.task = task
        self.dag_run = dag_run
        self._supervisor = supervisor
        self._context: Any = None

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
        return f"{base.rstrip('/')}/{path}"

    def get_previous_dagrun(self, state: Any = None, session: Any = None) -> DagRun | None:
        """Return the run before this one; None where there is none."""
        return self.dag_run.get_previous_dagrun(state)

    def get_previous_ti(self, state: Any = None, session: Any = None) -> None:
        """Return None on a first run; another run's task instances can't be asked for yet."""
        if self.get_previous_dagrun() is not None:
            raise NotSupportedYet(
                "get_previous_ti is supported only where there is no earlier run; use the REST API"
            )

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
        """Return what a task of this run pushed, a list for several; `default` where there is nothing."""
        if map_indexes is not None and map_indexes != -1:
            raise AirflowException("xcom_pull with map_indexes: mapped tasks are not supported yet")
        target = (dag_id or self.dag_id, run_id or self.run_id)

        def pull(task_id: str) -> tuple[Any, bool]:
            return xcom.get_value(
                self._supervisor, key, *target, task_id, include_prior_dates=include_prior_dates
            )

        if task_ids is None:
            return self._pull_nearest(pull, default)
        if isinstance(task_ids, str):
            value, found = pull(task_ids)
            return value if found else default
        return [value if found else default for value, found in map(pull, task_ids)]

    def _pull_nearest(self, pull: Any, default: Any) -> Any:
        """Without a task named: this task's own in the newer era, in the older the nearest upstream's."""
        if self.task.dag.era == 3:
            value, found = pull(self.task_id)
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
        value, found = pull(self.task_id)
        return value if found else default

    def __repr__(self) -> str:
        return f"<TaskInstance: {self.dag_id}.{self.task_id} {self.run_id} [{self.state}]>"
