"""Airflow 3's Deadline Alerts: by when a run is to be done, and what was to be called where it is not.

Alerting tells the DAG's owner of a missed deadline, by a log that holds when whatever would have called is
dead; callbacks of deadlines are kept, shown, and not called.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, ClassVar

__all__ = [
    "AsyncCallback", "AverageRuntimeDeadline", "BaseDeadlineReference", "Callback",
    "DagRunLogicalDateDeadline", "DagRunQueuedAtDeadline", "DeadlineAlert", "DeadlineReference",
    "FixedDatetimeDeadline", "SyncCallback",
]  # fmt: skip


class Callback:
    """What was to be called: a callable of a module, or the path of one, with its arguments by name."""

    def __init__(
        self, callback_callable: Callable[..., Any] | str, kwargs: dict[str, Any] | None = None
    ) -> None:
        if kwargs and "context" in kwargs:
            raise ValueError("context is a reserved kwarg for this class")
        named = callback_callable
        self.path = named if isinstance(named, str) else f"{named.__module__}.{named.__qualname__}"
        self.kwargs = kwargs or {}


class AsyncCallback(Callback):
    """One that a triggerer was to call."""


class SyncCallback(Callback):
    """One that an executor was to call."""

    def __init__(
        self,
        callback_callable: Callable[..., Any] | str,
        kwargs: dict[str, Any] | None = None,
        executor: str | None = None,
    ) -> None:
        super().__init__(callback_callable, kwargs)
        self.executor = executor


class BaseDeadlineReference:
    """What a deadline is counted from. A kind of the file's own is not watched."""


class DagRunLogicalDateDeadline(BaseDeadlineReference):
    """The run's logical date."""


class DagRunQueuedAtDeadline(BaseDeadlineReference):
    """When the run was queued."""


@dataclass
class FixedDatetimeDeadline(BaseDeadlineReference):
    """The same instant for each run."""

    _datetime: datetime


@dataclass
class AverageRuntimeDeadline(BaseDeadlineReference):
    """When the run was made, and how long the newest that succeeded took on average."""

    max_runs: int
    min_runs: int | None = None

    def __post_init__(self) -> None:
        if self.min_runs is None:
            self.min_runs = self.max_runs
        if self.min_runs < 1:
            raise ValueError("min_runs must be at least 1")


class DeadlineReference:
    """The kinds of reference, as files name them."""

    DAGRUN_LOGICAL_DATE: ClassVar[BaseDeadlineReference] = DagRunLogicalDateDeadline()
    DAGRUN_QUEUED_AT: ClassVar[BaseDeadlineReference] = DagRunQueuedAtDeadline()

    @classmethod
    def FIXED_DATETIME(cls, dt: datetime) -> BaseDeadlineReference:
        """Return the reference that is always `dt`."""
        return FixedDatetimeDeadline(dt)

    @classmethod
    def AVERAGE_RUNTIME(cls, max_runs: int = 0, min_runs: int | None = None) -> BaseDeadlineReference:
        """Return the reference by the newest `max_runs` runs, or ten, once there are `min_runs`."""
        return AverageRuntimeDeadline(max_runs or 10, min_runs)


class DeadlineAlert:
    """A run is to be done `interval` after `reference`."""

    def __init__(
        self,
        reference: BaseDeadlineReference,
        interval: timedelta,
        callback: Callback | None = None,
        name: str | None = None,
    ) -> None:
        self.reference, self.interval, self.callback, self.name = reference, interval, callback, name
