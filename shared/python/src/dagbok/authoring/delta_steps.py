"""Schedules of a relativedelta that sets fields, as the day of the month: date by date, as Airflow steps.

The rules of a delta without such fields are the scheduler's.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from dagbok.authoring import session
from dagbok.authoring.intervals import DagRunInfo, DataInterval, TimeRestriction
from dagbok.exceptions import AirflowTimetableInvalid

_SECONDS = (
    ("years", 365 * 86_400),
    ("months", 30 * 86_400),
    ("days", 86_400),
    ("hours", 3_600),
    ("minutes", 60),
    ("seconds", 1),
)


def validate(delta: Any) -> None:
    """Raise where a delta does not move time on from now, as Airflow has it."""
    now = datetime.now(UTC)
    if now + delta <= now:
        raise AirflowTimetableInvalid(f"schedule interval must be positive, not {delta!r}")


def next_interval(delta: Any, last: DataInterval | None, restriction: TimeRestriction) -> DagRunInfo | None:
    """Return the run over the delta after the last one's interval."""
    earliest = restriction.earliest
    if not restriction.catchup:
        now = datetime.now(UTC)
        newest = _boundary(delta, now, earliest or now) - delta
        earliest = newest if earliest is None else max(newest, earliest)
    if last is None:
        if earliest is None:
            return None
        start = earliest
    else:
        start = last.end if earliest is None else max(last.end, earliest)
        if start <= last.start:
            start = start + delta
    if restriction.latest is not None and start > restriction.latest:
        return None
    return DagRunInfo.interval(start, start + delta)


def next_trigger(delta: Any, last: DataInterval | None, restriction: TimeRestriction) -> datetime | None:
    """Return the instant of the run after the last one."""
    now = datetime.now(UTC)
    if restriction.catchup:
        at = restriction.earliest or now if last is None else last.end + delta
    else:
        after = now if restriction.earliest is None else restriction.earliest
        at = max(now, after if last is None else last.end + delta, after)
    return None if restriction.latest is not None and restriction.latest < at else at


def _boundary(delta: Any, now: datetime, anchor: datetime) -> datetime:
    """Return the last end of an interval by now: stepped to from the start, or on the grid since 1970."""
    if (delta.months or delta.years) and session.era() != 2:
        while (following := anchor + delta) <= now and following > anchor:
            anchor = following
        return anchor
    length = sum(getattr(delta, name) * seconds for name, seconds in _SECONDS)
    if length <= 0:
        return now
    return datetime.fromtimestamp(now.timestamp() // length * length, UTC)
