"""Callbacks of DAGs and of tasks, by the real binary: called, kept, shown, told of where they fail."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from alert_scenes import Start, of_rule
from apart import Apart
from harness import Cli, Standalone, standalone, wait_until, write_dag

CALLED = """
import os
from datetime import datetime, timedelta
from airflow import DAG
from airflow.operators.bash import BashOperator
from airflow.operators.python import PythonOperator


def tell(context):
    ti, run = context["ti"], context["dag_run"]
    words = [context["reason"], run.run_id, run.state, ti.task_id, ti.state, context["params"]["who"]]
    words.append(ti.xcom_pull(task_ids="first"))
    print("told", *words)
    with open(os.environ["WITNESS"], "a") as out:
        print(*words, file=out)


def broken(context):
    raise ValueError("the pager is out of order")


def first():
    return "handed on"


with DAG("told", schedule=None, start_date=datetime(2024, 1, 1), params={"who": "me"},
         on_success_callback=tell, on_failure_callback=[broken, tell]):
    PythonOperator(task_id="first", python_callable=first) >> BashOperator(
        task_id="last", bash_command="exit {{ dag_run.conf.get('code', 0) }}")

with DAG("late", schedule=None, start_date=datetime(2024, 1, 1), dagrun_timeout=timedelta(seconds=1),
         params={"who": "you"}, on_failure_callback=tell):
    BashOperator(task_id="first", bash_command="sleep 600")
"""
TASKS = """
import os, time
from datetime import datetime
from airflow import DAG
from airflow.operators.python import PythonOperator


def broken(context):
    raise ValueError("no such channel")


def dies(context):
    os._exit(4)


with DAG("tasks", schedule=None, start_date=datetime(2024, 1, 1)):
    PythonOperator(task_id="good", python_callable=len, op_args=[""], on_success_callback=broken)
    PythonOperator(task_id="dies", python_callable=len, op_args=[""], on_success_callback=dies)
"""
SLOW = """
import os, time
from datetime import datetime
from airflow import DAG
from airflow.operators.bash import BashOperator


def slow(context):
    with open(os.environ["WITNESS"], "a") as out:
        print("begun", os.getpid(), file=out)
    while not os.path.exists(os.environ["WITNESS"] + ".go"):
        time.sleep(0.05)


with DAG("slow", schedule=None, start_date=datetime(2024, 1, 1), on_success_callback=slow):
    BashOperator(task_id="t", bash_command="true")
"""


def facts(it: Any, kind: str) -> list[dict[str, Any]]:
    """All facts of one kind on the log."""
    return [fact for record in it.events() for fact in record["facts"] if fact["type"] == kind]


def calls(it: Standalone, dag_id: str, run_id: str, state: str) -> list[dict[str, Any]]:
    """The calls of a run's callbacks, once the last is in this state."""

    def there() -> list[dict[str, Any]] | None:
        found: list[dict[str, Any]] = it.api.get(f"/dagbok/callbacks/{dag_id}/{run_id}")["callbacks"]
        return found if found and found[-1]["state"] == state else None

    return wait_until(f"a callback that is {state}", there)


def test_a_dags_callbacks_are_called_kept_and_shown(start: Start, dags: Path, tmp_path: Path) -> None:
    write_dag(dags, "called.py", CALLED)
    it = start("")
    it.wait_dag("told")
    it.trigger("told", "good")
    (called,) = calls(it, "told", "good", "success")
    assert (called["callback"], called["reason"], called["task_id"]) == ("on_success_callback", "success", "last")
    witness = tmp_path / "witness"
    assert witness.read_text() == "success good success last success me handed on\n"
    log = it.cli.ok("runs", "callbacks", "told", "good", "--log")
    assert "calling on_success_callback of the DAG: tell" in log
    assert "told success good" in log

    it.trigger("told", "bad", conf={"code": 3})
    (called,) = calls(it, "told", "bad", "failed")
    # One that raises keeps the others from nothing.
    assert witness.read_text().splitlines()[1] == "task_failure bad failed last failed me handed on"
    assert "broken raised ValueError: the pager is out of order" in called["failure"]["message"]
    shown = it.cli.ok("runs", "callbacks", "told", "bad")
    assert "on_failure_callback" in shown
    assert "the pager is out of order" in shown
    assert "called        on_failure_callback failed" in it.cli.ok("runs", "show", "told", "bad")
    (alert,) = wait_until("an alert", lambda: of_rule(it, "callback_failed"))
    assert (alert["state"], alert["labels"]["callback_of"]) == ("firing", "dag")
    # What works again is no trouble any more.
    it.trigger("told", "again")
    calls(it, "told", "again", "success")
    wait_until("its end", lambda: of_rule(it, "callback_failed")[0]["state"] == "resolved")

    it.trigger("late", "slow")
    (called,) = calls(it, "late", "slow", "success")
    assert called["reason"] == "timed_out"
    # Who says how a run ends is not told of it.
    it.trigger("late", "stopped")
    it.cli.ok("runs", "cancel", "late", "stopped")
    assert it.cli.json("runs", "callbacks", "late", "stopped") == {"callbacks": []}


