"""What Airflow's files cost here beyond Python itself: parsing, imports, hand-offs, exact mode. A part of `run.py`."""

from __future__ import annotations

import itertools
import json
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import httpx
from harness import Standalone, standalone, wait_until, write_dag

ROOT = Path(__file__).resolve().parents[2]
Row = Callable[[str, str, str, bool | None], None]
TASKS, FILES, PLAIN, STEPS = 1_000, 500, 100, 40

WIDE = f"""
from datetime import datetime
from airflow import DAG
from airflow.operators.bash import BashOperator

with DAG("wide", schedule=None, start_date=datetime(2024, 1, 1)) as dag:
    before = None
    for number in range({TASKS}):
        one = BashOperator(task_id=f"t{{number:04}}", bash_command="echo {{{{ ds }}}}", retries=2)
        if before is not None and number % 10:
            before >> one
        before = one
"""
SMALL = """
from datetime import datetime, timedelta
from airflow import DAG
from airflow.operators.bash import BashOperator
from airflow.operators.python import PythonOperator

def load(ds):
    return ds

with DAG("{dag}", schedule="@daily", start_date=datetime(2024, 1, 1), catchup=False,
         is_paused_upon_creation=True, default_args={{"retries": 2, "retry_delay": timedelta(minutes=5)}}) as dag:
    first = PythonOperator(task_id="load", python_callable=load)
    for number in range(5):
        first >> BashOperator(task_id=f"step_{{number}}", bash_command="echo {{{{ ds }}}}")
"""
# The spine's own file, and one that imports the standard operators and sensors.
STEP = """
import os, sys, time
from datetime import datetime
from airflow.decorators import dag, task
{imports}

@task
def step(number, before=None):
    first = time.time()
    with open(os.environ["BENCH_OUT"], "a") as out:
        out.write(f"{{number}} {{first}} {{time.time()}} {{'pendulum' in sys.modules}}\\n")
    return number

@dag(dag_id="{dag}", schedule=None, start_date=datetime(2024, 1, 1), is_paused_upon_creation=False)
def made():
    value = None
    for number in range({steps}):
        value = step.override(task_id=f"t{{number:02}}")(number, value)

made()
"""
STANDARD = """
from airflow.operators.bash import BashOperator
from airflow.operators.empty import EmptyOperator
from airflow.operators.python import BranchPythonOperator, PythonOperator, ShortCircuitOperator
from airflow.operators.trigger_dagrun import TriggerDagRunOperator
from airflow.sensors.external_task import ExternalTaskSensor
from airflow.sensors.filesystem import FileSensor
from airflow.sensors.python import PythonSensor
from airflow.utils.task_group import TaskGroup
from airflow.utils.trigger_rule import TriggerRule
"""


def figure(it: Standalone, name: str) -> float:
    """The sum of a metric over its labels."""
    page = httpx.get(f"{it.api.url}/metrics", timeout=30.0).text
    return sum(float(value) for value in re.findall(rf"^{name}(?:{{[^}}]*}})? (\S+)$", page, re.MULTILINE))


