"""Operators about other DAGs: a sensor that waits for them, a marker, and one that triggers them."""

from __future__ import annotations

import datetime as dt
import json
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any

from dagbok.authoring.enums import DagRunState, State
from dagbok.authoring.operator import BaseOperator
from dagbok.exceptions import AirflowException, AirflowSkipException, SupervisorError
from dagbok.operators.empty import EmptyOperator
from dagbok.operators.sensor import BaseSensorOperator

_UNSAID: Any = object()


def _texts(states: Iterable[Any] | None) -> list[str]:
    return [str(getattr(state, "value", state)) for state in states or ()]


def _default_deferrable() -> bool:
    from dagbok.models.configuration import conf

    return bool(conf.getboolean("operators", "default_deferrable", fallback=False))


class ExternalTaskSensor(BaseSensorOperator):
    """Waits for a run, tasks or a group of another DAG of the same logical date, or of others."""

    template_fields: Sequence[str] = (
        "external_dag_id",
        "external_task_id",
        "external_task_ids",
        "external_task_group_id",
    )
    ui_color = "#4db7db"
    _defers = True

    def __init__(
        self,
        *,
        external_dag_id: str,
        external_task_id: str | None = None,
        external_task_ids: Collection[str] | None = None,
        external_task_group_id: str | None = None,
        allowed_states: Iterable[str] | None = None,
        skipped_states: Iterable[str] | None = None,
        failed_states: Iterable[str] | None = None,
        execution_delta: dt.timedelta | None = None,
        execution_date_fn: Callable[..., Any] | None = None,
        check_existence: bool = False,
        poll_interval: float | None = None,
        **kwargs: Any,
    ) -> None:
        if poll_interval is not None:
            kwargs.setdefault("poke_interval", poll_interval)
        super().__init__(**kwargs)
        self.allowed_states = _texts(allowed_states) or ["success"]
        self.skipped_states, self.failed_states = _texts(skipped_states), _texts(failed_states)
        every = [*self.allowed_states, *self.skipped_states, *self.failed_states]
        if len(every) != len(set(every)):
            raise AirflowException(
                "Duplicate values provided across allowed_states, skipped_states and failed_states."
            )
        named = [external_task_id is not None, bool(external_task_ids), external_task_group_id is not None]
        if sum(named) > 1:
            raise ValueError(
                "Only one of `external_task_id`, `external_task_ids` or `external_task_group_id` may be "
                f"provided to ExternalTaskSensor: task `{self.task_id}`"
            )
        if external_task_id is not None:
            external_task_ids = [external_task_id]
        known = _texts(state for state in (State.task_states if any(named) else State.dag_states) if state)
        if not set(every) <= set(known):
            raise ValueError(
                "Valid values for `allowed_states`, `skipped_states` and `failed_states` of task "
                f"`{self.task_id}` are {known}"
            )
        if execution_delta is not None and execution_date_fn is not None:
            raise ValueError(
                "Only one of `execution_delta` or `execution_date_fn` may be provided to "
                "ExternalTaskSensor; not both."
            )
        self.execution_delta, self.execution_date_fn = execution_delta, execution_date_fn
        self.external_dag_id, self.external_task_id = external_dag_id, external_task_id
        self.external_task_ids: Any = external_task_ids or None
        self.external_task_group_id, self.check_existence = external_task_group_id, check_existence
        self._has_checked_existence = False

    def execute(self, context: Any) -> Any:
        """Poke, or leave it to a trigger."""
        if not self.deferrable:
            return super().execute(context)
        from dagbok.operators.triggers import WorkflowTrigger

        if self.check_existence:
            self._check_existence()
        return self.defer(
            timeout=self.execution_timeout or dt.timedelta(seconds=self.timeout),
            trigger=WorkflowTrigger(
                external_dag_id=self.external_dag_id,
                external_task_group_id=self.external_task_group_id,
                external_task_ids=list(self.external_task_ids) if self.external_task_ids else None,
                logical_dates=self._dates(context),
                allowed_states=self.allowed_states,
                skipped_states=self.skipped_states,
                failed_states=self.failed_states,
                poke_interval=self.poke_interval,
                soft_fail=self.soft_fail,
            ),
            method_name="execute_complete",
        )

    def execute_complete(self, context: Any, event: Any = None) -> None:
        """Come back from the trigger."""
        if event["status"] == "success":
            self.log.info("%s is done.", self._what())
        elif event["status"] == "skipped":
            raise AirflowSkipException("External job has skipped skipping.")
        elif self.soft_fail:
            raise AirflowSkipException("External job has failed skipping.")
        else:
            raise AirflowException("External job has failed.")

    def poke(self, context: Any) -> bool:
        """Count runs or tasks of those dates in the states that decide."""
        if self.external_task_ids and len(self.external_task_ids) > len(set(self.external_task_ids)):
            raise ValueError("Duplicate task_ids passed in external_task_ids parameter")
        dates = self._dates(context)
        self.log.info("Poking for %s on %s ... ", self._what(), ",".join(map(str, dates)))
        if self.check_existence and not self._has_checked_existence:
            self._check_existence()
            self._has_checked_existence = True
        if self.failed_states and self._count(dates, self.failed_states) > 0:
            said = f"{self._what()} failed."
            if self.soft_fail:
                raise AirflowSkipException(f"{said} Skipping due to soft_fail.")
            raise AirflowException(said)
        if self.skipped_states and self._count(dates, self.skipped_states) > 0:
            raise AirflowSkipException(f"{self._what()} reached a state in {self.skipped_states}. Skipping.")
        return self._count(dates, self.allowed_states) == len(dates)

    def _what(self) -> str:
        if self.external_task_ids:
            return f"Some of the external tasks {list(self.external_task_ids)} in DAG {self.external_dag_id}"
        if self.external_task_group_id:
            return f"The external task_group '{self.external_task_group_id}' in DAG '{self.external_dag_id}'"
        return f"The external DAG {self.external_dag_id}"

    def _dates(self, context: Any) -> list[Any]:
        date = context.get("logical_date") or context["dag_run"].run_after
        if self.execution_delta is not None:
            return [date - self.execution_delta]
        if self.execution_date_fn is None:
            return [date]
        from dagbok.operators.arguments import context_arguments
        from dagbok.runtime.driving import call

        # The date is its first argument, whatever that is called there.
        names = {
            key: value for key, value in context.items() if key not in {"logical_date", "execution_date"}
        }
        taken = context_arguments(self.execution_date_fn, (), {}, names)
        found = call(self.execution_date_fn, date, **taken)
        return found if isinstance(found, list) else [found]

    def _count(self, dates: list[Any], states: list[str]) -> float:
        from dagbok.runtime import past

        if self.external_task_ids:
            count = past.count_tasks(
                self.external_dag_id, task_ids=self.external_task_ids, logical_dates=dates, states=states
            )
            return count / len(self.external_task_ids)
        if self.external_task_group_id:
            by_run = past.task_states(
                self.external_dag_id, task_group_id=self.external_task_group_id, logical_dates=dates
            )
            # A run counts where all of its group's tasks are in those states.
            return sum(all(state in states for state in of.values()) for of in by_run.values())
        return past.count_runs(self.external_dag_id, logical_dates=dates, states=states)

    def _check_existence(self) -> None:
        from dagbok.runtime.past import ask

        try:
            found = ask("GetDagTasks", dag_id=self.external_dag_id)
        except SupervisorError as error:
            if error.code == "NOT_FOUND":
                raise AirflowException(f"The external DAG {self.external_dag_id} does not exist.") from None
            raise
        for task_id in self.external_task_ids or ():
            if task_id not in found["task_ids"]:
                raise AirflowException(
                    f"The external task {task_id} in DAG {self.external_dag_id} does not exist."
                )
        group = self.external_task_group_id
        if group and not any(task_id.startswith(f"{group}.") for task_id in found["task_ids"]):
            raise AirflowException(
                f"The external task group '{group}' in DAG '{self.external_dag_id}' does not exist."
            )


