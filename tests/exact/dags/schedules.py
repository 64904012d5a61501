"""A DAG for each kind of schedule: what exact mode makes of one is what Dagbok's own parser makes of it."""

from __future__ import annotations

import datetime as dt

import pendulum
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.providers.standard.triggers.file import FileDeleteTrigger
from airflow.sdk import DAG, Asset, AssetAlias, AssetWatcher
from airflow.timetables.assets import AssetOrTimeSchedule
from airflow.timetables.events import EventsTimetable
from airflow.timetables.interval import CronDataIntervalTimetable, DeltaDataIntervalTimetable
from airflow.timetables.trigger import CronTriggerTimetable, DeltaTriggerTimetable, MultipleCronTriggerTimetable

UTC = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
INDIA = dt.datetime(2026, 1, 1, tzinfo=dt.timezone(dt.timedelta(hours=5, minutes=30)))
STOCKHOLM = pendulum.datetime(2026, 1, 1, tz="Europe/Stockholm")
ONE, TWO = Asset("one"), Asset("two", uri="s3://two/2", group="lake", extra={"a": 1})
WATCHED = Asset("watched", watchers=[AssetWatcher(name="w", trigger=FileDeleteTrigger(filepath="/nowhere"))])

SCHEDULES = {
    "none": None,
    "daily": "@daily",
    "once": "@once",
    "continuous": "@continuous",
    "cron": "5 4 * * 1-5",
    "delta": dt.timedelta(hours=3),
    "cron_interval": CronDataIntervalTimetable("0 2 * * *", timezone="Europe/Stockholm"),
    "cron_trigger": CronTriggerTimetable("0 2 * * *", timezone="UTC", interval=dt.timedelta(hours=1)),
    "crons": MultipleCronTriggerTimetable("0 2 * * *", "0 5 * * *", timezone="UTC"),
    "delta_interval": DeltaDataIntervalTimetable(dt.timedelta(hours=1)),
    "delta_trigger": DeltaTriggerTimetable(dt.timedelta(hours=1)),
    "events": EventsTimetable([UTC, UTC + dt.timedelta(days=1)], restrict_to_events=True),
    "asset": ONE,
    "assets": [ONE, TWO],
    "any": ONE | TWO,
    "all": ONE & (TWO | AssetAlias("x")),
    "alias": AssetAlias("x"),
    "by_name": Asset.ref(name="one"),
    "by_uri": Asset.ref(uri="s3://two/2"),
    "watched": WATCHED,
    "asset_or_time": AssetOrTimeSchedule(timetable=CronTriggerTimetable("0 2 * * *", timezone="UTC"), assets=ONE),
}
for name, schedule in SCHEDULES.items():
    with DAG(f"on_{name}", schedule=schedule, start_date=UTC, catchup=False, max_active_runs=1):
        EmptyOperator(task_id="it", outlets=[TWO], inlets=[ONE, AssetAlias("x"), Asset.ref(name="one")])

for place, start in (("india", INDIA), ("stockholm", STOCKHOLM)):
    for kind, schedule in (("none", None), ("cron", "0 2 * * *"), ("delta", dt.timedelta(hours=1))):
        with DAG(f"{place}_{kind}", schedule=schedule, start_date=start):
            EmptyOperator(task_id="it")

with DAG("bounded", schedule="@daily", start_date=UTC, catchup=True):
    for month in (2, 3):
        EmptyOperator(
            task_id=f"of_{month}",
            start_date=dt.datetime(2026, month, 1, tzinfo=dt.UTC),
            end_date=dt.datetime(2026, month, 20, tzinfo=dt.UTC),
        )
