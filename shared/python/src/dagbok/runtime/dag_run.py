"""The run, as tasks see it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NoReturn

from dagbok.datetimes import DateTime
from dagbok.exceptions import NotSupportedYet
from dagbok.runtime.asset_events import AssetEvent

_DATES = ("logical_date", "data_interval_start", "data_interval_end", "run_after", "start_date", "end_date")


class DagRun:
    """One run of a DAG. Other runs are asked for through the REST API, not here."""

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
    previous: DagRun | None
    previous_success: DagRun | None

    def __init__(self, details: Mapping[str, Any]) -> None:
        self.__dict__.update(details)
        for name in _DATES:
            value = details.get(name)
            self.__dict__[name] = None if value is None else DateTime.instance(value)
        conf = details.get("conf_json")
        self.conf = dict(json.loads(conf) if conf is not None else details.get("conf") or {})
        self.consumed_asset_events = [
            AssetEvent(event) for event in details.get("consumed_asset_events") or ()
        ]
        self.previous = _other_run(details.get("previous"))
        self.previous_success = _other_run(details.get("previous_success"))

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

    def get_previous_dagrun(self, state: Any = None, session: Any = None) -> DagRun | None:
        """Return the run before this one, or the last that succeeded; None where there is none."""
        wanted = getattr(state, "value", state)
        if wanted == "success":
            return self.previous_success
        if wanted is not None:
            raise NotSupportedYet(
                f"get_previous_dagrun(state={wanted!r}) is not supported yet; with success, or none, it is"
            )
        return self.previous

    @classmethod
    def find(cls, *args: Any, **kwargs: Any) -> NoReturn:
        """Refused: other runs can't be asked for from a task yet."""
        raise NotSupportedYet(
            "DagRun.find is not supported yet; use the REST API, /api/v2/dags/{dag_id}/dagRuns"
        )

    def get_task_instance(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Refused: other task instances can't be asked for from a task yet."""
        raise NotSupportedYet("DagRun.get_task_instance is not supported yet; use the REST API")

    get_task_instances = get_task_instance

    def __repr__(self) -> str:
        return f"<DagRun {self.dag_id} {self.run_id}>"


def _other_run(details: Mapping[str, Any] | None) -> DagRun | None:
    return None if details is None else DagRun(details)
