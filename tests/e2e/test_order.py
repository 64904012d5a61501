"""Limits, order, retries and odd schedules from the file to what ran, a small DAG each: what runs at once, what goes
first where there is room for one, what a failure leads to, and what `@once` and `@continuous` make."""

from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

from harness import Standalone, standalone, wait_until, write_dag

from test_branching import states

# A first task holds the pool's one slot until all of the others wait for it.
WEIGHTS = """
import time
from datetime import datetime
from airflow import DAG
from airflow.operators.empty import EmptyOperator
from airflow.operators.python import PythonOperator
from airflow.task.priority_strategy import PriorityWeightStrategy

class ByName(PriorityWeightStrategy):
    def get_weight(self, ti):
        return {"a": 1, "b": 9, "c": 5}[ti.task_id]

def made(dag_id, rule, weights, below=()):
    how = {"pool": "narrow", "weight_rule": rule}
    with DAG(dag_id, schedule_interval=None, start_date=datetime(2024, 1, 1)):
        tasks = {name: PythonOperator(task_id=name, python_callable=lambda: None, priority_weight=weight, **how)
                 for name, weight in weights.items()}
        for name in below:
            tasks[name] >> EmptyOperator(task_id=f"below_{name}", priority_weight=7)

made("absolute", "absolute", {"a": 1, "b": 2, "c": 3}, below="a")
made("downstream", "downstream", {"a": 1, "b": 2, "c": 3}, below="a")
made("by_name", ByName(), {"a": 3, "b": 1, "c": 2})

with DAG("holds", schedule_interval=None, start_date=datetime(2024, 1, 1)):
    PythonOperator(task_id="hold", pool="narrow", python_callable=lambda: time.sleep(600))
"""
LIMITS = """
import time
from datetime import datetime
from airflow import DAG
from airflow.operators.python import PythonOperator

def made(dag_id, tasks, **how):
    with DAG(dag_id, schedule_interval=None, start_date=datetime(2024, 1, 1), **how):
        for n in range(tasks):
            PythonOperator(task_id=f"t{n}", python_callable=lambda: time.sleep(0.3))

made("few_tasks", 5, max_active_tasks=2)
made("few_runs", 2, max_active_runs=1)
made("free", 6)
"""
FAILURES = """
from datetime import datetime, timedelta
from airflow.sdk import DAG, task
from airflow.sdk.exceptions import AirflowFailException

with DAG("at_once", schedule=None):
    @task(retries=5, retry_delay=timedelta(0))
    def at_once():
        raise AirflowFailException("no use")
    at_once()

with DAG("ever_longer", schedule=None):
    waits = dict(retry_delay=timedelta(seconds=0.4), max_retry_delay=timedelta(seconds=1))
    @task(retries=3, retry_exponential_backoff=2.0, **waits)
    def waits_longer():
        raise ValueError("no")
    waits_longer()

with DAG("fast", schedule=None, fail_fast=True):
    @task
    def breaks():
        raise ValueError("no")
    @task.bash
    def goes_on():
        return "sleep 600"
    breaks(), goes_on()

with DAG("too_long", schedule=None):
    @task(execution_timeout=timedelta(seconds=0.5))
    def too_long():
        import time
        time.sleep(600)
    too_long()
"""
SCHEDULES = """
from datetime import datetime
from airflow.sdk import DAG, task

def made(dag_id, **how):
    with DAG(dag_id, start_date=datetime(2024, 1, 1), **how):
        @task
        def it():
            return 1
        it()

made("one", schedule="@once")
made("on_and_on", schedule="@continuous", max_active_runs=1)
"""


def tasks_of(it: Standalone, dag_id: str) -> list[dict[str, Any]]:
    """The task instances of all of a DAG's runs, by their starts."""
    found: list[dict[str, Any]] = it.api.get(f"/dags/{dag_id}/dagRuns/~/taskInstances", limit=100)["task_instances"]
    return sorted((one for one in found if one["start_date"]), key=lambda one: str(one["start_date"]))


def most_at_once(tasks: list[dict[str, Any]]) -> int:
    """How many of them ran at the same time, at most."""
    moments = [(one["start_date"], 1) for one in tasks] + [(one["end_date"], -1) for one in tasks]
    now = most = 0
    for _, step in sorted(moments):
        now += step
        most = max(most, now)
    return most


