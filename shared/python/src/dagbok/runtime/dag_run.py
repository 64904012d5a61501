"""The run, as tasks see it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NoReturn

from dagbok.datetimes import DateTime
from dagbok.exceptions import NotSupportedYet

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
    partition_key: str | None = None

    def __init__(self, details: Mapping[str, Any]) -> None:
        self.__dict__.update(details)
        for name in _DATES:
            value = details.get(name)
            self.__dict__[name] = None if value is None else DateTime.instance(value)
        self.conf = dict(details.get("conf") or {})

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
