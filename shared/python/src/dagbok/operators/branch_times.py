"""Branches by the clock: between two times, and by the day of the week."""

from __future__ import annotations

import datetime as dt
import enum
from collections.abc import Iterable
from typing import Any

from dagbok.exceptions import AirflowException
from dagbok.operators.branching import BaseBranchOperator
from dagbok.timezone import coerce_datetime, utcnow


class WeekDay(enum.IntEnum):
    """The days of the week, by ISO's numbers."""

    MONDAY = 1
    TUESDAY = 2
    WEDNESDAY = 3
    THURSDAY = 4
    FRIDAY = 5
    SATURDAY = 6
    SUNDAY = 7

    @classmethod
    def get_weekday_number(cls, week_day_str: str) -> WeekDay:
        """Return the day of an English name, in whatever case."""
        try:
            return cls[week_day_str.upper()]
        except KeyError:
            raise AttributeError(f'Invalid Week Day passed: "{week_day_str}"') from None

    @classmethod
    def convert(cls, day: Any) -> WeekDay:
        """Return a day, or the day of a name."""
        return day if isinstance(day, WeekDay) else cls.get_weekday_number(day)

    @classmethod
    def validate_week_day(cls, week_day: Any) -> set[WeekDay]:
        """Return the days of one or several names or days."""
        if isinstance(week_day, WeekDay | str):
            week_day = {week_day}
        if not isinstance(week_day, Iterable):
            raise TypeError(
                f"Unsupported Type for week_day parameter: {type(week_day)}. "
                "It should be a name, a WeekDay, or several of them"
            )
        return {cls.convert(day) for day in week_day}


class _TwoWays(BaseBranchOperator):
    """Follows one of two choices."""

    def __init__(
        self,
        *,
        follow_task_ids_if_true: str | Iterable[str],
        follow_task_ids_if_false: str | Iterable[str],
        use_task_logical_date: bool = False,
        use_task_execution_date: bool = False,
        use_task_execution_day: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.follow_task_ids_if_true = follow_task_ids_if_true
        self.follow_task_ids_if_false = follow_task_ids_if_false
        self.use_task_logical_date = (
            use_task_logical_date or use_task_execution_date or use_task_execution_day
        )

    def _date(self, context: Any) -> Any:
        """Return the run's date where that is asked for, else the time."""
        if not self.use_task_logical_date:
            return utcnow()
        return context.get("logical_date") or context["dag_run"].run_after


class BranchDateTimeOperator(_TwoWays):
    """Follows one choice between two times, and the other outside of them."""

    def __init__(
        self,
        *,
        target_lower: dt.datetime | dt.time | None = None,
        target_upper: dt.datetime | dt.time | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if target_lower is None and target_upper is None:
            raise AirflowException(
                "Both target_upper and target_lower are None. At least one "
                "must be defined to be compared to the current datetime"
            )
        self.target_lower, self.target_upper = target_lower, target_upper

    def choose_branch(self, context: Any) -> Any:
        """Compare the time with both bounds, which stand in the DAG's zone."""
        now = self._date(context)
        lower, upper = target_times_as_dates(now, self.target_lower, self.target_upper)
        zone = self.dag.timezone
        lower, upper = coerce_datetime(lower, zone), coerce_datetime(upper, zone)
        outside = (upper is not None and upper < now) or (lower is not None and lower > now)
        return self.follow_task_ids_if_false if outside else self.follow_task_ids_if_true


def target_times_as_dates(base_date: dt.datetime, lower: Any, upper: Any) -> tuple[Any, Any]:
    """Give bounds that are times the day of a date; an upper one before the lower is the next day's."""
    if isinstance(lower, dt.datetime) and isinstance(upper, dt.datetime):
        return lower, upper
    if isinstance(lower, dt.time):
        lower = dt.datetime.combine(base_date, lower)
    if isinstance(upper, dt.time):
        upper = dt.datetime.combine(base_date, upper)
    if lower is not None and upper is not None and upper < lower:
        upper += dt.timedelta(days=1)
    return lower, upper


class BranchDayOfWeekOperator(_TwoWays):
    """Follows one choice on some days of the week, and the other on the rest."""

    def __init__(self, *, week_day: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.week_day = week_day
        self._week_day_num = WeekDay.validate_week_day(week_day)

    def choose_branch(self, context: Any) -> Any:
        """Compare the day, of the run's date as it is, of the time in the DAG's zone."""
        now = self._date(context)
        if not self.use_task_logical_date:
            now = now.astimezone(self.dag.timezone)
        chosen = now.isoweekday() in self._week_day_num
        return self.follow_task_ids_if_true if chosen else self.follow_task_ids_if_false
