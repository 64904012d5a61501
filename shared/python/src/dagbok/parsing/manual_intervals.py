"""Finds out what runs stand for that somebody triggers: a timetable answers by the instant, and is sampled.

Most answer at the same distances from every instant, or with one interval for a while, as for a day. The
first is said so; of the second the instants are found at which the answer changes, to the second.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from dagbok.authoring.timetable_base import Timetable
from dagbok.exceptions import AirflowTimetableInvalid
from dagbok.timezone import rfc3339

Json = dict[str, Any]
# The span that is looked at, and in which steps.
BEHIND, AHEAD, STEP = timedelta(days=8), timedelta(hours=26), timedelta(hours=1)
# Answers that are kept of those that change; the newest.
STEPS = 100
_MICRO = timedelta(microseconds=1)
Ask = Callable[[datetime], tuple[datetime, datetime]]


def of(timetable: Timetable, instant: Callable[[datetime], datetime]) -> Json | None:
    """Return the form of a foretold schedule; None where the timetable does not say."""

    def ask(at: datetime) -> tuple[datetime, datetime]:
        interval = timetable.infer_manual_data_interval(run_after=instant(at))
        ends = tuple(getattr(interval, name, None) for name in ("start", "end"))
        if not all(isinstance(end, datetime) and end.utcoffset() is not None for end in ends):
            raise AirflowTimetableInvalid(
                f"infer_manual_data_interval answers with a DataInterval of datetimes with a time zone, "
                f"not {interval!r}"
            )
        start, end = (plain_utc(end) for end in ends if isinstance(end, datetime))
        return start, end

    now = datetime.now(UTC).replace(microsecond=0)
    try:
        first = ask(now)
    except NotImplementedError:
        return None
    odd = [
        now - timedelta(hours=7, minutes=23, seconds=11),
        now + timedelta(hours=5, seconds=17),
        now - BEHIND,
    ]
    if all(_around(at, ask(at)) == _around(now, first) for at in odd):
        start, end = _around(now, first)
        return {"Around": {"start": start // _MICRO, "end": end // _MICRO}}
    return {"Steps": _steps(ask, now)}


def plain_utc(value: datetime) -> datetime:
    """Return an instant in UTC as Python's own kind: pendulum's subtracts and divides in a way of its own."""
    at = value.astimezone(UTC)
    return datetime(at.year, at.month, at.day, at.hour, at.minute, at.second, at.microsecond, UTC)


def _around(at: datetime, interval: tuple[datetime, datetime]) -> tuple[timedelta, timedelta]:
    return interval[0] - at, interval[1] - at


def _steps(ask: Ask, now: datetime) -> list[Json]:
    # From a midnight on, so that who is asked twice in a day answers the same.
    at = (now - BEHIND).replace(hour=0, minute=0, second=0)
    answer = ask(at)
    found = [(at, answer)]
    while at < now + AHEAD:
        at += STEP
        following = ask(at)
        if following != answer:
            found.append((_changed(ask, at - STEP, at, following), following))
            answer = following
    return [
        {"from": rfc3339(at), "interval": {"start": rfc3339(start), "end": rfc3339(end)}}
        for at, (start, end) in found[-STEPS:]
    ]


def _changed(ask: Ask, before: datetime, after: datetime, answer: tuple[datetime, datetime]) -> datetime:
    """Return the first second at which the answer is given, of those between two instants."""
    while after - before > timedelta(seconds=1):
        middle = (before + (after - before) / 2).replace(microsecond=0)
        if ask(middle) == answer:
            after = middle
        else:
            before = middle
    return after