def parsing(folder: Path, row: Row) -> None:
    """A long file, and many short ones, that nobody has read before."""
    dags = folder / "wide"
    write_dag(dags, "wide.py", WIDE)
    with standalone(folder / "one", dags) as it:
        it.wait_dag("wide")
        took = wait_until("the figure", lambda: figure(it, "dagbok_parse_seconds_sum"))
    row(f"a file of {TASKS:,} tasks is parsed", f"{took:.2f} s", "<= 0.5 s", took <= 0.5)
    dags = folder / "plain"
    for number in range(PLAIN):
        write_dag(dags, f"plain_{number:03}.py", SMALL.format(dag=f"plain_{number:03}"))
    begun = time.monotonic()
    # As in many container images: bytecode that is there is used all the same.
    with standalone(folder / "hundred", dags, env={"PYTHONDONTWRITEBYTECODE": "1"}) as it:
        wait_until("all DAGs", lambda: it.api.get("/dags", limit=1)["total_entries"] == PLAIN, patience=120)
        took = time.monotonic() - begun
        row(f"a folder of {PLAIN} files, from the start to the last DAG", f"{took:.1f} s", "<= 2 s", took <= 2)
        begun = time.monotonic()
        write_dag(dags, "saved.py", SMALL.format(dag="saved"))
        wait_until("the DAG", lambda: it.api.get("/dags/saved"), patience=120)
        took = time.monotonic() - begun
        row("a file is saved until its DAG is listed", f"{took:.2f} s", "", None)
    dags = folder / "many"
    for number in range(FILES):
        write_dag(dags, f"small_{number:03}.py", SMALL.format(dag=f"small_{number:03}"))
    begun = time.monotonic()
    with standalone(folder / "all", dags) as it:
        wait_until("all DAGs", lambda: it.api.get("/dags", limit=1)["total_entries"] == FILES, patience=120)
        took = time.monotonic() - begun
        row(f"a folder of {FILES} files, from the start to the last DAG", f"{took:.1f} s", "<= 10 s", took <= 10)
        before = figure(it, "dagbok_files_parsed_total")
        time.sleep(45)
        again = figure(it, "dagbok_files_parsed_total") - before
        row("of those parsed again in 45 s in which nothing changed", f"{again:.0f}", "0", again == 0)


def gaps(out: Path) -> tuple[float, bool]:
    """From a task's end to its successor's first line in milliseconds, and whether any of them had pendulum."""
    lines = sorted(line.split() for line in out.read_text().splitlines())
    spans = sorted((int(number), float(first), float(last)) for number, first, last, _ in lines)
    took = [1e3 * (after[1] - before[2]) for before, after in itertools.pairwise(spans)]
    return statistics.median(took), any(line[3] == "True" for line in lines)


def hand_offs(folder: Path, row: Row) -> None:
    """The same tasks in a file that imports nothing else, and in one that imports the standard operators."""
    dags, out = folder / "steps", folder / "out"
    write_dag(dags, "bare.py", STEP.format(imports="", dag="bare", steps=STEPS))
    write_dag(dags, "standard.py", STEP.format(imports=STANDARD, dag="standard", steps=STEPS))
    took: dict[str, list[float]] = {"bare": [], "standard": []}
    has_pendulum = False
    with standalone(folder / "hand", dags, env={"BENCH_OUT": str(out)}) as it:
        for dag in took:
            it.wait_dag(dag)
        for number in range(5):
            for dag, seen in took.items():
                out.unlink(missing_ok=True)
                assert it.trigger(dag, f"r{number}").status_code == 200
                assert it.api.wait_run(dag, f"r{number}") == "success"
                gap, pendulum = gaps(out)
                has_pendulum |= pendulum
                # The first run of each loads its file.
                if number:
                    seen.append(gap)
    added = statistics.median(took["standard"]) - statistics.median(took["bare"])
    row("what imports of the standard operators add to a hand-off", f"{added:+.1f} ms", "<= 10 ms", added <= 10)
    row("pendulum in tasks that don't import it", "yes" if has_pendulum else "no", "no", not has_pendulum)


def exact(row: Row) -> None:
    """A forked try in exact mode, where `make exact` has made the environment."""
    what = "exact mode: a try's start to its first line, parent warm (Airflow 3.3.2)"
    if not (ROOT / ".tools/exact-3.3.2/bin/python").exists():
        return row(what, "not measured: `make exact` makes its environment", "<= 150 ms", None)
    done = subprocess.run(
        [sys.executable, str(ROOT / "tests/exact/speed.py"), "3.3.2"], check=True, capture_output=True, text=True
    )
    told = json.loads(done.stdout)
    return row(what, f"p50 {told['p50_ms']} ms, most {told['most_ms']} ms", "<= 150 ms", told["p50_ms"] <= 150)


def surface(folder: Path, row: Row) -> None:
    """All of it."""
    for name in ("one", "all", "hundred", "hand"):
        (folder / name).mkdir()
    parsing(folder, row)
    hand_offs(folder, row)
    exact(row)
