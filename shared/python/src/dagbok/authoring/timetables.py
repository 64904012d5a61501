"""Timetables: each knows the form in which the scheduler reads it. Computing runs is the scheduler's."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from dagbok.durations import calendar_months, without_months
from dagbok.exceptions import AirflowTimetableInvalid, NotSupportedYet
from dagbok.timezone import coerce_datetime, rfc3339
from dagbok.zones import parse_timezone, zone_name

CRON_PRESETS = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@quarterly": "0 0 1 */3 *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}


class Timetable:
    """When runs are made."""

    active_runs_limit: int | None = None
    timezone_name: str | None = None

    def spec(self) -> Any:
        """Return the form of the DAG spec."""
        raise NotSupportedYet(
            f"the timetable {type(self).__name__} is not supported yet; "
            "cron, preset and timedelta schedules and EventsTimetable are"
        )

    @property
    def summary(self) -> str | None:
        """What people read in the place of the schedule."""
        return None


class NullTimetable(Timetable):
    """Only by trigger."""

    def spec(self) -> Any:
        """Return the form of the DAG spec."""
        return "Manual"


class OnceTimetable(Timetable):
    """One run."""

    summary = "@once"

    def spec(self) -> Any:
        """Return the form of the DAG spec."""
        return "Once"


class ContinuousTimetable(Timetable):
    """A new run as soon as the last is over."""

    active_runs_limit = 1
    summary = "@continuous"

    def spec(self) -> Any:
        """Return the form of the DAG spec."""
        return "Continuous"


def check_cron(expression: str) -> str:
    """Return the expression with presets resolved, or say that it is none."""
    resolved = CRON_PRESETS.get(expression.strip(), expression.strip())
    if resolved.startswith("@"):
        known = ", ".join([*CRON_PRESETS, "@once", "@continuous"])
        raise AirflowTimetableInvalid(f"{expression!r} is no preset; there are {known}")
    fields = resolved.split()
    if len(fields) not in {5, 6}:
        raise AirflowTimetableInvalid(
            f"{expression!r} is no cron expression: it has {len(fields)} fields instead of 5 "
            "(minute hour day month weekday) or 6 (with seconds last)"
        )
    return " ".join(fields)


class _Cron(Timetable):
    _kind = ""

    def __init__(self, cron: str, timezone: Any = None) -> None:
        if not isinstance(cron, str):
            raise AirflowTimetableInvalid(f"a cron expression is text, not {type(cron).__name__}: {cron!r}")
        self.expression = check_cron(cron)
        self._text = cron
        self.timezone_name = None if timezone is None else zone_name(parse_timezone(timezone))

    @property
    def summary(self) -> str | None:
        """The expression as it was written."""
        return self._text

    def spec(self) -> Any:
        """Return the form of the DAG spec."""
        return {self._kind: {"expression": self.expression}}


class CronDataIntervalTimetable(_Cron):
    """Cron; a run is made when its interval is over."""

    _kind = "CronDataInterval"


class CronTriggerTimetable(_Cron):
    """Cron with empty intervals."""

    _kind = "CronTrigger"

    def __init__(
        self,
        cron: str,
        *,
        timezone: Any = None,
        interval: Any = timedelta(0),
        run_immediately: bool | timedelta = False,
    ) -> None:
        super().__init__(cron, timezone)
        self._unsupported = (
            "interval" if interval != timedelta(0) else "run_immediately" if run_immediately else None
        )

    def spec(self) -> Any:
        """Return the form of the DAG spec."""
        if self._unsupported:
            raise NotSupportedYet(f"CronTriggerTimetable with {self._unsupported} is not supported yet")
        return super().spec()


class _Delta(Timetable):
    _kind = ""

    def __init__(self, delta: Any) -> None:
        self.delta = delta
        self.every, self.months = split_delta(delta)

    @property
    def summary(self) -> str | None:
        """The delta as Python writes it."""
        return str(self.every if isinstance(self.delta, timedelta) and not self.months else self.delta)

    def spec(self) -> Any:
        """Return the form of the DAG spec."""
        form: dict[str, int] = {"every": self.every // timedelta(microseconds=1)}
        if self.months:
            form["months"] = self.months
        return {self._kind: form}


class DeltaDataIntervalTimetable(_Delta):
    """Every so often; a run is made when its interval is over."""

    _kind = "DeltaDataInterval"


class DeltaTriggerTimetable(_Delta):
    """Every so often, with empty intervals."""

    _kind = "DeltaTrigger"

    def __init__(self, delta: Any, *, interval: Any = timedelta(0)) -> None:
        super().__init__(delta)
        self._has_interval = interval != timedelta(0)

    def spec(self) -> Any:
        """Return the form of the DAG spec."""
        if self._has_interval:
            raise NotSupportedYet("DeltaTriggerTimetable with interval is not supported yet")
        return super().spec()


def split_delta(delta: Any) -> tuple[timedelta, int]:
    """Split a timedelta or relativedelta into its fixed part and its calendar months."""
    if isinstance(delta, timedelta):
        every, months = without_months(delta), calendar_months(delta)
        if months < 0 or every < timedelta(0) or (months == 0 and not every):
            raise AirflowTimetableInvalid(f"a schedule's timedelta must be longer than zero, not {delta}")
        return every, months
    absolute = ("year", "month", "day", "hour", "minute", "second", "microsecond", "weekday", "leapdays")
    said = [name for name in absolute if getattr(delta, name, None)]
    if said:
        raise NotSupportedYet(f"a relativedelta that sets {', '.join(said)} is not supported yet")
    months = int(delta.years) * 12 + int(delta.months)
    names = ("days", "hours", "minutes", "seconds", "microseconds")
    every = timedelta(**{name: getattr(delta, name) for name in names})
    if months < 0 or every < timedelta(0) or (months == 0 and not every):
        raise AirflowTimetableInvalid(f"a schedule's relativedelta must be longer than zero, not {delta!r}")
    return every, months


class EventsTimetable(Timetable):
    """Each of a list of instants."""

    def __init__(
        self,
        event_dates: Iterable[datetime],
        restrict_to_events: bool = False,
        presorted: bool = False,
        description: str | None = None,
    ) -> None:
        aware = {coerce_datetime(date) for date in event_dates}
        self.event_dates = sorted(date for date in aware if date is not None)
        self.description = description
        if not self.event_dates:
            raise AirflowTimetableInvalid("EventsTimetable needs at least one date")

    @property
    def summary(self) -> str | None:
        """How many there are."""
        return self.description or f"{len(self.event_dates)} events"

    def spec(self) -> Any:
        """Return the form of the DAG spec."""
        dates = [{"start": rfc3339(date), "end": rfc3339(date)} for date in self.event_dates]
        return {"Events": {"dates": dates}}


# Their runs are counted from the start date.
CRON_AND_DELTA = (_Cron, _Delta)


class RefusedSchedule(Timetable):
    """A schedule that can't be kept today; it says so when the DAG is parsed."""

    def __init__(self, feature: str) -> None:
        self.feature = feature

    def spec(self) -> Any:
        """Refuse."""
        raise NotSupportedYet(f"{self.feature} not supported yet")


