"""What a file gives as its schedule, as a timetable."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from dagbok.authoring.assets import AssetTriggeredTimetable, is_assets
from dagbok.authoring.timetable_base import Timetable
from dagbok.authoring.timetables import (
    ContinuousTimetable,
    CronDataIntervalTimetable,
    CronTriggerTimetable,
    DeltaDataIntervalTimetable,
    DeltaTriggerTimetable,
    NullTimetable,
    OnceTimetable,
    is_relativedelta,
)
from dagbok.exceptions import AirflowTimetableInvalid


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
    if is_assets(schedule):
        return AssetTriggeredTimetable(schedule)
    raise AirflowTimetableInvalid(
        f"a schedule is None, a cron expression, a preset, a timedelta, a timetable, "
        f"an asset or a list of assets, "
        f"not {type(schedule).__name__}: {schedule!r}"
    )
