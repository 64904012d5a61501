"""Lengths of time as plain timedeltas, whatever library's subclass a file gave."""

from __future__ import annotations

from datetime import timedelta


def plain(value: timedelta) -> timedelta:
    """Return the same length as a timedelta of the standard library.

    Subclasses such as pendulum's Duration have an arithmetic of their own, which refuses plain ones.
    """
    return value if type(value) is timedelta else timedelta(seconds=value.total_seconds())


def calendar_months(value: timedelta) -> int:
    """Return the calendar months that a pendulum Duration was made of; a timedelta has none."""
    years, months = getattr(value, "years", 0), getattr(value, "months", 0)
    return int(years) * 12 + int(months)


def without_months(value: timedelta) -> timedelta:
    """Return the rest of it: a Duration counts a year as 365 days and a month as 30."""
    years, months = getattr(value, "years", 0), getattr(value, "months", 0)
    return plain(value) - timedelta(days=int(years) * 365 + int(months) * 30)
