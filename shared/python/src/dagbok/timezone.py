"""Time zones and dates under Airflow's names, on the standard library."""

from __future__ import annotations

import datetime as dt
from typing import Any, overload

from dagbok.datetimes import DateTime
from dagbok.zones import parse_timezone

utc = dt.UTC


def is_localized(value: dt.datetime) -> bool:
    """Whether an instant knows its offset."""
    return value.utcoffset() is not None


def is_naive(value: dt.datetime) -> bool:
    """Whether an instant does not know its offset."""
    return value.utcoffset() is None


def utcnow() -> DateTime:
    """Return the current instant in UTC."""
    return DateTime.instance(dt.datetime.now(dt.UTC))


def utc_epoch() -> DateTime:
    """Return the start of 1970 in UTC."""
    return DateTime(1970, 1, 1, tzinfo=dt.UTC)


@overload
def convert_to_utc(value: None) -> None: ...
@overload
def convert_to_utc(value: dt.datetime) -> DateTime: ...
def convert_to_utc(value: dt.datetime | None) -> DateTime | None:
    """Return the same instant in UTC; a naive one counts as UTC."""
    if value is None:
        return None
    if value.utcoffset() is None:
        return DateTime.instance(value.replace(tzinfo=dt.UTC))
    return DateTime.instance(value.astimezone(dt.UTC))


def make_aware(value: dt.datetime | None, timezone: Any = None) -> DateTime | None:
    """Give a naive instant a zone, UTC where none is named."""
    if value is None:
        return None
    if is_localized(value):
        raise ValueError(f"make_aware needs a naive datetime, and {value} has an offset")
    return DateTime.instance(value.replace(tzinfo=parse_timezone(timezone) if timezone else dt.UTC))


def make_naive(value: dt.datetime, timezone: Any = None) -> dt.datetime:
    """Return the wall clock time of an instant in a zone."""
    if is_naive(value):
        raise ValueError(f"make_naive needs an aware datetime, and {value} has no offset")
    return value.astimezone(parse_timezone(timezone) if timezone else dt.UTC).replace(tzinfo=None)


def datetime(*args: Any, **kwargs: Any) -> DateTime:
    """Make an aware instant, in UTC unless `tzinfo` says otherwise."""
    kwargs.setdefault("tzinfo", dt.UTC)
    return DateTime(*args, **kwargs)


def parse(string: str, timezone: Any = None, *, strict: bool = False) -> DateTime:
    """Read ISO 8601 text; where it names no offset it counts as `timezone`, or UTC."""
    try:
        value = dt.datetime.fromisoformat(string.strip())
    except ValueError:
        raise ValueError(f"not a date or time of ISO 8601: {string!r}") from None
    if value.utcoffset() is None:
        value = value.replace(tzinfo=parse_timezone(timezone) if timezone else dt.UTC)
    return DateTime.instance(value)


def coerce_datetime(value: dt.datetime | None, tz: Any = None) -> DateTime | None:
    """Return our own kind of instant, aware."""
    if value is None:
        return None
    if value.utcoffset() is None:
        value = value.replace(tzinfo=parse_timezone(tz) if tz else dt.UTC)
    return DateTime.instance(value)


def from_timestamp(timestamp: float, tz: Any = None) -> DateTime:
    """Return the instant of a Unix timestamp."""
    return DateTime.instance(dt.datetime.fromtimestamp(timestamp, parse_timezone(tz) if tz else dt.UTC))


# The last day that every time zone has a date for.
LAST = dt.datetime(9999, 12, 30, tzinfo=dt.UTC)


def rfc3339(value: dt.datetime) -> str:
    """Return an aware instant in UTC as the log writes it, with a `Z`."""
    # Said for `never`, and later than the log can write it.
    text = (value.astimezone(dt.UTC) if value < LAST else LAST).isoformat()
    return text.removesuffix("+00:00") + "Z"
