"""Tasks that ask people, on the real binary: they hold no slot, outlive a kill, and go on with what is answered."""

import json
import os
import pty
import select
import subprocess
import sys
from pathlib import Path
from typing import Any

from harness import BIN, Cli, Standalone, check_history, standalone, wait_until, write_dag

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


DESK = """
from airflow.sdk import DAG, Param, task
from airflow.providers.standard.operators.hitl import ApprovalOperator, HITLEntryOperator, HITLOperator

with DAG("desk", schedule=None) as dag:
    approve = ApprovalOperator(
        task_id="approve", subject="Ship it?", assigned_users={"id": "7", "name": "somebody-else"})
    entry = HITLEntryOperator(task_id="entry", subject="How many?", params={"n": Param(1, type="integer")})
    colours = HITLOperator.partial(task_id="colours", options=["red", "blue"], multiple=True).expand(
        subject=["first", "second"])

    @task
    def read(answer, colours):
        return [answer["params_input"]["n"], [one["chosen_options"] for one in colours]]

    approve >> read(entry.output, colours.output)

if __name__ == "__main__":
    run = dag.test(answers={"approve": "Approve", "colours": ["red", "blue"]})
    print(run.state, run.unanswered)
"""
SAID = ("--answer", "approve=Approve", "--answer", "colours=red", "--answer", "colours[1]=blue")


def test_a_dag_that_asks_is_tried_with_answers_and_ends_without(tmp_path: Path) -> None:
    write_dag(tmp_path, "desk.py", DESK)
    file = str(tmp_path / "desk.py")
    kept = tmp_path / "kept"
    done = Cli().json("dags", "test", file, *SAID, "--fields", 'entry={"n": 4}', "--keep", str(kept))
    assert (done["state"], done["unanswered"]) == ("success", [])

    left = Cli().run("dags", "test", file, *SAID[2:], "--json")
    assert left.returncode != 0
    assert "'approve=Approve'" in left.stderr, left.stderr
    assert "its default OK counts" in left.stderr, left.stderr
    told = json.loads(left.stdout)
    assert told["unanswered"] == [{"task": "approve", "subject": "Ship it?", "options": ["Approve", "Reject"]}]
    states = {name: task["state"] for name, task in told["tasks"].items()}
    assert states["approve"] == "failed"
    assert states["entry"] == states["colours[0]"] == states["colours[1]"] == "success"
    assert states["read"] == "upstream_failed"

    odd = Cli().run("dags", "test", file, "--answer", "aprove=Approve")
    assert odd.returncode == 2
    assert "has no task `aprove`" in odd.stderr
    wrong = Cli().run("dags", "test", file, *SAID[2:], "--answer", "approve=Maybe")
    assert "task `approve` can't be answered so" in wrong.stderr
    assert wrong.returncode != 0


def test_what_is_refused_fails_its_task_and_what_nobody_asked_is_said(tmp_path: Path) -> None:
    write_dag(tmp_path, "desk.py", DESK)
    file = str(tmp_path / "desk.py")
    left = Cli().run("dags", "test", file, *SAID, "--fields", 'entry={"n": "many"}', "--answer", "read=OK", "--json")
    told = json.loads(left.stdout)
    states = {name: task["state"] for name, task in told["tasks"].items()}
    assert (states["entry"], states["approve"]) == ("failed", "success"), left.stderr
    assert [it["task"] for it in told["unanswered"]] == ["entry"]
    assert left.stderr.count("`entry` can't be answered so") == 1, left.stderr
    assert "`read` asked nothing" in left.stderr

    one = Cli().run(
        "dags", "test", file, *SAID[:2], "--answer", "colours[0]=green", "--answer", "colours=blue", "--json"
    )
    states = {name: task["state"] for name, task in json.loads(one.stdout)["tasks"].items()}
    assert (states["colours[0]"], states["colours[1]"]) == ("failed", "success"), one.stderr

    odd = Cli().run("dags", "test", file, "--fields", "entry=7")
    assert odd.returncode != 0
    assert "--fields entry=" in odd.stderr, odd.stderr


def test_dag_test_takes_answers_too(tmp_path: Path) -> None:
    write_dag(tmp_path, "desk.py", DESK)
    env = {**os.environ, "DAGBOK_BIN": str(BIN)}
    command = [sys.executable, "-m", "dagbok", str(tmp_path / "desk.py")]
    done = subprocess.run(
        command, capture_output=True, text=True, env=env, stdin=subprocess.DEVNULL, timeout=120, check=False
    )
    assert done.stdout == "success {}\n", done.stderr


def test_whoever_is_at_the_terminal_is_asked(tmp_path: Path) -> None:
    write_dag(tmp_path, "desk.py", DESK)
    ours, theirs = pty.openpty()
    command = [str(BIN), "dags", "test", str(tmp_path / "desk.py"), *SAID[2:], "--json"]
    with subprocess.Popen(command, stdin=theirs, stdout=subprocess.PIPE, stderr=theirs, text=True) as process:
        os.close(theirs)
        seen = ""

        def until(*words: str) -> str:
            nonlocal seen
            while not any(word in seen for word in words):
                assert select.select([ours], [], [], 60)[0], f"nobody said {words}: {seen}"
                seen += os.read(ours, 4096).decode()
            (word,) = [word for word in words if word in seen]
            seen = seen.split(word, 1)[1]
            return word

        for _ in range(2):
            if until("approve asks: Ship it?", "entry asks: How many?").startswith("approve"):
                until("Which?")
                os.write(ours, b"3\n")
                until("no `3`")
                until("Which?")
                os.write(ours, b"1\n")
            else:
                until("Which? [OK]")
                os.write(ours, b"\n")
                until("n [1]:")
                os.write(ours, b"5\n")
        told = json.loads(process.communicate(timeout=120)[0])
    os.close(ours)
    assert told["state"] == "success", told
