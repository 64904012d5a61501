"""Timetables: each knows the form in which the scheduler reads it. Computing runs is the scheduler's."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from dagbok.authoring import delta_steps
from dagbok.authoring.intervals import DagRunInfo, DataInterval, TimeRestriction
from dagbok.authoring.timetable_base import Timetable, python_form
from dagbok.durations import calendar_months, plain, without_months
from dagbok.exceptions import AirflowTimetableInvalid
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


class NullTimetable(Timetable):
    """Only by trigger."""

    summary = None
    can_be_scheduled = False
    periodic = False

    def spec(self) -> Any:
        """Return the form of the DAG spec."""
        return "Manual"


class OnceTimetable(Timetable):
    """One run."""

    periodic = False
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
    text = expression.strip()
    resolved = CRON_PRESETS.get(text) or CRON_PRESETS.get(text.lower(), text)
    if resolved.startswith("@"):
        known = ", ".join([*CRON_PRESETS, "@once", "@continuous"])
        raise AirflowTimetableInvalid(f"{expression!r} is no preset; there are {known}")
    fields = resolved.split()
    if len(fields) not in {5, 6, 7}:
        raise AirflowTimetableInvalid(
            f"{expression!r} is no cron expression: it has {len(fields)} fields instead of 5 "
            "(minute hour day month weekday), 6 (with seconds last) or 7 (and years)"
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


def _immediately(value: Any) -> Any:
    """Return the form of `run_immediately`, which `False` and `None` leave to the rule of a tenth."""
    if isinstance(value, timedelta):
        return {"Within": plain(value) // timedelta(microseconds=1)}
    return "Always" if value is True else None


class _Triggers(Timetable):
    """Cron expressions with data intervals of their own length."""

    def __init__(self, crons: tuple[str, ...], timezone: Any, interval: Any, run_immediately: Any) -> None:
        if not crons:
            raise ValueError("cron expression required")
        for cron in crons:
            if not isinstance(cron, str):
                raise AirflowTimetableInvalid(
                    f"a cron expression is text, not {type(cron).__name__}: {cron!r}"
                )
        self._texts = crons
        self.expressions = [check_cron(cron) for cron in crons]
        self.timezone_name = None if timezone is None else zone_name(parse_timezone(timezone))
        self.interval, self._immediately = span(interval), _immediately(run_immediately)

    @property
    def summary(self) -> str | None:
        """The expressions as they were written."""
        return ", ".join(self._texts)

    def spec(self) -> Any:
        """Return the form of the DAG spec."""
        if len(self.expressions) == 1 and not self.interval and self._immediately is None:
            return {"CronTrigger": {"expression": self.expressions[0]}}
        form: dict[str, Any] = {"expressions": self.expressions}
        if self.interval:
            form["interval"] = self.interval
        if self._immediately is not None:
            form["run_immediately"] = self._immediately
        return {"CronTriggers": form}


class CronTriggerTimetable(_Triggers):
    """Cron; a run is made at each tick, by default with an empty interval."""

    def __init__(
        self,
        cron: str,
        timezone: Any = None,
        *,
        interval: Any = timedelta(0),
        run_immediately: bool | timedelta = False,
    ) -> None:
        super().__init__((cron,), timezone, interval, run_immediately)
        self.expression = self.expressions[0]


class MultipleCronTriggerTimetable(_Triggers):
    """Several cron expressions; a run is made at each tick of any of them."""

    def __init__(
        self,
        *crons: str,
        timezone: Any = None,
        interval: Any = timedelta(0),
        run_immediately: bool | timedelta = False,
    ) -> None:
        super().__init__(crons, timezone, interval, run_immediately)


class _Delta(Timetable):
    _kind = ""

    def __init__(self, delta: Any) -> None:
        self.delta = delta
        self.interval_said: Any = timedelta(0)
        # What sets a field, as the day of a month, is no length: it is asked date by date.
        self.by_steps = is_relativedelta(delta) and bool(set_fields(delta))
        self.every, self.months = (timedelta(0), 0) if self.by_steps else split_delta(delta)

    def validate(self) -> None:
        """Raise where it does not move time forward."""
        if self.by_steps:
            delta_steps.validate(self.delta)

    def serialize(self) -> dict[str, Any]:
        """Return the delta as Python writes it."""
        return {"delta": repr(self.delta), "interval": repr(self.interval_said)} if self.by_steps else {}

    @property
    def summary(self) -> str | None:
        """The delta as Python writes it."""
        return str(self.every if isinstance(self.delta, timedelta) and not self.months else self.delta)

    def spec(self) -> Any:
        """Return the form of the DAG spec."""
        if self.by_steps:
            return python_form(self)
        form: dict[str, int] = {"every": self.every // timedelta(microseconds=1)}
        if self.months:
            form["months"] = self.months
        return {self._kind: form}


class DeltaDataIntervalTimetable(_Delta):
    """Every so often; a run is made when its interval is over."""

    _kind = "DeltaDataInterval"

    def next_dagrun_info(
        self, *, last_automated_data_interval: DataInterval | None, restriction: TimeRestriction
    ) -> DagRunInfo | None:
        """Return the run after the last scheduled one."""
        return delta_steps.next_interval(self.delta, last_automated_data_interval, restriction)

    def infer_manual_data_interval(self, *, run_after: datetime) -> DataInterval:
        """Return the time of one delta before an instant."""
        return DataInterval(run_after - self.delta, run_after)


class DeltaTriggerTimetable(_Delta):
    """Every so often, by default with empty intervals."""

    _kind = "DeltaTrigger"

    def __init__(self, delta: Any, *, interval: Any = timedelta(0)) -> None:
        super().__init__(delta)
        self.interval_said = interval
        self.by_steps = self.by_steps or (is_relativedelta(interval) and bool(set_fields(interval)))
        self.interval = {} if self.by_steps else span(interval)

    def next_dagrun_info(
        self, *, last_automated_data_interval: DataInterval | None, restriction: TimeRestriction
    ) -> DagRunInfo | None:
        """Return the run after the last scheduled one."""
        at = delta_steps.next_trigger(self.delta, last_automated_data_interval, restriction)
        return None if at is None else DagRunInfo.interval(at - self.interval_said, at)

    def infer_manual_data_interval(self, *, run_after: datetime) -> DataInterval:
        """Return the time of the interval before an instant."""
        return DataInterval(run_after - self.interval_said, run_after)

    def spec(self) -> Any:
        """Return the form of the DAG spec."""
        if self.by_steps or not self.interval:
            return super().spec()
        return {"DeltaTriggers": {"every": _span(self.every, self.months), "interval": self.interval}}


# Longer than any schedule, and no more than the log can count.
LONGEST = timedelta(days=365_000)


def _span(every: timedelta, months: int) -> dict[str, int]:
    form = {"micros": every // timedelta(microseconds=1), "months": months}
    return {name: value for name, value in form.items() if value}


def span(interval: Any) -> dict[str, int]:
    """Return the form of a data interval's length; nothing where it has none."""
    if not (isinstance(interval, timedelta) or is_relativedelta(interval)):
        raise AirflowTimetableInvalid(
            f"interval is a timedelta or relativedelta, not {type(interval).__name__}: {interval!r}"
        )
    return _span(*parts_of(interval))


