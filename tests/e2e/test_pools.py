"""Pools by every way in: the command line, Airflow's API, a file; and what tasks say that wait for their slots."""

import json
from pathlib import Path

import httpx
import pytest
from harness import Standalone, wait_until, write_dag

OLD = """
from datetime import datetime
from airflow import DAG
from airflow.operators.bash import BashOperator

with DAG("{dag_id}", schedule_interval=None, start_date=datetime(2024, 1, 1), is_paused_upon_creation=False):
    BashOperator(task_id="work", bash_command="true", pool="{pool}", pool_slots={slots})
"""
NEW = """
from airflow.sdk import dag, task


@dag("{dag_id}", schedule=None, is_paused_upon_creation=False)
def made():
    @task(pool="{pool}", pool_slots={slots})
    def work():
        return 1

    work()


made()
"""


def why(running: Standalone, dag_id: str) -> str:
    """What keeps the task, as people are told."""
    (reason,) = running.cli.json("tasks", "why", dag_id, "r1", "work")["is"]["reasons"]
    return str(reason["message"])


@pytest.mark.parametrize(("era", "text"), [("old", OLD), ("new", NEW)])
def test_a_task_waits_for_its_pool_and_says_so(running: Standalone, dags: Path, era: str, text: str) -> None:
    write_dag(dags, f"{era}.py", text.format(dag_id=era, pool="gpu", slots=3))
    running.wait_dag(era)
    assert running.trigger(era, "r1").status_code == 200
    wait_until("the run's start", lambda: running.api.state(era, "r1") == "running")
    assert why(running, era) == "there is no pool gpu; `dagbok pools set` makes one"
    running.cli.ok("pools", "set", "gpu", "2", "for models")
    assert why(running, era) == "it needs 3 slots of the pool gpu, which has 2 in all"
    (reason,) = running.cli.json("why", era, "r1", "work")["is"]["reasons"]
    assert reason["kind"] == "pool_too_small"
    shown = running.cli.json("pools", "set", "gpu", "-1")
    assert (shown["slots"], shown["open_slots"], shown["description"]) == (-1, -1, None)
    assert running.api.wait_run(era, "r1") == "success"
    assert running.cli.json("pools", "get", "gpu")["occupied_slots"] == 0


def test_pools_go_by_the_command_line_the_api_and_a_file(running: Standalone, tmp_path: Path) -> None:
    file = tmp_path / "pools.json"
    told = {"etl": {"slots": 5, "description": "", "include_deferred": True}, "ml": {"slots": -1, "description": "x"}}
    file.write_text(json.dumps(told))
    assert running.cli.json("pools", "import", str(file)) == {"pools": ["etl", "ml"]}
    listed = running.cli.json("pools", "list")
    assert {it["name"]: (it["slots"], it["include_deferred"]) for it in listed["pools"]} == {
        "default_pool": (128, False),
        "etl": (5, True),
        "ml": (-1, False),
    }
    assert "unlimited" in running.cli.ok("pools", "list")
    written = tmp_path / "out.json"
    running.cli.ok("pools", "export", str(written))
    assert json.loads(written.read_text())["etl"] == {"slots": 5, "description": None, "include_deferred": True}
    assert running.api.post("/pools", {"name": "etl", "slots": 1}).status_code == 409
    assert running.api.patch("/pools/etl", {"slots": 9}).json()["slots"] == 9
    running.cli.ok("pools", "delete", "etl")
    gone = httpx.delete(f"{running.api.url}/api/v2/pools/etl", timeout=30.0)
    assert gone.status_code == 404, gone.text
    assert running.cli.run("pools", "get", "etl").returncode != 0


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("set", "a/b", "1"), "can't have a `/`"),
        (("set", "gpu", "-2"), "slots must be -1, for no limit"),
        (("set", "gpu", "many"), "invalid value 'many'"),
        (("delete", "default_pool"), "can't be deleted"),
        (("delete", "nope"), "there is no pool"),
        (("import", "/nowhere.json"), "No such file"),
    ],
)
def test_what_can_not_be_is_said(running: Standalone, args: tuple[str, ...], said: str) -> None:
    done = running.cli.run("pools", *args)
    assert done.returncode != 0
    assert said in done.stderr, done.stderr


def test_a_task_without_slots_is_an_import_error(running: Standalone, dags: Path) -> None:
    write_dag(dags, "none.py", NEW.format(dag_id="none", pool="gpu", slots=0))

    def refused() -> str | None:
        errors = running.api.get("/importErrors")["import_errors"]
        return next((error["stack_trace"] for error in errors), None)

    assert "pool_slots must be a whole number from 1 up, not 0" in wait_until("the refusal", refused)


CAPPED = """
import os, time
from datetime import datetime
from airflow.decorators import dag, task


@dag(schedule=None, start_date=datetime(2024, 1, 1), catchup=False, is_paused_upon_creation=False)
def capped():
    @task(max_active_tis_per_dag=1)
    def work():
        while not os.path.exists(os.environ["WITNESS"]):
            time.sleep(0.05)

    work()


capped()
"""


def test_a_task_keeps_to_its_own_limit_over_all_runs(running: Standalone, dags: Path, tmp_path: Path) -> None:
    write_dag(dags, "capped.py", CAPPED)
    running.wait_dag("capped")
    for run in ("r1", "r2"):
        assert running.trigger("capped", run).status_code == 200

    def state(run: str) -> str | None:
        (task,) = running.api.get(f"/dags/capped/dagRuns/{run}/taskInstances")["task_instances"]
        return str(task["state"])

    wait_until("the first", lambda: state("r1") == "running")
    wait_until("the second's run", lambda: running.api.state("capped", "r2") == "running")
    said = running.cli.ok("why", "capped", "r2", "work")
    assert "1 tries of the task run or are queued (max_active_tis_per_dag), held by work of capped/r1" in said
    (tmp_path / "witness").touch()
    assert [running.api.wait_run("capped", run) for run in ("r1", "r2")] == ["success", "success"]
