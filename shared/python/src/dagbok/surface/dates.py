"""What `airflow.utils.dates` and `airflow.utils.timezone` have that few files name."""

from __future__ import annotations

import datetime as dt
from typing import Any

from dagbok.authoring.timetables import CRON_PRESETS
from dagbok.datetimes import DateTime
from dagbok.timezone import parse

__all__ = [
    "cron_presets",
    "datetime_to_nano",
    "infer_time_unit",
    "local_timezone",
    "parse_execution_date",
    "round_time",
    "scale_time_units",
    "td_format",
]

cron_presets: dict[str, str] = CRON_PRESETS
_UNITS = {"minutes": 60, "hours": 3600, "days": 86400}


def parse_execution_date(execution_date_str: str) -> DateTime:
    """Read a date of ISO 8601."""
    return parse(execution_date_str)


def round_time(dt_: dt.datetime, delta: Any = None, start_date: dt.datetime | None = None) -> dt.datetime:
    """Return the instant of a series of equal steps that is nearest to a date."""
    step = delta or dt.timedelta(days=1)
    if not isinstance(step, dt.timedelta):
        raise ValueError("round_time takes a timedelta as its step; a cron expression is a timetable's")
    start = start_date or dt.datetime.min.replace(tzinfo=dt_.tzinfo)
    return start + round((dt_ - start) / step) * step


def infer_time_unit(time_seconds_arr: list[float]) -> str:
    """Return the unit that shows the longest of some durations best."""
    longest = max(time_seconds_arr, default=0)
    if longest <= 120:
        return "hours" if not time_seconds_arr else "seconds"
    return "minutes" if longest <= 7200 else "hours" if longest <= 172800 else "days"


def scale_time_units(time_seconds_arr: list[float], unit: str) -> list[float]:
    """Return durations in another unit."""
    size = _UNITS.get(unit, 1)
    return [seconds / size for seconds in time_seconds_arr]


def datetime_to_nano(datetime: dt.datetime | None) -> int | None:
    """Return the nanoseconds since 1970."""
    if datetime is None:
        return None
    aware = datetime if datetime.tzinfo else datetime.replace(tzinfo=dt.UTC)
    return (aware - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)) // dt.timedelta(microseconds=1) * 1000


def local_timezone() -> dt.tzinfo:
    """Return this machine's zone."""
    return dt.datetime.now().astimezone().tzinfo or dt.UTC


def td_format(td_object: dt.timedelta | float | None) -> str | None:
    """Return a duration as `1d:2h:3M:4s`; None for nothing."""
    seconds = td_object.total_seconds() if isinstance(td_object, dt.timedelta) else td_object
    if not seconds:
        return None
    if seconds < 1:
        return "<1s"
    left, parts = int(seconds), []
    for unit, size in (("y", 31536000), ("m", 2592000), ("d", 86400), ("h", 3600), ("M", 60), ("s", 1)):
        count, left = divmod(left, size)
        if count:
            parts.append(f"{count}{unit}")
    return ":".join(parts)
