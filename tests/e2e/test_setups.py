"""Setups, teardowns and runs that stop at their first failure by the real binary, from files of both eras."""

from pathlib import Path
from typing import Any

from harness import Standalone

from test_branching import states

OLDER = """
from datetime import datetime
from airflow import DAG
from airflow.decorators import setup, task, teardown
from airflow.operators.python import PythonOperator

def do(dag_run, task, **_):
    if task.task_id in dag_run.conf["bad"]:
        raise ValueError("asked to")
    return task.task_id

def op(name, **how):
    return PythonOperator(task_id=name, python_callable=do, **how)

with DAG("older", schedule_interval=None, start_date=datetime(2024, 1, 1)) as dag:
    up, down = op("up").as_setup(), op("down").as_teardown()
    with up >> down:
        op("work") >> op("more")

with DAG("strict", schedule_interval=None, start_date=datetime(2024, 1, 1)) as strict:
    op("up") >> op("work") >> op("down").as_teardown(setups=strict.get_task("up"),
                                                     on_failure_fail_dagrun=True)

with DAG("stops", schedule_interval=None, start_date=datetime(2024, 1, 1), fail_stop=True) as stops:
    op("up") >> op("first") >> op("next") >> op("down").as_teardown(setups=stops.get_task("up"))
"""

NEWER = """
from airflow.sdk import dag, setup, task, teardown

@dag(schedule=None)
def newer():
    @setup
    def cluster():
        return "c1"

    @teardown
    def gone(name):
        return f"{name} is gone"

    @task
    def work(name, n):
        if n == 2:
            raise ValueError(name)
        return n

    name = cluster()
    with gone(name):
        work(name, 1) >> work(name, 2)
newer()
"""


def run(it: Standalone, dag_id: str, run_id: str, bad: str) -> tuple[str, dict[str, Any]]:
    """Run a DAG to its end with a task that fails; how the run ended, and the state of each task."""
    assert it.trigger(dag_id, run_id, conf={"bad": [bad]}).status_code == 200
    ended = it.api.wait_run(dag_id, run_id)
    return ended, states(it, dag_id, run_id)


def test_a_file_of_the_older_era_sets_up_and_tears_down(running: Standalone, dags: Path) -> None:
    dags.joinpath("older.py").write_text(OLDER)
    for dag_id in ("older", "strict", "stops"):
        running.wait_dag(dag_id)
    good, bad, below = "success", "failed", "upstream_failed"
    # As real Airflow ends them, 2.11.2 and 3.3.2 alike.
    assert run(running, "older", "work", "work") == (
        "failed", {"up": good, "work": bad, "more": below, "down": good},
    )  # fmt: skip
    assert run(running, "older", "up", "up") == (
        "failed", {"up": bad, "work": below, "more": below, "down": below},
    )  # fmt: skip
    assert run(running, "older", "down", "down") == (
        "success", {"up": good, "work": good, "more": good, "down": bad},
    )  # fmt: skip
    assert run(running, "strict", "down", "down") == ("failed", {"up": good, "work": good, "down": bad})
    assert run(running, "stops", "first", "first") == (
        "success", {"up": good, "first": bad, "next": "skipped", "down": good},
    )  # fmt: skip


def test_a_file_of_the_newer_era_tears_down_after_a_failure(running: Standalone, dags: Path) -> None:
    dags.joinpath("newer.py").write_text(NEWER)
    running.wait_dag("newer")
    assert running.trigger("newer", "r1").status_code == 200
    assert running.api.wait_run("newer", "r1") == "failed"
    assert states(running, "newer", "r1") == {
        "cluster": "success", "work": "success", "work__1": "failed", "gone": "success",
    }  # fmt: skip
    path = "/dags/newer/dagRuns/r1/taskInstances/gone/xcomEntries/return_value"
    assert running.api.get(path)["value"] == "c1 is gone"