def test_dags_test_waits_for_the_callback(dags: Path, tmp_path: Path) -> None:
    file = write_dag(dags, "called.py", CALLED)
    env = {"WITNESS": str(tmp_path / "witness")}
    cli = Cli(env=env)
    done = cli.run("dags", "test", str(file), "--dag", "told")
    assert done.returncode == 0, done.stderr
    assert "callback of the DAG | told success" in done.stdout
    done = cli.run("dags", "test", str(file), "--dag", "told", "--conf", '{"code": 1}', "--json")
    assert '"callback":{"state":"failed"' in done.stdout.replace(" ", "").replace("\n", "")
    assert "the DAG's callback failed: on_failure_callback failed (1 of 2)" in done.stderr


def test_callbacks_of_tasks_that_fail_are_facts(running: Standalone, dags: Path) -> None:
    write_dag(dags, "tasks.py", TASKS)
    running.wait_dag("tasks")
    running.trigger("tasks", "r1")
    assert running.api.wait_run("tasks", "r1") == "success", "what a callback does changes nothing of the try"
    told = {fact["task_id"]: fact for fact in facts(running.api, "TaskCallbackFailed")}
    assert told["good"]["message"] == "broken raised ValueError: no such channel"
    assert "ended before its end" in told["dies"]["message"]
    assert {fact["callback"] for fact in told.values()} == {"on_success_callback"}
    (one,) = running.api.get("/dags/tasks/dagRuns/r1/taskInstances/good")["dagbok"]["failed_callbacks"]
    assert one["callback"] == "on_success_callback"


def test_a_callback_whose_executor_is_killed_is_called_again(tmp_path: Path, dags: Path) -> None:
    write_dag(dags, "slow.py", SLOW)
    witness = tmp_path / "witness"

    def begun() -> int:
        return len(witness.read_text().splitlines()) if witness.exists() else 0

    env = {"WITNESS": str(witness)}
    with standalone(tmp_path, dags, env=env) as it:
        it.wait_dag("slow")
        it.trigger("slow", "r1")
        wait_until("the first call", lambda: begun() == 1)
        it.process.kill()
        it.start()
        wait_until("another call", lambda: begun() == 2)
        Path(f"{witness}.go").touch()
        (called,) = calls(it, "slow", "r1", "success")
        assert called["attempts"] == 2
        assert len(facts(it.api, "DagCallbackLost")) == 1


def test_a_callback_goes_on_elsewhere_where_its_executor_dies(tmp_path: Path) -> None:
    with Apart(tmp_path) as apart:
        write_dag(apart.dags, "slow.py", SLOW)
        wait_until("the DAG", lambda: apart.api.get("/dags/slow"))
        apart.api.post("/dags/slow/dagRuns", {"dag_run_id": "r1", "logical_date": None}).raise_for_status()
        wait_until("the first call", lambda: facts(apart.api, "DagCallbackStarted"))
        apart.services["executor-9"] = apart.service("executor-9", apart.env).start()
        apart.services["executor-0"].kill()
        wait_until("another call", lambda: len(facts(apart.api, "DagCallbackStarted")) == 2)
        Path(f"{tmp_path / 'witness'}.go").touch()
        wait_until("its end", lambda: facts(apart.api, "DagCallbackSucceeded"))
        (lost,) = facts(apart.api, "DagCallbackLost")
        assert lost["begun"]
