"""Ask a real Airflow when it tries again, and write its answers down.

    python -m venv /tmp/af2 && /tmp/af2/bin/pip install apache-airflow==2.11.2
    python -m venv /tmp/af3 && /tmp/af3/bin/pip install apache-airflow==3.3.2
    /tmp/af2/bin/python record_backoffs.py
    /tmp/af3/bin/python record_backoffs.py

Writes ``backoffs-2.json`` or ``backoffs-3.json`` beside this file. Airflow's own ``next_retry_datetime`` is called
on what stands for a task instance whose try just ended; nothing is started, and there is no database. Each row is
DAG, task, logical date (microseconds since 1970, or null), number of the try, retry_delay in microseconds, the
multiplier in thousandths, max_retry_delay in microseconds or null, and the wait in microseconds.
"""

from __future__ import annotations

import datetime as dt
import importlib.metadata
import json
import os
import pathlib
import random
import tempfile
from types import SimpleNamespace
from typing import Any

if "AIRFLOW_HOME" not in os.environ:  # each process of its own imports this too
    os.environ["AIRFLOW_HOME"] = tempfile.mkdtemp(prefix="backoffs-")
os.environ["AIRFLOW__CORE__UNIT_TEST_MODE"] = "True"
os.environ["AIRFLOW__CORE__LOAD_EXAMPLES"] = "False"

import logging

from airflow.models.taskinstance import TaskInstance

HERE = pathlib.Path(__file__).parent
ERA = int(importlib.metadata.version("apache-airflow").split(".")[0])
EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.timezone.utc)
NAMES = ["etl", "train_model", "a-b.c", "größe", "x" * 60]
MULTIPLIERS = [2.0] if ERA == 2 else [2.0, 1.5, 3.0, 10.0, 1.1, 0.5]


def micros(delta: dt.timedelta) -> int:
    """Whole microseconds."""
    return round(delta / dt.timedelta(microseconds=1))


def row(dice: random.Random) -> list[Any]:
    """One question with its answer."""
    date = EPOCH + dt.timedelta(seconds=dice.randrange(2_000_000_000))
    if dice.random() < 0.3:
        date += dt.timedelta(microseconds=dice.randrange(1_000_000))
    logical = None if ERA == 3 and dice.random() < 0.2 else date
    delay = dt.timedelta(microseconds=dice.choice([0, 250_000, 1_000_000, 10_000_000, 90_500_000, 300_000_000]))
    longest = dice.choice([None, None, dt.timedelta(seconds=45), dt.timedelta(hours=1), dt.timedelta(days=3)])
    multiplier = dice.choice(MULTIPLIERS)
    names = dice.choice(NAMES), dice.choice(NAMES)
    number = dice.choice([1, 1, 2, 3, 4, 5, 8, 13, 30])
    task = SimpleNamespace(retry_delay=delay, retry_exponential_backoff=multiplier, max_retry_delay=longest)
    it = SimpleNamespace(
        retry_delay_override=None,
        task=task,
        dag_id=names[0],
        task_id=names[1],
        logical_date=logical,
        execution_date=logical,
        try_number=number,
        end_date=EPOCH,
        log=logging.getLogger("backoffs"),
    )
    wait = micros(TaskInstance.next_retry_datetime(it) - EPOCH)
    at = None if logical is None else micros(logical - EPOCH)
    most = None if longest is None else micros(longest)
    return [*names, at, number, micros(delay), round(multiplier * 1000), most, wait]


def main() -> None:
    """Write the table."""
    dice = random.Random(20)
    lines = ",\n".join(json.dumps(row(dice), ensure_ascii=False) for _ in range(400))
    (HERE / f"backoffs-{ERA}.json").write_text(f"[\n{lines}\n]\n")


if __name__ == "__main__":
    main()
