"""Values that tasks of one runtime hand to tasks of the other: those of the pool `legacy` are Airflow's."""

from __future__ import annotations

import datetime as dt
import decimal
import uuid
from zoneinfo import ZoneInfo

import pendulum
from airflow.sdk import DAG, task

STOCKHOLM = ZoneInfo("Europe/Stockholm")
VALUES = {
    "plain": {"a": [1, 2.5, None, True, "text"]},
    "utc": dt.datetime(2026, 1, 2, 3, 4, 5, 678901, dt.UTC),
    "zoned": dt.datetime(2026, 7, 2, 3, 4, 5, tzinfo=STOCKHOLM),
    "pendulum": pendulum.datetime(2026, 7, 2, 3, 4, 5, tz="Europe/Stockholm"),
    "date": dt.date(2026, 1, 2),
    "pendulum_date": pendulum.date(2026, 1, 2),
    "span": dt.timedelta(days=1, seconds=2, microseconds=3),
    "decimal": decimal.Decimal("1.25"),
    "tuple": (1, (dt.date(2026, 1, 2), dt.timedelta(seconds=1))),
    "set": {1, 2},
    "frozenset": frozenset([3]),
}
# Airflow has no form of these; our runtime has.
OURS = {
    "time": dt.time(3, 4, 5),
    "uuid": uuid.UUID(int=7),
    "big": 10**30,
    "many": [{"at": dt.datetime(2026, 1, 2, tzinfo=dt.UTC)}, dt.time(1)],
}


def who() -> str:
    """Which runtime this is."""
    import airflow

    return "airflow" if getattr(airflow, "__file__", None) else "dagbok"


def wrong(got: dict, wanted: dict) -> list[str]:
    """What did not come as it was handed on, with its zone."""

    def zone(value: object) -> object:
        found = getattr(value, "tzinfo", None)
        named = getattr(found, "key", None) or getattr(found, "name", None)
        return named if isinstance(named, str) else found and str(found)

    return [
        f"{name}: {value!r} came as {got[name]!r}"
        for name, value in wanted.items()
        if got[name] != value or not isinstance(got[name], type(value)) or zone(got[name]) != zone(value)
    ]


with DAG("crossing", schedule=None):

    @task
    def ours() -> dict:
        print("ours by", who())
        return {**VALUES, **OURS}

    @task(pool="legacy")
    def theirs(got: dict) -> dict:
        print("theirs by", who())
        assert who() == "airflow"
        assert not wrong(got, {**VALUES, **OURS}), wrong(got, {**VALUES, **OURS})
        return VALUES

    @task
    def back(got: dict) -> str:
        print("back by", who())
        assert who() == "dagbok"
        assert not wrong(got, VALUES), wrong(got, VALUES)
        return "all came"

    @task(pool="legacy")
    def spans() -> list:
        return [dt.timedelta(seconds=1), dt.timedelta(seconds=2)]

    @task
    def seconds(span: dt.timedelta) -> dt.timedelta:
        return 2 * span

    @task(pool="legacy")
    def total(them: list) -> float:
        assert who() == "airflow"
        return sum((it for it in them), dt.timedelta()).total_seconds()

    back(theirs(ours()))
    total(seconds.expand(span=spans()))
