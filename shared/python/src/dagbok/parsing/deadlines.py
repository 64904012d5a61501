"""Deadlines in the DAG spec: `sla` of tasks, `deadline` of the DAG."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from dagbok.authoring.dag import DAG
from dagbok.authoring.deadlines import (
    AverageRuntimeDeadline,
    DagRunLogicalDateDeadline,
    DagRunQueuedAtDeadline,
    DeadlineAlert,
    FixedDatetimeDeadline,
)
from dagbok.exceptions import AirflowException
from dagbok.timezone import convert_to_utc, rfc3339

Json = dict[str, Any]
# More than the log can count; `timedelta.max` is said for `never`.
LONGEST = timedelta(days=365_000)


def deadlines(dag: DAG) -> list[Json]:
    """Return by when the DAG's runs and tasks are to be done, the DAG's first."""
    found = [form for alert in _alerts(dag) if (form := _of_dag(alert)) is not None]
    found.extend(
        {"task_id": task.task_id, "from": "interval_end", "after": _micros(task.sla)}
        for task in dag.tasks
        if isinstance(task.sla, timedelta)
    )
    return found


def not_watched(dag: DAG) -> list[str]:
    """Return what of the DAG's deadlines nobody carries out."""
    told = []
    for alert in _alerts(dag):
        if not isinstance(alert, DeadlineAlert) or _reference(alert) is None:
            what = type(getattr(alert, "reference", alert)).__name__
            told.append(f"a deadline counted from {what} is not watched")
        elif not isinstance(alert.interval, timedelta):
            told.append("a deadline whose interval is no timedelta is not watched")
        elif alert.callback is not None:
            path = getattr(alert.callback, "path", type(alert.callback).__name__)
            told.append(f"the deadline's callback {path} is not called: alerting tells the DAG's owner")
    return told


def _alerts(dag: DAG) -> list[Any]:
    given = dag.deadline
    if given is None:
        return []
    return list(given) if isinstance(given, list | tuple) else [given]


def _of_dag(alert: Any) -> Json | None:
    if not isinstance(alert, DeadlineAlert) or not isinstance(alert.interval, timedelta):
        return None
    reference = _reference(alert)
    if reference is None:
        return None
    form: Json = {"from": reference, "after": _micros(alert.interval)}
    if alert.name:
        form["name"] = str(alert.name)
    return form


def _reference(alert: DeadlineAlert) -> Any:
    reference = alert.reference
    # A class that the file derives from one of these may say another time.
    kind = type(reference)
    if kind is DagRunLogicalDateDeadline:
        return "logical_date"
    if kind is DagRunQueuedAtDeadline:
        return "queued_at"
    if isinstance(reference, FixedDatetimeDeadline) and kind is FixedDatetimeDeadline:
        return {"fixed": rfc3339(convert_to_utc(reference._datetime))}
    if isinstance(reference, AverageRuntimeDeadline) and kind is AverageRuntimeDeadline:
        return {"average_runtime": {"max_runs": reference.max_runs, "min_runs": reference.min_runs}}
    return None


def _micros(value: timedelta) -> int:
    if abs(value) > LONGEST:
        raise AirflowException(f"a deadline of {value} is longer than can be counted")
    return value // timedelta(microseconds=1)
