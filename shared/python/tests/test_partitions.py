"""Partitions: what a file's schedule says of them, and what tasks see and say."""

from __future__ import annotations

import json

import pytest

from conftest import Bench, Folder

IMPORTS = "from airflow.sdk import *\nfrom airflow.sdk import DAG, Asset, CronPartitionTimetable\n"
DAY = {
    "StartOf": {
        "period": "day",
        "timezone": "UTC",
        "input_format": "%Y-%m-%dT%H:%M:%S",
        "output_format": "%Y-%m-%d",
    }
}


def timetable(folder: Folder, schedule: str) -> object:
    imports = (
        "from airflow.sdk import (Asset, CronPartitionTimetable, PartitionedAssetTimetable, PartitionedAtRuntime,\n"
        "    StartOfDayMapper, RollupMapper, DayWindow, MinimumCount, FanOutMapper, WeekWindow, StartOfWeekMapper,\n"
        "    ProductMapper, IdentityMapper, ChainMapper, AllowedKeyMapper, FixedKeyMapper, SegmentWindow, Window)\n"
    )
    text = f"{imports}with DAG('d', schedule={schedule}):\n    EmptyOperator(task_id='t')\n"
    return folder.spec(text)["schedule"]["timetable"]


def test_a_cron_of_partitions_says_its_offset_and_format(folder: Folder) -> None:
    said = timetable(
        folder, "CronPartitionTimetable('@hourly', timezone='UTC', run_offset=-1, key_format='%Y')"
    )
    assert said == {"CronPartition": {"expression": "0 * * * *", "key_format": "%Y", "run_offset": -1}}
    assert timetable(folder, "PartitionedAtRuntime()") == "PartitionedAtRuntime"


@pytest.mark.parametrize(
    ("mapper", "form"),
    [
        ("IdentityMapper()", "Identity"),
        ("StartOfDayMapper()", DAY),
        ("AllowedKeyMapper(['a'])", {"AllowedKey": {"allowed_keys": ["a"]}}),
        (
            "ProductMapper(IdentityMapper(), StartOfDayMapper())",
            {"Product": {"mappers": ["Identity", DAY], "delimiter": "|"}},
        ),
        (
            "ChainMapper(IdentityMapper(), FixedKeyMapper('x'))",
            {"Chain": {"mappers": ["Identity", {"FixedKey": {"downstream_key": "x"}}]}},
        ),
        (
            "RollupMapper(upstream_mapper=StartOfDayMapper(), window=DayWindow(), wait_policy=MinimumCount(-1))",
            {
                "Rollup": {
                    "upstream": DAY,
                    "window": {"Of": {"period": "day"}},
                    "wait": {"MinimumCount": {"n": -1}},
                }
            },
        ),
    ],
)
def test_a_mapper_is_told_whole(folder: Folder, mapper: str, form: object) -> None:
    said = timetable(folder, f"PartitionedAssetTimetable(Asset('a'), default_partition_mapper={mapper})")
    assert said == {"PartitionedAsset": {"default": {"mapper": form}}}


def test_assets_may_have_mappers_of_their_own(folder: Folder) -> None:
    said = timetable(
        folder,
        "PartitionedAssetTimetable(assets=Asset('a') & Asset.ref(name='b'), partition_mapper_config={"
        "Asset('a'): StartOfDayMapper(max_downstream_keys=3), Asset.ref(name='b'): StartOfDayMapper()})",
    )
    assert said == {
        "PartitionedAsset": {
            "default": {"mapper": "Identity"},
            "rules": [
                {
                    "asset": {"Asset": {"name": "a", "uri": "a"}},
                    "rule": {"mapper": DAY, "max_downstream_keys": 3},
                },
                {"asset": {"Name": {"name": "b"}}, "rule": {"mapper": DAY}},
            ],
        }
    }


def test_a_mapper_of_the_files_own_is_refused_by_name(folder: Folder) -> None:
    error = folder.error(
        "from airflow.sdk import Asset, PartitionMapper, PartitionedAssetTimetable\n"
        "class Mine(PartitionMapper):\n    def to_downstream(self, key):\n        return key\n"
        "with DAG('d', schedule=PartitionedAssetTimetable(Asset('a'), default_partition_mapper=Mine())):\n"
        "    EmptyOperator(task_id='t')\n"
    )
    assert "Mine is a partition mapper of the file's own" in error["message"]