def test_what_weighs_more_goes_first(running: Standalone, dags: Path) -> None:
    running.cli.ok("pools", "set", "narrow", "1")
    write_dag(dags, "weights.py", WEIGHTS)
    orders = {"absolute": ["c", "b", "a"], "downstream": ["a", "c", "b"], "by_name": ["b", "c", "a"]}
    for dag_id in (*orders, "holds"):
        running.wait_dag(dag_id)
    for dag_id, order in orders.items():
        assert running.trigger("holds", f"for_{dag_id}").status_code == 200
        wait_until("the slot is held", lambda of=dag_id: states(running, "holds", f"for_{of}").get("hold") == "running")
        assert running.trigger(dag_id, "r1").status_code == 200
        wait_until("it waits", lambda of=dag_id: running.api.state(of, "r1") == "running")
        running.cli.ok("runs", "cancel", "holds", f"for_{dag_id}")
        assert running.api.wait_run(dag_id, "r1") == "success"
        went = [one["task_id"] for one in tasks_of(running, dag_id) if one["pool"] == "narrow"]
        assert went == order, dag_id


def test_no_more_runs_at_once_than_limits_let(tmp_path: Path, dags: Path) -> None:
    write_dag(dags, "limits.py", LIMITS)
    with standalone(tmp_path, dags, env={"DAGBOK__SCHEDULER__PARALLELISM": "3"}) as running:
        runs = {"few_tasks": ["r1"], "few_runs": ["r1", "r2", "r3"], "free": ["r1"]}
        for dag_id, run_ids in runs.items():
            running.wait_dag(dag_id)
            for run_id in run_ids:
                assert running.trigger(dag_id, run_id).status_code == 200
        for dag_id, run_ids in runs.items():
            for run_id in run_ids:
                assert running.api.wait_run(dag_id, run_id) == "success"
        found = {dag_id: tasks_of(running, dag_id) for dag_id in runs}
        assert most_at_once(found["few_tasks"]) == 2
        # One run after the other, as they were triggered.
        spans = running.api.get("/dags/few_runs/dagRuns", order_by="start_date")["dag_runs"]
        assert [run["dag_run_id"] for run in spans] == runs["few_runs"]
        assert all(first["end_date"] <= then["start_date"] for first, then in pairwise(spans))
        assert most_at_once([one for tasks in found.values() for one in tasks]) == 3


def test_failures_lead_to_what_the_file_says(running: Standalone, dags: Path) -> None:
    write_dag(dags, "failures.py", FAILURES)
    for dag_id in ("at_once", "ever_longer", "fast", "too_long"):
        running.wait_dag(dag_id)
        assert running.trigger(dag_id, "r1").status_code == 200
    assert running.api.wait_run("at_once", "r1") == "failed"
    (only,) = tasks_of(running, "at_once")
    assert (only["try_number"], only["state"]) == (1, "failed")
    assert running.api.wait_run("ever_longer", "r1") == "failed"
    path = "/dags/ever_longer/dagRuns/r1/taskInstances/waits_longer/tries"
    tries = running.api.get(path)["task_instances"]
    at = [(datetime.fromisoformat(one["end_date"]), datetime.fromisoformat(one["start_date"])) for one in tries]
    waits = [(then[1] - first[0]).total_seconds() for first, then in pairwise(at)]
    # Each is twice the one before and up to as much again, and none is longer than the longest.
    assert len(waits) == 3
    assert waits[0] >= 0.4
    assert all(0.4 <= wait < 3 for wait in waits), waits
    assert waits[2] >= 1
    assert running.api.wait_run("fast", "r1") == "failed"
    ended = states(running, "fast", "r1")
    assert (ended["breaks"], ended["goes_on"] in ("failed", "skipped")) == ("failed", True), ended
    assert running.api.wait_run("too_long", "r1") == "failed"
    (slow,) = tasks_of(running, "too_long")
    assert slow["dagbok"]["failure"]["kind"] == "timeout"


def test_once_and_on_and_on(running: Standalone, dags: Path) -> None:
    write_dag(dags, "schedules.py", SCHEDULES)

    def runs(dag_id: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = running.api.get(f"/dags/{dag_id}/dagRuns", order_by="id")["dag_runs"]
        return [run for run in found if run["state"] == "success"]

    several = wait_until("one run after the other", lambda: (found := runs("on_and_on"))[4:] and found)
    running.cli.ok("dags", "pause", "on_and_on")
    assert all(first["end_date"] <= then["start_date"] for first, then in pairwise(several))
    assert {run["run_type"] for run in several} == {"scheduled"}
    (once,) = wait_until("the one run", lambda: runs("one"))
    assert once["run_type"] == "scheduled"
    assert running.api.get("/dags/one/dagRuns")["total_entries"] == 1
    assert running.api.get("/dagbok/dags/one/expectedRuns", limit=5)["expected_runs"] == []