def is_relativedelta(value: Any) -> bool:
    """Whether a value is dateutil's relativedelta, without importing it."""
    return any(kind.__name__ == "relativedelta" for kind in type(value).__mro__)


def resolve_schedule(schedule: Any, era: int) -> Timetable:
    """Return the timetable of whatever a file gave as its schedule."""
    if schedule is None:
        return NullTimetable()
    if isinstance(schedule, Timetable):
        return schedule
    if isinstance(schedule, str):
        if schedule == "@once":
            return OnceTimetable()
        if schedule == "@continuous":
            return ContinuousTimetable()
        return CronDataIntervalTimetable(schedule) if era == 2 else CronTriggerTimetable(schedule)
    if isinstance(schedule, timedelta) or is_relativedelta(schedule):
        return DeltaDataIntervalTimetable(schedule) if era == 2 else DeltaTriggerTimetable(schedule)
    if getattr(schedule, "_is_asset", False) or (
        isinstance(schedule, list | tuple | set)
        and all(getattr(item, "_is_asset", False) for item in schedule)
    ):
        return RefusedSchedule("schedules on assets or datasets are")
    raise AirflowTimetableInvalid(
        f"a schedule is None, a cron expression, a preset, a timedelta or a timetable, "
        f"not {type(schedule).__name__}: {schedule!r}"
    )
