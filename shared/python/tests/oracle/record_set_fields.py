"""Records what real Airflow makes of relativedeltas that set fields, run after run.

    python record_set_fields.py OUT     # with Airflow 2.11.2, and with 3.3.2

`set_fields-2.json` and `set_fields-3.json` are what these two answered at NOW: by delta, kind of timetable, start
date and catchup the first five runs, each the ends of its data interval and when it is due.
"""

from __future__ import annotations

import contextlib
import json
import sys
from typing import Any
from unittest import mock

import airflow
import pendulum
from airflow.timetables import interval, trigger
from airflow.timetables.base import TimeRestriction
from dateutil.relativedelta import FR, MO, relativedelta

NOW = pendulum.datetime(2024, 5, 20, 7, 3, 11)
START, END = pendulum.datetime(2024, 1, 3, 4, 5), pendulum.datetime(2027, 1, 1)
DELTAS = {
    "relativedelta(months=1, day=15)": relativedelta(months=1, day=15),
    "relativedelta(months=1, day=31)": relativedelta(months=1, day=31),
    "relativedelta(days=1, hour=6)": relativedelta(days=1, hour=6),
    "relativedelta(weeks=1, weekday=MO)": relativedelta(weeks=1, weekday=MO),
    "relativedelta(days=1, weekday=FR(1))": relativedelta(days=1, weekday=FR(1)),
    "relativedelta(years=1, month=2, day=29)": relativedelta(years=1, month=2, day=29),
    "relativedelta(hours=1, minute=30)": relativedelta(hours=1, minute=30),
    "relativedelta(months=1, day=1, hour=3)": relativedelta(months=1, day=1, hour=3),
}


def runs(timetable: Any, start: Any, catchup: bool) -> list[list[str]]:
    """The first five runs."""
    last, found = None, []
    for _ in range(5):
        asked = TimeRestriction(start, END, catchup)
        info = timetable.next_dagrun_info(last_automated_data_interval=last, restriction=asked)
        if info is None:
            break
        last = info.data_interval
        ends = (last.start, last.end, info.run_after)
        found.append([end.in_timezone("UTC").isoformat() for end in ends])
    return found


def main() -> None:
    """Write what this Airflow answers."""
    kinds = {"interval": interval.DeltaDataIntervalTimetable}
    if not airflow.__version__.startswith("2."):
        kinds["trigger"] = trigger.DeltaTriggerTimetable
    told = []
    with contextlib.ExitStack() as stack:
        for module in (interval, trigger):
            stack.enter_context(mock.patch.object(module, "utcnow", create=True, return_value=NOW))
        for said, delta in DELTAS.items():
            for kind, made in kinds.items():
                for start in (None, START):
                    for catchup in (True, False):
                        found = runs(made(delta), start, catchup)
                        begins = start.isoformat() if start else None
                        told.append([said, kind, begins, catchup, found])
    with open(sys.argv[1], "w") as out:
        out.write("[\n" + ",\n".join(json.dumps(one) for one in told) + "\n]\n")


main()
