"""What timetables are asked with and answer."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple


class DataInterval(NamedTuple):
    """The stretch of data that a run works on; both ends know their zones."""

    start: datetime
    end: datetime

    @classmethod
    def exact(cls, at: datetime) -> DataInterval:
        """Return the empty interval at an instant."""
        return cls(start=at, end=at)


class TimeRestriction(NamedTuple):
    """Between which logical dates, both included, runs may be, and whether past ones are made up for."""

    earliest: datetime | None
    latest: datetime | None
    catchup: bool


class DagRunInfo(NamedTuple):
    """A run to come."""

    run_after: datetime
    data_interval: DataInterval | None
    partition_date: datetime | None = None
    partition_key: str | None = None

    @classmethod
    def exact(cls, at: datetime) -> DagRunInfo:
        """Return a run at an instant, over an empty interval."""
        return cls(run_after=at, data_interval=DataInterval.exact(at))

    @classmethod
    def interval(cls, start: datetime, end: datetime) -> DagRunInfo:
        """Return a run over an interval, as soon as that is over."""
        return cls(run_after=end, data_interval=DataInterval(start, end))

    @property
    def logical_date(self) -> datetime | None:
        """Where its data interval starts."""
        return self.data_interval.start if self.data_interval else None
