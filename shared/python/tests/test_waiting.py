"""Sensors that need nothing but a clock, the disk or a command, under each of their names."""

from __future__ import annotations

import datetime as dt

import pytest

from conftest import Bench

NAMES = {
    "date_time": "DateTimeSensor",
    "time_delta": "TimeDeltaSensor",
    "time": "TimeSensor",
    "filesystem": "FileSensor",
    "bash": "BashSensor",
    "weekday": "DayOfWeekSensor",
    "external_task": "ExternalTaskSensor",
}


def test_they_go_by_all_their_names(bench: Bench) -> None:
    lines = "".join(
        f"from {package}.{module} import {name}\n"
        for package in ("airflow.sensors", "airflow.providers.standard.sensors")
        for module, name in NAMES.items()
    )
    bench.load(
        f"{lines}from airflow.contrib.sensors.file_sensor import FileSensor\n"
        "from airflow.sensors.s3_key_sensor import S3KeySensor\n"
        "from airflow.hooks.filesystem import FSHook\n"
        "with DAG('d', schedule=None):\n    EmptyOperator(task_id='t')\n"
    )
    assert bench.ready["type"] == "Ready", bench.ready


@pytest.mark.parametrize(
    ("sensor", "state"),
    [
        ("DateTimeSensor(target_time='{{ ds }}T00:00:00+00:00')", "success"),
        ("DateTimeSensor(target_time=datetime(2924, 1, 1))", "failed"),
        ("TimeSensor(target_time=datetime.min.time())", "success"),
        ("TimeSensor(target_time=datetime.max.time())", "success"),
        ("TimeDeltaSensor(delta=timedelta(days=1))", "success"),
        ("TimeDeltaSensor(delta=timedelta(days=365000))", "failed"),
        ("TimeDeltaSensor(delta='{{ 5 }}')", "success"),
        ("DayOfWeekSensor(week_day='Friday', use_task_execution_day=True)", "success"),
        ("DayOfWeekSensor(week_day={'Monday'}, use_task_logical_date=True)", "failed"),
        ("FileSensor(filepath='nowhere-{{ ds }}.csv')", "failed"),
        ("FileSensor(filepath=__file__)", "success"),
        ("FileSensor(filepath=__file__[:-2] + '*')", "success"),
        ("FileSensor(filepath=os.path.dirname(__file__))", "success"),
        ("FileSensor(filepath='file.py', fs_conn_id='here')", "success"),
        ("BashSensor(bash_command='echo {{ ds }}; true')", "success"),
        ("BashSensor(bash_command='exit 3')", "failed"),
        ("BashSensor(bash_command='exit 3', soft_fail=True)", "skipped"),
    ],
)
def test_they_wait_for_what_they_say(bench: Bench, sensor: str, state: str) -> None:
    imports = "".join(f"from airflow.sensors.{module} import {name}\n" for module, name in NAMES.items())
    sensor = sensor.replace("(", "(task_id='t', timeout=0, ", 1)
    bench.supervisor.connections["here"] = {"extra": f'{{"path": "{bench.folder.path}"}}'}
    bench.load(f"{imports}with DAG('d', schedule=None):\n    {sensor}\n")
    assert bench.ready["type"] == "Ready", bench.ready
    # So that the day on which it began is over.
    began = dt.datetime(2024, 3, 1, tzinfo=dt.UTC)
    assert bench.run("t", first_started_at=began).state == state


def test_a_command_that_fails_otherwise_than_told_ends_the_wait(bench: Bench) -> None:
    bench.load(
        "from airflow.sensors.bash import BashSensor\nwith DAG('d', schedule=None):\n"
        "    BashSensor(task_id='t', bash_command='exit 4', retry_exit_code=3, timeout=60)\n"
    )
    result = bench.run("t", should_retry=True)
    assert result.state == "failed"
    assert result.error["message"] == "Command exited with return code 4"


def test_waits_between_looks_grow_as_airflows_do(bench: Bench) -> None:
    bench.load(
        "from airflow.sensors.python import PythonSensor\n"
        "def growing(**context):\n"
        "    sensor = context['task']\n"
        "    print([round(sensor._pause(context, looked, 0)) for looked in (1, 2, 3, 8)])\n"
        "    return True\n"
        "with DAG('d', schedule=None):\n"
        "    how = {'python_callable': growing, 'poke_interval': 8}\n"
        "    PythonSensor(task_id='same', **how)\n"
        "    PythonSensor(task_id='growing', exponential_backoff=True, max_wait=100, **how)\n"
    )
    assert bench.run("same").stdout == "[8, 8, 8, 8]\n"
    first, second, third, last = eval(bench.run("growing").stdout)
    # From as much as the power of two says to twice that, apart for each sensor, up to max_wait.
    assert 4 <= first < 8 <= second < 16 <= third < 32
    assert last == 100
