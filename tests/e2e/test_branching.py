"""Branches, short circuits and LatestOnly by the real binary, from files of both eras."""

from pathlib import Path
from typing import Any

from harness import Standalone

OLDER = """
from datetime import datetime
from airflow import DAG
from airflow.operators.dummy import DummyOperator
from airflow.operators.latest_only import LatestOnlyOperator
from airflow.operators.python import BranchPythonOperator, PythonOperator, ShortCircuitOperator
from airflow.utils.task_group import TaskGroup
from airflow.utils.trigger_rule import TriggerRule

def choose(dag_run, **_):
    return dag_run.conf.get("way", "small")

with DAG("older", schedule_interval=None, start_date=datetime(2024, 1, 1)) as dag:
    branch = BranchPythonOperator(task_id="branch", python_callable=choose)
    small = DummyOperator(task_id="small")
    with TaskGroup("large") as large:
        DummyOperator(task_id="one") >> DummyOperator(task_id="two")
    join = DummyOperator(task_id="join", trigger_rule=TriggerRule.NONE_FAILED_MIN_ONE_SUCCESS)
    branch >> [small, large] >> join
    check = ShortCircuitOperator(task_id="check", python_callable=lambda dag_run: dag_run.conf.get("go"))
    told = DummyOperator(task_id="told", trigger_rule="all_done")
    join >> check >> DummyOperator(task_id="next") >> told
    near = ShortCircuitOperator(
        task_id="near", python_callable=lambda: False, ignore_downstream_trigger_rules=False)
    near >> DummyOperator(task_id="skipped") >> DummyOperator(task_id="after", trigger_rule="all_done")
    LatestOnlyOperator(task_id="latest") >> DummyOperator(task_id="newest")

with DAG("hourly", schedule_interval="@hourly", start_date=datetime(2024, 1, 1), catchup=True,
         end_date=datetime(2024, 1, 1, 1), is_paused_upon_creation=False) as hourly:
    LatestOnlyOperator(task_id="latest") >> DummyOperator(task_id="newest")
"""

NEWER = """
from airflow.sdk import dag, task

@dag(schedule=None)
def newer():
    @task.branch
    def branch(dag_run=None):
        return dag_run.conf["way"]

    @task
    def left():
        return "left"

    @task
    def right():
        return "right"

    @task(trigger_rule="none_failed_min_one_success")
    def join(ti=None):
        return [ti.xcom_pull("left"), ti.xcom_pull("right")]

    @task.short_circuit
    def check(values):
        return "right" in values

    @task
    def last():
        return "last"

    joined = join()
    branch() >> [left(), right()] >> joined
    check(joined) >> last()
newer()
"""


def states(it: Standalone, dag_id: str, run_id: str) -> dict[str, Any]:
    """The state of each task of a run."""
    found = it.api.get(f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances", limit=100)["task_instances"]
    return {one["task_id"]: one["state"] for one in found}


def run(it: Standalone, dag_id: str, run_id: str, conf: dict[str, Any]) -> dict[str, Any]:
    """Run a DAG to its end, which is a success; the state of each task."""
    assert it.trigger(dag_id, run_id, conf=conf).status_code == 200
    assert it.api.wait_run(dag_id, run_id) == "success", states(it, dag_id, run_id)
    return states(it, dag_id, run_id)


def of(found: dict[str, Any], state: str) -> set[str]:
    """The tasks in a state."""
    return {name for name, one in found.items() if one == state}


def test_a_file_of_the_older_era_branches_as_it_is(running: Standalone, dags: Path) -> None:
    dags.joinpath("older.py").write_text(OLDER)
    running.wait_dag("older")
    found = run(running, "older", "small", {"go": 0})
    assert of(found, "skipped") == {"large.one", "large.two", "next", "told", "skipped"}
    assert of(found, "success") == set(found) - of(found, "skipped")
    found = run(running, "older", "large", {"way": "large", "go": 1})
    assert of(found, "skipped") == {"small", "skipped"}
    assert running.trigger("older", "nowhere", conf={"way": "nowhere"}).status_code == 200
    # A success all the same, as in Airflow: of its leaves the one that runs whatever happened did so.
    assert running.api.wait_run("older", "nowhere") == "success"
    found = states(running, "older", "nowhere")
    assert (found["branch"], found["join"], found["told"]) == ("failed", "upstream_failed", "success")
    log = running.cli.ok("tasks", "logs", "older", "nowhere", "branch")
    assert "'branch_task_ids' must contain only valid task_ids. Invalid tasks found: {'nowhere'}." in log
    # Runs that the schedule makes up for are not the latest.
    running.wait_dag("hourly")
    for hour in ("00", "01"):
        run_id = f"scheduled__2024-01-01T{hour}:00:00+00:00"
        assert running.api.wait_run("hourly", run_id) == "success"
        assert states(running, "hourly", run_id) == {"latest": "success", "newest": "skipped"}


def test_a_file_of_the_newer_era_branches_and_what_was_skipped_stays_so(running: Standalone, dags: Path) -> None:
    dags.joinpath("newer.py").write_text(NEWER)
    running.wait_dag("newer")
    found = run(running, "newer", "r1", {"way": "right"})
    assert of(found, "skipped") == {"left"}
    found = run(running, "newer", "r2", {"way": ["left"]})
    assert of(found, "skipped") == {"right", "last"}
    # What a branch decided against is skipped again when it is cleared; a branch decides anew.
    running.cli.ok("runs", "clear", "newer", "r2", "--task", "right", "--yes")
    assert running.api.wait_run("newer", "r2") == "success"
    assert of(states(running, "newer", "r2"), "skipped") == {"right", "last"}