RUNTIME = """
from airflow.sdk import DAG, Asset, PartitionedAtRuntime, task

regional = Asset("regional")

with DAG("d", schedule=PartitionedAtRuntime()):
    @task(outlets=[regional])
    def make(*, outlet_events=None, dag_run=None, partition_key=None, partition_date=None):
        outlet_events[regional].add_partitions(["us", "eu", "us"])
        outlet_events[regional].extra["rows"] = 1
        return [dag_run.partition_key, partition_key, str(partition_date)]

    @task(outlets=[regional])
    def odd(*, outlet_events=None):
        outlet_events[regional].add_partitions(" ")

    make()
    odd()
    BashOperator(task_id="templated", bash_command="echo {{ partition_key }} {{ dag_run.partition_key }}")
"""


def test_tasks_say_partitions_and_see_their_runs_own(bench: Bench) -> None:
    bench.load(RUNTIME)
    assert bench.ready["type"] == "Ready", bench.ready
    result = bench.run("make")
    assert result.state == "success", result.logs
    (told,) = result.of("SucceedTask")
    events = [(event["partition_key"], json.loads(event["extra"])) for event in told["outlet_events"]]
    assert events == [("eu", {"rows": 1}), ("us", {"rows": 1})]
    assert result.of("SetXCom")[0]["value"] == [None, None, "None"]
    failed = bench.run("odd")
    assert failed.of("TaskError")[0]["exception"] == "ValueError"


@pytest.mark.parametrize(
    ("base", "use"),
    [
        ("StartOfDayMapper", "default_partition_mapper=Mine()"),
        (
            "DayWindow",
            "default_partition_mapper=RollupMapper(upstream_mapper=StartOfDayMapper(), window=Mine())",
        ),
        (
            "WaitForAll",
            "default_partition_mapper=RollupMapper(upstream_mapper=StartOfDayMapper(), window=DayWindow(), "
            "wait_policy=Mine())",
        ),
    ],
)
def test_what_inherits_from_one_that_is_known_is_of_the_files_own(
    folder: Folder, base: str, use: str
) -> None:
    error = folder.error(
        "from airflow.sdk import (Asset, DayWindow, PartitionedAssetTimetable, RollupMapper, StartOfDayMapper,\n"
        f"    WaitForAll)\nclass Mine({base}):\n    pass\n"
        f"with DAG('d', schedule=PartitionedAssetTimetable(Asset('a'), {use})):\n"
        "    EmptyOperator(task_id='t')\n"
    )
    assert "Mine is a " in error["message"]
    assert "of the file's own" in error["message"]


def test_a_directive_that_the_scheduler_does_not_know_is_told_at_its_line(folder: Folder) -> None:
    error = folder.error(
        "from airflow.sdk import Asset, PartitionedAssetTimetable, StartOfDayMapper\n"
        "with DAG('d', schedule=PartitionedAssetTimetable(Asset('a'), default_partition_mapper="
        "StartOfDayMapper(input_format='%Y %Q'))):\n"
        "    EmptyOperator(task_id='t')\n"
    )
    assert "'%Q'" in error["message"]


MANY = """
from airflow.sdk import DAG, Asset, PartitionedAtRuntime, task

regional = Asset("regional")

with DAG("d", schedule=PartitionedAtRuntime()):
    @task(outlets=[regional])
    def day(*, outlet_events=None):
        outlet_events[regional].add_partitions([f"{n:04}" for n in range(1440)])

    @task(outlets=[regional])
    def more(*, outlet_events=None):
        outlet_events[regional].add_partitions([f"{n:04}" for n in range(2001)])

    day()
    more()
"""


def test_a_task_may_say_a_day_by_minutes_and_hears_at_once_what_is_too_much(bench: Bench) -> None:
    bench.load(MANY)
    (told,) = bench.run("day").of("SucceedTask")
    assert len(told["outlet_events"]) == 1440
    (error,) = bench.run("more").of("TaskError")
    assert error["exception"] == "ValueError"
    assert "2000 partitions" in json.dumps(error)
