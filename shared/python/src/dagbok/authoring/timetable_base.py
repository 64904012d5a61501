"""What every timetable has, and how one of a file's own is told to the scheduler."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from dagbok.authoring.intervals import DagRunInfo, DataInterval, TimeRestriction
from dagbok.exceptions import AirflowTimetableInvalid


class Timetable:
    """When runs are made. Our own are computed by the scheduler; a file's own is asked ahead of time."""

    active_runs_limit: int | None = None
    timezone_name: str | None = None
    description: str | None = ""
    periodic: bool = True
    can_be_scheduled: bool = True
    run_ordering: Sequence[str] = ("data_interval_end", "logical_date")

    @classmethod
    def deserialize(cls, data: dict[str, Any]) -> Timetable:
        """Return the timetable that `serialize` wrote."""
        return cls()

    def serialize(self) -> dict[str, Any]:
        """Return what tells one timetable of a class from another, in values of JSON."""
        return {}

    def validate(self) -> None:
        """Raise `AirflowTimetableInvalid` where it can't be followed."""

    def spec(self) -> Any:
        """Return the form of the DAG spec."""
        return python_form(self)

    @property
    def summary(self) -> str | None:
        """What people read in the place of the schedule."""
        return type(self).__name__

    @property
    def type_name(self) -> str:
        """Module and name of its class."""
        return f"{type(self).__module__}.{type(self).__name__}"

    def infer_manual_data_interval(self, *, run_after: datetime) -> DataInterval:
        """Return what a run stands for that somebody triggers at an instant."""
        raise NotImplementedError(f"{type(self).__name__} has no infer_manual_data_interval")

    def next_dagrun_info(
        self, *, last_automated_data_interval: DataInterval | None, restriction: TimeRestriction
    ) -> DagRunInfo | None:
        """Return the run after the last scheduled one; None where there is none for now."""
        raise NotImplementedError(
            f"{type(self).__name__} has no next_dagrun_info that can be called here: the runs of Airflow's "
            "own timetables are computed by the scheduler"
        )

    def next_dagrun_info_v2(
        self, *, last_dagrun_info: DagRunInfo | None, restriction: TimeRestriction
    ) -> DagRunInfo | None:
        """As `next_dagrun_info`, of all that is known of the last run."""
        last = last_dagrun_info.data_interval if last_dagrun_info else None
        return self.next_dagrun_info(last_automated_data_interval=last, restriction=restriction)


# Longer texts are told apart by their hash.
LONGEST_ARGUMENTS = 4096


def python_form(timetable: Timetable) -> Any:
    """Return the form of the DAG spec of a timetable that is asked for its runs."""
    if not timetable.can_be_scheduled:
        return "Manual"
    kind = type(timetable)
    asked = (kind.next_dagrun_info, kind.next_dagrun_info_v2)
    if asked == (Timetable.next_dagrun_info, Timetable.next_dagrun_info_v2):
        raise AirflowTimetableInvalid(
            f"the timetable {kind.__name__} has no next_dagrun_info: it makes no runs"
        )
    timetable.validate()
    # The module of a DAG file has a name of its path on this machine.
    own = kind.__module__.startswith("dagbok_dag_")
    form: dict[str, Any] = {"class": kind.__qualname__ if own else f"{kind.__module__}.{kind.__qualname__}"}
    if said := timetable.serialize():
        text = json.dumps(said, sort_keys=True, default=repr)
        if len(text) > LONGEST_ARGUMENTS:
            import hashlib

            text = hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()
        form["arguments"] = text
    if timetable.description:
        form["description"] = str(timetable.description)
    return {"Python": form}


def form_of(timetable: Timetable) -> Any:
    """Return the form of the DAG spec; a class of the file's own that says when runs are made is asked."""
    for kind in type(timetable).__mro__:
        if kind.__dict__.keys() & {"spec", "next_dagrun_info", "next_dagrun_info_v2"}:
            ours = kind.__module__.partition(".")[0] == "dagbok"
            return timetable.spec() if ours else python_form(timetable)
    return timetable.spec()
