"""Dates under the names of Airflow 2's `airflow.utils.dates`."""

from __future__ import annotations

import datetime as dt

from dagbok.datetimes import DateTime
from dagbok.timezone import utcnow


def days_ago(n: int, hour: int = 0, minute: int = 0, second: int = 0, microsecond: int = 0) -> DateTime:
    """Return midnight of n days ago in UTC, or that day at another time."""
    today = utcnow().replace(hour=hour, minute=minute, second=second, microsecond=microsecond)
    return DateTime.instance(today - dt.timedelta(days=n))


def date_range(
    start_date: dt.datetime, end_date: dt.datetime | None = None, num: int | None = None,
    delta: dt.timedelta = dt.timedelta(days=1),
) -> list[dt.datetime]:  # fmt: skip
    """Return instants `delta` apart, up to `end_date` or `num` of them."""
    if (end_date is None) == (num is None):
        raise ValueError("date_range needs one of end_date and num")
    dates: list[dt.datetime] = []
    current = start_date
    while len(dates) < num if num is not None else end_date is not None and current <= end_date:
        dates.append(current)
        current += delta
    return dates
