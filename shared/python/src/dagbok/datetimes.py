"""The instants that DAG code gets: datetimes with the methods of pendulum that files use.

Pendulum itself costs a task tens of milliseconds to import, so only what is not found here goes to it.
"""

from __future__ import annotations

import datetime as dt
import sys
from typing import Any, Self, overload

_UNITS = ("years", "months", "weeks", "days", "hours", "minutes", "seconds", "microseconds")
_STARTS: dict[str, dict[str, int]] = {
    "second": {"microsecond": 0},
    "minute": {"second": 0, "microsecond": 0},
    "hour": {"minute": 0, "second": 0, "microsecond": 0},
    "day": {"hour": 0, "minute": 0, "second": 0, "microsecond": 0},
    "month": {"day": 1, "hour": 0, "minute": 0, "second": 0, "microsecond": 0},
    "year": {"month": 1, "day": 1, "hour": 0, "minute": 0, "second": 0, "microsecond": 0},
}


class DateTime(dt.datetime):
    """An aware datetime; whatever pendulum's has beyond it is asked of pendulum, where that is installed."""

    @classmethod
    def instance(cls, value: dt.datetime) -> Self:
        """Make one from any datetime."""
        if type(value) is cls:
            return value
        return cls(
            value.year, value.month, value.day, value.hour, value.minute, value.second,
            value.microsecond, value.tzinfo, fold=value.fold,
        )  # fmt: skip

    def add(self, **units: float) -> Self:
        """Move on by calendar years and months, then by weeks, days and clock time."""
        unknown = set(units) - set(_UNITS)
        if unknown:
            raise TypeError(f"add takes {', '.join(_UNITS)}, not {', '.join(sorted(unknown))}")
        months = int(units.pop("years", 0)) * 12 + int(units.pop("months", 0))
        wall = self._plus_months(months) if months else self
        days = {name: units.pop(name) for name in ("weeks", "days") if name in units}
        if days:
            wall = wall + dt.timedelta(**days)
        if units:
            # Clock time passes on the physical line, also over a change of the offset.
            moved = wall.astimezone(dt.UTC) + dt.timedelta(**units)
            wall = self.instance(moved.astimezone(self.tzinfo))
        return self.instance(wall)

    def subtract(self, **units: float) -> Self:
        """Move back."""
        return self.add(**{name: -value for name, value in units.items()})

    def _plus_months(self, months: int) -> Self:
        year, month = divmod(self.year * 12 + self.month - 1 + months, 12)
        from calendar import monthrange

        day = min(self.day, monthrange(year, month + 1)[1])
        return self.replace(year=year, month=month + 1, day=day)

    def in_timezone(self, tz: Any) -> Self:
        """Return the same instant in another zone."""
        from dagbok.zones import parse_timezone

        return self.instance(self.astimezone(parse_timezone(tz)))

    in_tz = in_timezone

    def start_of(self, unit: str) -> Self:
        """Return the first instant of its second, minute, hour, day, week, month or year."""
        if unit == "week":
            return (self - dt.timedelta(days=self.weekday())).start_of("day")
        if unit not in _STARTS:
            return self._pendulum("start_of")(unit)  # type: ignore[no-any-return]
        return self.replace(**_STARTS[unit])  # type: ignore[arg-type]

    def to_date_string(self) -> str:
        """Return it as YYYY-MM-DD."""
        return self.strftime("%Y-%m-%d")

    def to_time_string(self) -> str:
        """Return it as hh:mm:ss."""
        return self.strftime("%H:%M:%S")

    def to_datetime_string(self) -> str:
        """Return it as YYYY-MM-DD hh:mm:ss."""
        return self.strftime("%Y-%m-%d %H:%M:%S")

    def to_iso8601_string(self) -> str:
        """Return it as ISO 8601, with Z for UTC."""
        text = self.isoformat()
        return text.removesuffix("+00:00") + "Z" if text.endswith("+00:00") else text

    @property
    def int_timestamp(self) -> int:
        """Whole seconds since 1970."""
        return int(self.timestamp())

    @property
    def float_timestamp(self) -> float:
        """Seconds since 1970."""
        return self.timestamp()

    @property
    def timezone(self) -> dt.tzinfo | None:
        """Its zone."""
        return self.tzinfo

    @property
    def timezone_name(self) -> str:
        """Its zone's name."""
        from dagbok.zones import zone_name

        return zone_name(self.tzinfo)

    tz = timezone

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return self._pendulum(name)

    @property  # type: ignore[misc]
    def __class__(self) -> Any:
        """What `isinstance` is told besides the type: pendulum's own class, once that is imported."""
        return getattr(sys.modules.get("pendulum"), "DateTime", type(self))

    def _pendulum(self, name: str) -> Any:
        try:
            import pendulum
        except ImportError:
            raise AttributeError(
                f"`{name}` is pendulum's; `pip install pendulum` gives it to the instants of the context"
            ) from None
        # By way of a plain datetime: ours passes for one of pendulum's, which it would leave as it is.
        return getattr(pendulum.instance(plain_datetime(self)), name)

    def __add__(self, other: dt.timedelta) -> Self:
        result = super().__add__(other)
        return result if result is NotImplemented else self.instance(result)

    __radd__ = __add__

    @overload  # type: ignore[override]
    def __sub__(self, other: dt.timedelta) -> Self: ...
    @overload
    def __sub__(self, other: dt.datetime) -> Length: ...
    def __sub__(self, other: Any) -> Any:
        result = super().__sub__(other)
        if isinstance(result, dt.datetime):
            return self.instance(result)
        return result if result is NotImplemented else Length.of(result)


class Length(dt.timedelta):
    """The time between two instants; whatever pendulum's has beyond a timedelta is asked of pendulum."""

    @classmethod
    def of(cls, value: dt.timedelta) -> Self:
        """Make one from any timedelta."""
        return cls(days=value.days, seconds=value.seconds, microseconds=value.microseconds)

    def in_seconds(self) -> int:
        """Return whole seconds."""
        return int(self.total_seconds())

    def in_minutes(self) -> int:
        """Return whole minutes."""
        return int(self.total_seconds() / 60)

    def in_hours(self) -> int:
        """Return whole hours."""
        return int(self.total_seconds() / 3600)

    def in_days(self) -> int:
        """Return whole days."""
        return int(self.total_seconds() / 86400)

    def in_weeks(self) -> int:
        """Return whole weeks."""
        return int(self.total_seconds() / 604800)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        try:
            import pendulum
        except ImportError:
            raise AttributeError(
                f"`{name}` is pendulum's; `pip install pendulum` gives it to lengths of time"
            ) from None
        whole = pendulum.duration(days=self.days, seconds=self.seconds, microseconds=self.microseconds)
        return getattr(whole, name)


def plain_datetime(value: dt.datetime) -> dt.datetime:
    """Return the same instant as a datetime of the standard library."""
    return dt.datetime(
        value.year, value.month, value.day, value.hour, value.minute, value.second,
        value.microsecond, value.tzinfo, fold=value.fold,
    )  # fmt: skip
