"""The run, as tasks see it."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from dagbok.datetimes import DateTime
from dagbok.runtime.asset_events import AssetEvent
from dagbok.surface.columns import WithColumns

if TYPE_CHECKING:
    from dagbok.runtime.past import OtherTaskInstance

_DATES = (
    "partition_date",
    "logical_date",
    "data_interval_start",
    "data_interval_end",
    "run_after",
    "start_date",
    "end_date",
)


class DagRun(metaclass=WithColumns):
    """One run of a DAG: the task's own, or one that was asked for."""

    dag_id: str
    run_id: str
    run_type: str
    state: str
    logical_date: DateTime | None
    data_interval_start: DateTime | None
    data_interval_end: DateTime | None
    run_after: DateTime | None
    start_date: DateTime | None
    end_date: DateTime | None
    conf: dict[str, Any]
    consumed_asset_events: list[AssetEvent]
    partition_key: str | None = None
    partition_date: DateTime | None

    def __init__(self, details: Mapping[str, Any]) -> None:
        self.__dict__.update(details)
        for name in _DATES:
            value = details.get(name)
            if isinstance(value, str):
                value = dt.datetime.fromisoformat(value)
            self.__dict__[name] = None if value is None else DateTime.instance(value)
        conf = details.get("conf_json")
        self.conf = dict(json.loads(conf) if conf is not None else details.get("conf") or {})
        self.consumed_asset_events = [
            AssetEvent(event) for event in details.get("consumed_asset_events") or ()
        ]

    @property
    def execution_date(self) -> DateTime | None:
        """The older name of logical_date."""
        return self.logical_date

    @property
    def external_trigger(self) -> bool:
        """Whether somebody asked for it."""
        return self.run_type == "manual"

    @property
    def is_backfill(self) -> bool:
        """Whether a backfill made it."""
        return self.run_type == "backfill"

    def get_state(self) -> str:
        """Return the state that it had when it was asked for."""
        return self.state

    def refresh_from_db(self, session: Any = None) -> None:
        """Ask for its state anew."""
        from dagbok.runtime.past import run_state

        self.state = run_state(self.dag_id, self.run_id)

    def get_previous_dagrun(self, state: Any = None, session: Any = None) -> DagRun | None:
        """Return the run of the next earlier logical date, in a state where one is named."""
        from dagbok.runtime.past import previous_run

        found = previous_run(self.dag_id, self.logical_date, state)
        return None if found is None else DagRun(found)

    def get_previous_scheduled_dagrun(self, session: Any = None) -> DagRun | None:
        """Return the last run before it that the schedule made."""
        from dagbok.runtime.past import find_runs

        if self.logical_date is None:
            return None
        until = self.logical_date - dt.timedelta(microseconds=1)
        found = find_runs(self.dag_id, None, None, None, "scheduled", (None, until))
        return DagRun(found[-1]) if found else None

    @classmethod
    def find(
        cls,
        dag_id: str | Iterable[str] | None = None,
        run_id: str | Iterable[str] | None = None,
        execution_date: Any = None,
        state: Any = None,
        external_trigger: bool | None = None,
        no_backfills: bool = False,
        run_type: Any = None,
        session: Any = None,
        execution_start_date: dt.datetime | None = None,
        execution_end_date: dt.datetime | None = None,
        *,
        logical_date: Any = None,
        logical_start_date: dt.datetime | None = None,
        logical_end_date: dt.datetime | None = None,
    ) -> list[DagRun]:
        """Return the runs that all of this holds for, by their logical dates, whatever DAG they are of."""
        from dagbok.runtime.past import find_runs

        date = logical_date if logical_date is not None else execution_date
        between = (logical_start_date or execution_start_date, logical_end_date or execution_end_date)
        found = find_runs(dag_id, run_id, date, state, run_type, between)
        return [
            run
            for run in map(cls, found)
            if external_trigger in {None, run.external_trigger} and not (no_backfills and run.is_backfill)
        ]

    def get_task_instances(self, state: Any = None, session: Any = None) -> list[OtherTaskInstance]:
        """Return its task instances, in these states where some are named."""
        from dagbok.runtime.past import tasks_of

        return tasks_of(self.dag_id, self.run_id, state)

    def get_task_instance(
        self, task_id: str, session: Any = None, *, map_index: int = -1
    ) -> OtherTaskInstance | None:
        """Return one of its task instances; None where there is none."""
        from dagbok.runtime.past import tasks_of

        found = tasks_of(self.dag_id, self.run_id, None, [task_id], map_index)
        return found[0] if found else None

    def __repr__(self) -> str:
        return f"<DagRun {self.dag_id} {self.run_id}>"
