"""The values that timetables work with, under the names of `airflow.timetables.base`."""

from __future__ import annotations

import datetime as dt
from typing import NamedTuple

from dagbok.datetimes import DateTime

__all__ = ["DagRunInfo", "DataInterval", "TimeRestriction"]


class DataInterval(NamedTuple):
    """The time that a run is about."""

    start: dt.datetime
    end: dt.datetime

    @classmethod
    def exact(cls, at: dt.datetime) -> DataInterval:
        """Return the empty interval at an instant."""
        return cls(start=at, end=at)


class TimeRestriction(NamedTuple):
    """Between which instants runs may be made."""

    earliest: dt.datetime | None
    latest: dt.datetime | None
    catchup: bool


class DagRunInfo(NamedTuple):
    """A run to make, and the earliest instant to do so."""

    run_after: dt.datetime
    data_interval: DataInterval | None

    @classmethod
    def exact(cls, at: dt.datetime) -> DagRunInfo:
        """Return a run at an instant, about the empty interval there."""
        return cls(run_after=at, data_interval=DataInterval.exact(at))

    @classmethod
    def interval(cls, start: dt.datetime, end: dt.datetime) -> DagRunInfo:
        """Return a run about an interval, made when that is over."""
        return cls(run_after=end, data_interval=DataInterval(start, end))

    @property
    def logical_date(self) -> dt.datetime:
        """The run's logical date: where its interval starts."""
        return DateTime.instance(self.run_after if self.data_interval is None else self.data_interval.start)