def parts_of(delta: Any) -> tuple[timedelta, int]:
    """Return the fixed part and the calendar months of a timedelta or relativedelta."""
    if isinstance(delta, timedelta):
        return without_months(delta), calendar_months(delta)
    if said := set_fields(delta):
        raise AirflowTimetableInvalid(f"an interval is a length, and {delta!r} sets {', '.join(said)}")
    names = ("days", "hours", "minutes", "seconds", "microseconds")
    every = timedelta(**{name: getattr(delta, name) for name in names})
    return every, int(delta.years) * 12 + int(delta.months)


def set_fields(delta: Any) -> list[str]:
    """Return what a relativedelta sets to a value, instead of moving it."""
    absolute = ("year", "month", "day", "hour", "minute", "second", "microsecond", "weekday")
    return [
        *(name for name in absolute if getattr(delta, name, None) is not None),
        *(["leapdays"] if delta.leapdays else []),
    ]


def split_delta(delta: Any) -> tuple[timedelta, int]:
    """As `parts_of`, of what passes between two runs: it must move time forward."""
    every, months = parts_of(delta)
    # As the rules have it: a month has 28 days at least, and moves time on by a day at least.
    shortest = timedelta(days=28) * months + every
    if months < 0 or shortest < (timedelta(days=1) if months else timedelta.resolution):
        kind = "timedelta" if isinstance(delta, timedelta) else "relativedelta"
        raise AirflowTimetableInvalid(f"a schedule's {kind} must be longer than zero, not {delta!r}")
    if shortest > LONGEST:
        raise AirflowTimetableInvalid(f"a schedule's delta is at most {LONGEST.days} days, not {delta!r}")
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
        self.description, self.restrict_to_events = description, bool(restrict_to_events)
        if not self.event_dates:
            raise AirflowTimetableInvalid("EventsTimetable needs at least one date")

    @property
    def summary(self) -> str | None:
        """How many there are."""
        return self.description or f"{len(self.event_dates)} events"

    def spec(self) -> Any:
        """Return the form of the DAG spec."""
        dates = [{"start": rfc3339(date), "end": rfc3339(date)} for date in self.event_dates]
        form: dict[str, Any] = {"dates": dates}
        if self.restrict_to_events:
            form["restricted"] = True
        return {"Events": form}


# Their runs are counted from the start date.
CRON_AND_DELTA = (_Cron, _Triggers, _Delta)


def is_relativedelta(value: Any) -> bool:
    """Whether a value is dateutil's relativedelta, without importing it."""
    return any(kind.__name__ == "relativedelta" for kind in type(value).__mro__)
