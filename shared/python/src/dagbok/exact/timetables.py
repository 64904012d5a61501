"""Airflow's timetables, as its serialized DAG has them, in the form of our spec, by our own classes."""

from __future__ import annotations

import datetime as dt
from typing import Any

from dagbok.authoring import timetables
from dagbok.authoring.timetable_base import Timetable, form_of
from dagbok.exceptions import AirflowException
from dagbok.zones import zone_name

Json = dict[str, Any]
OWN = "airflow.timetables."


def schedule(serialized: Json, zone: str | int) -> Json:
    """Return the DAG's schedule: its timetable, the zone that it is reckoned in, what people read."""
    ours = timetable(serialized)
    form: Json = {"timetable": form_of(ours), "timezone": ours.timezone_name or _zone_name(zone)}
    if (text := _summary(serialized["__type"], ours)) is not None:
        form["text"] = text
    return form


def _summary(path: str, ours: Timetable) -> str | None:
    """Return a timetable in a word; of those that wait for assets ours has only the times."""
    text = None if ours.summary is None else str(ours.summary)
    match path.rpartition(".")[2]:
        case "AssetTriggeredTimetable":
            return "Asset"
        case "AssetOrTimeSchedule":
            return f"Asset or {text}"
    return text


def timetable(serialized: Json) -> Timetable:
    """Return our own timetable of a serialized one."""
    path, said = serialized["__type"], serialized["__var"]
    name = path.rpartition(".")[2]
    make = MAKERS.get(name) if path.startswith(OWN) else None
    if make is None:
        raise AirflowException(
            f"its timetable is {path}: exact mode knows the runs of Airflow's own timetables but "
            "partitioned ones; read this file without exact mode (tries may run in it all the same: "
            "`airflow.dags` in dagbok.toml)"
        )
    made: Timetable = make(said)
    return made


def _span(value: Any) -> Any:
    """Return a length of time: seconds, or the fields of a relativedelta."""
    if not isinstance(value, dict):
        return dt.timedelta(seconds=value or 0)
    from dateutil import relativedelta

    fields = dict(value)
    if isinstance(weekday := fields.get("weekday"), list):
        fields["weekday"] = relativedelta.weekday(*weekday)
    return relativedelta.relativedelta(**fields)


def _zone(said: Any) -> Any:
    """Return a zone: its name, or its distance from UTC in seconds."""
    return dt.timezone(dt.timedelta(seconds=said)) if isinstance(said, int | float) else said


def _zone_name(said: Any) -> str:
    zone = _zone(said)
    return zone if isinstance(zone, str) else zone_name(zone)


def _triggers(said: Json) -> Json:
    run = said.get("run_immediately", False)
    immediately = run if isinstance(run, bool) else dt.timedelta(seconds=run)
    return {
        "timezone": _zone(said["timezone"]),
        "interval": _span(said.get("interval")),
        "run_immediately": immediately,
    }


def _events(said: Json) -> Timetable:
    dates = [dt.datetime.fromisoformat(date) for date in said["event_dates"]]
    return timetables.EventsTimetable(
        event_dates=dates, restrict_to_events=bool(said.get("restrict_to_events")), presorted=True
    )


MAKERS: dict[str, Any] = {
    "NullTimetable": lambda said: timetables.NullTimetable(),
    "AssetTriggeredTimetable": lambda said: timetables.NullTimetable(),
    "OnceTimetable": lambda said: timetables.OnceTimetable(),
    "ContinuousTimetable": lambda said: timetables.ContinuousTimetable(),
    "CronDataIntervalTimetable": lambda said: timetables.CronDataIntervalTimetable(
        said["expression"], timezone=_zone(said["timezone"])
    ),
    "CronTriggerTimetable": lambda said: timetables.CronTriggerTimetable(
        said["expression"], **_triggers(said)
    ),
    "MultipleCronTriggerTimetable": lambda said: timetables.MultipleCronTriggerTimetable(
        *said["expressions"], **_triggers(said)
    ),
    "DeltaDataIntervalTimetable": lambda said: timetables.DeltaDataIntervalTimetable(_span(said["delta"])),
    "DeltaTriggerTimetable": lambda said: timetables.DeltaTriggerTimetable(
        _span(said["delta"]), interval=_span(said.get("interval"))
    ),
    "EventsTimetable": _events,
    "AssetOrTimeSchedule": lambda said: timetable(said["timetable"]),
}
