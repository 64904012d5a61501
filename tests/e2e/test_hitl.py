"""Tasks that ask people, on the real binary: they hold no slot, outlive a kill, and go on with what is answered."""

from pathlib import Path
from typing import Any

from harness import Standalone, check_history, standalone, wait_until, write_dag

ASKS = """
from datetime import timedelta
from airflow.sdk import DAG, Param, task
from airflow.providers.standard.operators.hitl import ApprovalOperator, HITLBranchOperator, HITLEntryOperator

with DAG("asks", schedule=None):
    approve = ApprovalOperator(task_id="approve", subject="Ship {{ dag.dag_id }}?")

    @task
    def ship():
        return "shipped"

    approve >> ship()

with DAG("fields", schedule=None):
    entry = HITLEntryOperator(task_id="entry", subject="How many?", params={"n": Param(1, type="integer")})

    @task
    def read(answer):
        return answer["params_input"]["n"]

    read(entry.output)

with DAG("late", schedule=None):
    HITLBranchOperator(task_id="choose", subject="?", options=["left", "right"], defaults="right",
                       response_timeout=timedelta(seconds=1)) >> [
        task(task_id="left")(lambda: None)(), task(task_id="right")(lambda: None)()]
    ApprovalOperator(task_id="nobody", subject="?", response_timeout=timedelta(seconds=1))

with DAG("assigned", schedule=None):
    ApprovalOperator(task_id="ask", subject="?", assigned_users={"id": "7", "name": "somebody-else"})
"""


def of(dag: str, run: str, task: str) -> str:
    return f"/dags/{dag}/dagRuns/{run}/taskInstances/{task}/-1/hitlDetails"


def waits(dagbok: Standalone, dag: str, run: str, task: str) -> Any:
    def open_now() -> Any:
        found = dagbok.api.get(f"/dags/{dag}/dagRuns/{run}/hitlDetails", response_received="false")
        mine = [it for it in found["hitl_details"] if it["task_instance"]["task_id"] == task]
        return mine[0] if mine else None

    return wait_until(f"{task} asks", open_now)


def told(dagbok: Standalone) -> None:
    for dag in ("asks", "fields", "late", "assigned"):
        dagbok.wait_dag(dag)
    assert dagbok.trigger("asks", "r1").status_code == 200
    asked = waits(dagbok, "asks", "r1", "approve")
    assert (asked["subject"], asked["options"]) == ("Ship asks?", ["Approve", "Reject"])
    told = dagbok.cli.json("why", "asks", "r1", "approve")
    assert "it waits for an answer of somebody: Ship asks?" in told["message"], told
    assert [it["subject"] for it in dagbok.cli.json("hitl", "list")["hitl_details"]] == ["Ship asks?"]
    dagbok.process.kill()
    dagbok.start()
    path = of("asks", "r1", "approve")
    wrong = dagbok.api.patch(path, {"chosen_options": ["Maybe"]})
    assert wrong.status_code == 422, wrong.text
    assert "Invalid options" in wrong.text
    done = dagbok.api.patch(path, {"chosen_options": ["Approve"]})
    assert done.status_code == 200, done.text
    assert done.json()["chosen_options"] == ["Approve"]
    assert dagbok.api.wait_run("asks", "r1") == "success"
    assert dagbok.api.patch(path, {"chosen_options": ["Reject"]}).status_code == 409
    shown = dagbok.api.get(path)
    assert shown["response_received"]
    assert not shown["dagbok"]["is_open"]

    assert dagbok.trigger("asks", "r2").status_code == 200
    waits(dagbok, "asks", "r2", "approve")
    dagbok.cli.ok("hitl", "answer", "asks", "r2", "approve", "Reject")
    assert dagbok.api.wait_run("asks", "r2") == "success"
    tasks = dagbok.api.get("/dags/asks/dagRuns/r2/taskInstances")["task_instances"]
    assert {it["task_id"]: it["state"] for it in tasks} == {"approve": "success", "ship": "skipped"}

    assert dagbok.trigger("fields", "r1").status_code == 200
    waits(dagbok, "fields", "r1", "entry")
    odd = dagbok.api.patch(of("fields", "r1", "entry"), {"chosen_options": ["OK"], "params_input": {"n": "x"}})
    assert odd.status_code == 400, odd.text
    assert "param n" in odd.text
    dagbok.cli.ok("hitl", "answer", "fields", "r1", "entry", "OK", "--params", '{"n": 7}')
    assert dagbok.api.wait_run("fields", "r1") == "success"
    value = dagbok.api.get("/dags/fields/dagRuns/r1/taskInstances/read/xcomEntries/return_value")
    assert value["value"] == 7

    assert dagbok.trigger("late", "r1").status_code == 200
    assert dagbok.api.wait_run("late", "r1") == "failed"
    tasks = dagbok.api.get("/dags/late/dagRuns/r1/taskInstances")["task_instances"]
    states = {it["task_id"]: it["state"] for it in tasks}
    assert states == {"choose": "success", "left": "skipped", "right": "success", "nobody": "failed"}

    assert dagbok.trigger("assigned", "r1").status_code == 200
    waits(dagbok, "assigned", "r1", "ask")
    refused = dagbok.api.patch(of("assigned", "r1", "ask"), {"chosen_options": ["Approve"]})
    assert refused.status_code == 403, refused.text
    assert "somebody-else" in refused.text
    dagbok.cli.ok("runs", "cancel", "assigned", "r1")
    assert dagbok.api.wait_run("assigned", "r1") == "failed"
    assert dagbok.cli.json("hitl", "list")["hitl_details"] == []
    check_history(dagbok.api.events(), set())


def test_what_is_asked_is_answered_once_and_outlives_a_kill(tmp_path: Path) -> None:
    dags = tmp_path / "dags"
    write_dag(dags, "asks.py", ASKS)
    with standalone(tmp_path, dags) as dagbok:
        told(dagbok)