class ExternalTaskMarker(EmptyOperator):
    """Says which task of another DAG depends on this one; clearing it does not clear that one here."""

    template_fields: Sequence[str] = ("external_dag_id", "external_task_id", "logical_date")
    ui_color = "#4db7db"

    def __init__(
        self,
        *,
        external_dag_id: str,
        external_task_id: str,
        logical_date: str | dt.datetime | None = "{{ logical_date.isoformat() }}",
        execution_date: str | dt.datetime | None = None,
        recursion_depth: int = 10,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        date = logical_date if execution_date is None else execution_date
        if date is not None and not isinstance(date, str | dt.datetime):
            raise TypeError(f"Expected str or datetime.datetime type for logical_date. Got {type(date)}")
        if recursion_depth <= 0:
            raise ValueError("recursion_depth should be a positive integer")
        self.external_dag_id, self.external_task_id = external_dag_id, external_task_id
        self.logical_date = date.isoformat() if isinstance(date, dt.datetime) else date
        self.recursion_depth = recursion_depth


class TriggerDagRunOperator(BaseOperator):
    """Makes a run of another DAG, and waits for its end where that is wanted."""

    template_fields: Sequence[str] = ("trigger_dag_id", "trigger_run_id", "logical_date", "conf",
                                      "wait_for_completion", "skip_when_already_exists")  # fmt: skip
    template_fields_renderers = {"conf": "py"}  # noqa: RUF012
    ui_color = "#ffefeb"

    def __init__(
        self,
        *,
        trigger_dag_id: str,
        trigger_run_id: str | None = None,
        conf: Any = None,
        logical_date: Any = _UNSAID,
        execution_date: Any = _UNSAID,
        reset_dag_run: bool = False,
        wait_for_completion: bool = False,
        poke_interval: float = 60,
        allowed_states: list[Any] | None = None,
        failed_states: list[Any] | None = None,
        skip_when_already_exists: bool = False,
        fail_when_dag_is_paused: bool = False,
        note: str | None = None,
        partition_key: str | None = None,
        deferrable: bool | None = None,
        openlineage_inject_parent_info: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.trigger_dag_id, self.trigger_run_id, self.conf = trigger_dag_id, trigger_run_id, conf
        date = execution_date if logical_date is _UNSAID else logical_date
        if date is not _UNSAID and date is not None and not isinstance(date, str | dt.datetime):
            raise TypeError(f"Expected str or datetime.datetime type for logical_date. Got {type(date)}")
        self._is_dated = date is not _UNSAID
        self.logical_date = None if date is _UNSAID else date
        self.reset_dag_run, self.wait_for_completion = reset_dag_run, wait_for_completion
        self.poke_interval = poke_interval
        self.allowed_states = _texts(DagRunState(one) for one in allowed_states or ["success"])
        failed_states = ["failed"] if failed_states is None else failed_states
        self.failed_states = _texts(DagRunState(one) for one in failed_states)
        self.skip_when_already_exists = skip_when_already_exists
        self.fail_when_dag_is_paused, self.note = fail_when_dag_is_paused, note
        self.partition_key = partition_key
        self.deferrable = _default_deferrable() if deferrable is None else deferrable

    def execute(self, context: Any) -> None:
        """Trigger, and wait where that is wanted."""
        from dagbok.runtime.past import ask, aware

        conf = json.loads(self.conf) if isinstance(self.conf, str) and self.conf else self.conf
        try:
            json.dumps(conf)
        except TypeError:
            raise ValueError(f"conf parameter should be JSON Serializable: {self.conf}") from None
        date = self._date()
        run_id = self.trigger_run_id and str(self.trigger_run_id)
        run_id = run_id or f"manual__{(date or dt.datetime.now(dt.UTC)).isoformat()}"
        if self.fail_when_dag_is_paused and ask("GetDag", dag_id=self.trigger_dag_id)["is_paused"]:
            raise AirflowException(f"Dag {self.trigger_dag_id} is paused")
        try:
            ask(
                "TriggerDagRun",
                dag_id=self.trigger_dag_id,
                run_id=run_id,
                logical_date=None if date is None else aware(date),
                conf=conf,
                reset_dag_run=self.reset_dag_run,
                note=self.note,
                partition_key=self.partition_key,
            )
        except SupervisorError as error:
            if error.code == "DAGRUN_ALREADY_EXISTS" and self.skip_when_already_exists:
                raise AirflowSkipException(
                    "Skipping due to skip_when_already_exists is set to True and DagRunAlreadyExists"
                ) from None
            raise AirflowException(f"DAG `{self.trigger_dag_id}` can't be triggered: {error}") from None
        self.trigger_run_id = run_id
        context["ti"].xcom_push(key="trigger_run_id", value=run_id)
        if self.wait_for_completion and self.deferrable:
            from dagbok.operators.triggers import DagStateTrigger

            states = [*self.allowed_states, *self.failed_states]
            trigger = DagStateTrigger(
                self.trigger_dag_id, states, run_ids=[run_id], poll_interval=self.poke_interval
            )
            self.defer(trigger=trigger, method_name="execute_complete")
        if self.wait_for_completion:
            self._wait(run_id)

    def execute_complete(self, context: Any, event: Any) -> None:
        """Come back from the trigger."""
        from dagbok.runtime.past import run_state

        _, data = event
        for run_id in data["run_ids"]:
            state = data.get(run_id) or run_state(self.trigger_dag_id, run_id)
            if state in self.failed_states:
                raise AirflowException(f"{self.trigger_dag_id} failed with failed state {state}")
            if state not in self.allowed_states:
                raise AirflowException(
                    f"{self.trigger_dag_id} return {state} which is not in {self.allowed_states}"
                )
            self.log.info("%s finished with allowed state %s", self.trigger_dag_id, state)

    def _date(self) -> dt.datetime | None:
        from dagbok.timezone import parse

        if not self._is_dated:
            return dt.datetime.now(dt.UTC)
        date = self.logical_date
        return parse(date) if isinstance(date, str) else date

    def _wait(self, run_id: str) -> None:
        from dagbok.runtime.past import run_state

        while True:
            self.log.info("Waiting for %s on %s to become allowed state %s ...",
                          self.trigger_dag_id, run_id, self.allowed_states)  # fmt: skip
            time.sleep(self.poke_interval)
            state = run_state(self.trigger_dag_id, run_id)
            if state in self.failed_states:
                raise AirflowException(f"{self.trigger_dag_id} failed with failed state {state}")
            if state in self.allowed_states:
                self.log.info("%s finished with allowed state %s", self.trigger_dag_id, state)
                return
