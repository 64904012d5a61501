"""Schedules of every kind: how a file says them, how the DAG spec has them, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from conftest import Folder

IMPORTS = """
from datetime import timezone
from zoneinfo import ZoneInfo
from dateutil.relativedelta import relativedelta
from airflow.timetables.events import EventsTimetable
from airflow.timetables.interval import CronDataIntervalTimetable, DeltaDataIntervalTimetable
from airflow.timetables.trigger import (
    CronTriggerTimetable, DeltaTriggerTimetable, MultipleCronTriggerTimetable
)
"""
DAY = 86_400_000_000


def schedule(folder: Folder, said: str, era: str = "2", dag: str = "") -> Any:
    """The schedule of a DAG spec."""
    text = f"{IMPORTS}with DAG('d', schedule={said}, start_date=datetime(2024, 1, 1), {dag}):\n"
    return folder.spec(f"{text}    EmptyOperator(task_id='t')\n", env={"DAGBOK_SCHEDULE_ERA": era})[
        "schedule"
    ]


@pytest.mark.parametrize(
    "preset", ["@hourly", "@daily", "@weekly", "@monthly", "@quarterly", "@yearly", "@midnight"]
)
def test_presets_are_intervals_in_the_older_era_and_triggers_in_the_newer(
    folder: Folder, preset: str
) -> None:
    older = schedule(folder, repr(preset))
    newer = schedule(folder, repr(preset), era="3")
    assert older["text"] == newer["text"] == preset
    (cron,) = older["timetable"].values()
    assert (list(older["timetable"]), newer["timetable"]) == (["CronDataInterval"], {"CronTrigger": cron})


@pytest.mark.parametrize(
    ("said", "form"),
    [
        ("None", "Manual"),
        ("'@once'", "Once"),
        ("'5 4 * * mon#1'", {"CronDataInterval": {"expression": "5 4 * * mon#1"}}),
        ("'0 0 L * * 30'", {"CronDataInterval": {"expression": "0 0 L * * 30"}}),
        ("timedelta(hours=6)", {"DeltaDataInterval": {"every": DAY // 4}}),
        ("relativedelta(months=1)", {"DeltaDataInterval": {"every": 0, "months": 1}}),
        ("relativedelta(months=1, days=-1)", {"DeltaDataInterval": {"every": -DAY, "months": 1}}),
        ("CronTriggerTimetable('0 1 * * *', timezone='UTC')", {"CronTrigger": {"expression": "0 1 * * *"}}),
        (
            "CronTriggerTimetable('0 1 * * *', timezone='UTC', interval=timedelta(days=1))",
            {"CronTriggers": {"expressions": ["0 1 * * *"], "interval": {"micros": DAY}}},
        ),
        (
            "CronTriggerTimetable('0 1 * * *', timezone='UTC', run_immediately=True)",
            {"CronTriggers": {"expressions": ["0 1 * * *"], "run_immediately": "Always"}},
        ),
        (
            "CronTriggerTimetable('0 1 * * *', timezone='UTC', run_immediately=timedelta(minutes=10))",
            {"CronTriggers": {"expressions": ["0 1 * * *"], "run_immediately": {"Within": 600_000_000}}},
        ),
        (
            "MultipleCronTriggerTimetable('0 1 * * *', '@weekly', timezone='UTC', interval=relativedelta(months=1))",
            {"CronTriggers": {"expressions": ["0 1 * * *", "0 0 * * 0"], "interval": {"months": 1}}},
        ),
        ("DeltaTriggerTimetable(timedelta(days=1))", {"DeltaTrigger": {"every": DAY}}),
        (
            "DeltaTriggerTimetable(relativedelta(months=1), interval=timedelta(days=1))",
            {"DeltaTriggers": {"every": {"months": 1}, "interval": {"micros": DAY}}},
        ),
    ],
)
def test_every_timetable_has_a_form(folder: Folder, said: str, form: Any) -> None:
    assert schedule(folder, said)["timetable"] == form


def test_a_timetable_has_a_zone_of_its_own(folder: Folder) -> None:
    said = "CronTriggerTimetable('0 1 * * *', timezone='Europe/Zurich')"
    assert schedule(folder, said)["timezone"] == "Europe/Zurich"
    assert (
        schedule(folder, said.replace("'Europe/Zurich'", "ZoneInfo('Asia/Tokyo')"))["timezone"]
        == "Asia/Tokyo"
    )
    several = schedule(folder, "MultipleCronTriggerTimetable('0 1 * * *', '@weekly', timezone='Asia/Tokyo')")
    assert (several["timezone"], several["text"]) == ("Asia/Tokyo", "0 1 * * *, @weekly")


def test_events_are_sorted_and_may_bind_manual_runs(folder: Folder) -> None:
    dates = "[datetime(2024, 1, 3, tzinfo=timezone.utc), datetime(2024, 1, 2), datetime(2024, 1, 3)]"
    found = schedule(folder, f"EventsTimetable({dates}, restrict_to_events=True, description='games')")
    days = [date["start"][:10] for date in found["timetable"]["Events"]["dates"]]
    assert (found["text"], days) == ("games", ["2024-01-02", "2024-01-03"])
    assert found["timetable"]["Events"]["restricted"] is True
    assert (
        "restricted"
        not in schedule(folder, f"EventsTimetable({dates}, presorted=True)")["timetable"]["Events"]
    )


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ("'@fortnightly'", "is no preset"),
        ("'* * *'", "it has 3 fields"),
        ("timedelta(0)", "must be longer than zero"),
        ("relativedelta(days=-1)", "must be longer than zero"),
        ("relativedelta(months=1, days=-40)", "must be longer than zero"),
        ("relativedelta(day=1)", "must be positive"),
        ("MultipleCronTriggerTimetable(timezone='UTC')", "cron expression required"),
        (
            "CronTriggerTimetable('0 1 * * *', timezone='Europe/Zurig')",
            "no time zone is named 'Europe/Zurig'",
        ),
        ("CronTriggerTimetable('0 1 * * *', timezone='UTC', interval=3)", "interval is a timedelta"),
        ("EventsTimetable([])", "at least one date"),
        ("42", "not int: 42"),
    ],
)
def test_what_is_no_schedule_is_refused_with_its_line(folder: Folder, said: str, why: str) -> None:
    dag = f"with DAG('d', schedule={said}, start_date=datetime(2024, 1, 1)):\n"
    error = folder.error(f"{IMPORTS}{dag}    EmptyOperator(task_id='t')\n")
    assert why in error["message"]
    lines = (folder.path / "file.py").read_text().splitlines()
    assert lines[error["line"] - 1].startswith("with DAG(")


def test_an_end_before_the_start_is_refused(folder: Folder) -> None:
    dag = (
        "with DAG('d', schedule='@daily', start_date=datetime(2024, 1, 2), end_date=datetime(2024, 1, 1)):\n"
    )
    error = folder.error(f"{dag}    EmptyOperator(task_id='t')\n")
    assert "lies before its start_date" in error["message"]
    assert error["line"], error
