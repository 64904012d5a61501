"""What comes after failures and ends, by the real binary: DAGs that are paused by them, teardowns of runs that were
cancelled or timed out, tries that nobody begins, retry policies; and limits and pools from `dagbok.toml`."""

from pathlib import Path
from typing import Any

from harness import Standalone, standalone, wait_until, write_dag

from test_branching import states

FAILS = """
from datetime import datetime
from airflow import DAG
from airflow.operators.bash import BashOperator

for dag_id, most in [("three", 2), ("free", 0)]:
    with DAG(dag_id, schedule_interval=None, start_date=datetime(2024, 1, 1), max_consecutive_failed_dag_runs=most):
        BashOperator(task_id="bad", bash_command="exit 1")
"""
TEARS_DOWN = """
from datetime import datetime, timedelta
from airflow import DAG
from airflow.operators.bash import BashOperator

def made(dag_id, seconds):
    with DAG(dag_id, schedule_interval=None, start_date=datetime(2024, 1, 1),
             dagrun_timeout=timedelta(seconds=seconds)):
        up = BashOperator(task_id="up", bash_command="true").as_setup()
        down = BashOperator(task_id="down", bash_command="sleep 1; echo gone").as_teardown(setups=up)
        up >> BashOperator(task_id="work", bash_command="sleep 600") >> down

made("stopped", 600)
made("late", 3)
"""
POLICY = """
from datetime import timedelta
from airflow.sdk import DAG, ExceptionRetryPolicy, RetryAction, RetryRule, task

policy = ExceptionRetryPolicy([
    RetryRule(exception=ConnectionError, retry_delay=timedelta(milliseconds=100), reason="busy"),
    RetryRule(exception=KeyError, action=RetryAction.FAIL, reason="no use"),
])
with DAG("policy", schedule=None):
    @task(retries=1, retry_delay=timedelta(hours=1), retry_policy=policy)
    def busy(**context):
        if context["ti"].try_number == 1:
            raise ConnectionRefusedError("busy")
    @task(retries=5, retry_policy=policy)
    def wrong():
        raise KeyError("k")
    busy(), wrong()
"""
ELSEWHERE = """
from datetime import datetime
from airflow import DAG
from airflow.operators.bash import BashOperator

with DAG("elsewhere", schedule_interval=None, start_date=datetime(2024, 1, 1)):
    BashOperator(task_id="a", bash_command="true", queue="nobody")
"""


def shown(it: Standalone, dag_id: str, run_id: str, task_id: str) -> dict[str, Any]:
    found: dict[str, Any] = it.api.get(f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}")
    return found


def test_a_dag_is_paused_by_its_failed_runs_and_says_so(running: Standalone, dags: Path) -> None:
    write_dag(dags, "fails.py", FAILS)
    for dag_id in ("three", "free"):
        running.wait_dag(dag_id)
        for run_id in ("r1", "r2"):
            assert running.trigger(dag_id, run_id).status_code == 200
            assert running.api.wait_run(dag_id, run_id) == "failed"
    dag = wait_until("the pause", lambda: running.api.get("/dags/three"), 30)
    wait_until("the pause", lambda: running.api.get("/dags/three")["is_paused"])
    dag = running.api.get("/dags/three")
    assert dag["max_consecutive_failed_dag_runs"] == 2
    assert (dag["dagbok"]["paused"]["by"], dag["dagbok"]["paused"]["failed_runs"]) == ("scheduler", ["r2", "r1"])
    assert "the newest 2 runs failed: r2, r1" in dag["dagbok"]["paused"]["reason"]
    assert running.api.get("/dags/free")["is_paused"] is False
    assert "paused: 2 failed runs" in running.cli.ok("dags", "list")
    assert "the newest 2 runs failed" in running.cli.ok("dags", "show", "three")
    running.cli.ok("dags", "unpause", "three")
    dag = running.api.get("/dags/three")
    assert (dag["is_paused"], dag["dagbok"]["paused"]) == (False, None)


def test_runs_that_are_ended_tear_down_what_was_set_up(running: Standalone, dags: Path) -> None:
    write_dag(dags, "tears.py", TEARS_DOWN)
    for dag_id in ("stopped", "late"):
        running.wait_dag(dag_id)
        assert running.trigger(dag_id, "r1").status_code == 200
    wait_until("the work", lambda: states(running, "stopped", "r1").get("work") == "running")
    said = running.cli.ok("runs", "cancel", "stopped", "r1", "--reason", "enough")
    assert "its teardowns still run" in said
    assert running.api.wait_run("stopped", "r1") == "failed"
    good = {"up": "success", "down": "success"}
    assert states(running, "stopped", "r1") == {**good, "work": "failed"}
    assert running.api.wait_run("late", "r1") == "failed"
    assert states(running, "late", "r1") == {**good, "work": "skipped"}
    run = running.api.get("/dags/stopped/dagRuns/r1")["dagbok"]
    assert (run["ended"], run["reason"]) == ("cancelled", "enough")
    assert running.api.get("/dags/late/dagRuns/r1")["dagbok"]["ended"] == "timed_out"
    assert "gone" in running.cli.ok("tasks", "logs", "stopped", "r1", "down")


def test_retry_policies_decide_by_the_exception(running: Standalone, dags: Path) -> None:
    write_dag(dags, "policy.py", POLICY)
    running.wait_dag("policy")
    assert running.trigger("policy", "r1").status_code == 200
    assert running.api.wait_run("policy", "r1") == "failed"
    assert states(running, "policy", "r1") == {"busy": "success", "wrong": "failed"}
    first = running.api.get("/dags/policy/dagRuns/r1/taskInstances/busy/tries/1")["dagbok"]["failure"]
    assert (first["retry_delay"], first["retry_reason"]) == (0.1, "busy")
    wrong = shown(running, "policy", "r1", "wrong")
    assert (wrong["try_number"], wrong["dagbok"]["failure"]["retryable"]) == (1, False)
    assert wrong["dagbok"]["failure"]["retry_reason"] == "no use"


def test_limits_and_pools_of_the_configuration_hold_at_every_start(tmp_path: Path, dags: Path) -> None:
    write_dag(dags, "elsewhere.py", ELSEWHERE)
    write_dag(dags, "fails.py", FAILS)
    env = {
        "DAGBOK__SCHEDULER__TASK_QUEUED_TIMEOUT": "2s",
        "DAGBOK__SCHEDULER__PARALLELISM": "7",
        "DAGBOK__SCHEDULER__MAX_CONSECUTIVE_FAILED_DAG_RUNS_PER_DAG": "1",
    }
    home = tmp_path / "home"
    home.mkdir()
    home.joinpath("dagbok.toml").write_text("[pools.gpu]\nslots = 3\ndescription = 'cards'\n[pools.all]\nslots = -1\n")

    def pools(it: Standalone) -> dict[str, int]:
        return {pool["name"]: pool["slots"] for pool in it.api.get("/pools")["pools"]}

    with standalone(tmp_path, dags, env=env) as it:
        named = {"all": -1, "default_pool": 128, "gpu": 3}
        wait_until("the configuration's pools", lambda: pools(it) == named)
        it.cli.ok("pools", "set", "gpu", "5", "more")
        it.cli.ok("pools", "set", "own", "2", "by hand")
        facts = [fact for record in it.api.events() for fact in record["facts"]]
        (limits,) = (fact for fact in facts if fact["type"] == "LimitsSet")
        assert (limits["parallelism"], limits["task_queued_timeout"]) == (7, 2_000_000)
        it.wait_dag("elsewhere")
        assert it.trigger("elsewhere", "r1").status_code == 200
        assert it.api.wait_run("elsewhere", "r1") == "failed"
        told = shown(it, "elsewhere", "r1", "a")
        ended = told["dagbok"]["ended"], told["dagbok"]["message"]
        assert (told["try_number"], *ended) == (3, "lost", "queued_too_long")
        it.wait_dag("free")
        assert it.trigger("free", "r1").status_code == 200
        assert it.api.wait_run("free", "r1") == "failed"
        wait_until("the pause", lambda: it.api.get("/dags/free")["is_paused"])
        it.process.stop()
    with standalone(tmp_path, dags, env=env) as it:
        wait_until("the configuration's pools", lambda: pools(it) == {**named, "own": 2})
        facts = [fact for record in it.api.events() for fact in record["facts"]]
        assert len([fact for fact in facts if fact["type"] == "LimitsSet"]) == 1, "nothing to say a second time"


PAST = """
from datetime import datetime
from airflow import DAG
from airflow.operators.bash import BashOperator

with DAG("past", schedule_interval=None, start_date=datetime(2024, 1, 1), catchup=False):
    first = BashOperator(task_id="first", bash_command='test -e "$WITNESS"', depends_on_past=True)
    first >> BashOperator(task_id="then", bash_command="true")
"""


def test_a_task_waits_for_its_past_and_goes_once_that_was_mended(
    running: Standalone, dags: Path, tmp_path: Path
) -> None:
    write_dag(dags, "past.py", PAST)
    running.wait_dag("past")
    for run_id, date in [("r1", "2024-02-01T00:00:00Z"), ("r2", "2024-02-02T00:00:00Z")]:
        assert running.trigger("past", run_id, logical_date=date).status_code == 200
    assert running.api.wait_run("past", "r1") == "failed"
    said = wait_until("the reason", lambda: running.cli.ok("tasks", "why", "past", "r2", "first"))
    assert "2024-02-01" in said, said
    assert running.api.get("/dags/past/tasks/first")["depends_on_past"] is True
    tmp_path.joinpath("witness").touch()
    running.cli.ok("runs", "clear", "past", "r1", "--yes")
    for run_id in ("r1", "r2"):
        assert wait_until("its end", lambda run_id=run_id: running.api.state("past", run_id) == "success")


DOWNSTREAM = """
from datetime import datetime
from airflow import DAG
from airflow.operators.bash import BashOperator

with DAG("behind", schedule_interval=None, start_date=datetime(2024, 1, 1), catchup=False):
    first = BashOperator(task_id="first", bash_command="true", wait_for_downstream=True)
    then = BashOperator(task_id="then", bash_command='test -e "$WITNESS"')
    first >> then >> BashOperator(task_id="last", bash_command="exit 1")
"""


def test_a_task_waits_for_what_comes_right_after_its_past(running: Standalone, dags: Path, tmp_path: Path) -> None:
    """Airflow's wait_for_downstream: the task before, and its direct downstreams, and no further."""
    write_dag(dags, "behind.py", DOWNSTREAM)
    running.wait_dag("behind")
    for run_id, date in [("r1", "2024-02-01T00:00:00Z"), ("r2", "2024-02-02T00:00:00Z")]:
        assert running.trigger("behind", run_id, logical_date=date).status_code == 200
    assert running.api.wait_run("behind", "r1") == "failed"
    assert running.api.get("/dags/behind/dagRuns/r1/taskInstances/first")["state"] == "success"
    said = wait_until("the reason", lambda: running.cli.ok("tasks", "why", "behind", "r2", "first"))
    assert ("2024-02-01" in said, "then" in said) == (True, True), said
    tmp_path.joinpath("witness").touch()
    running.cli.ok("runs", "clear", "behind", "r1", "--task", "then", "--yes")
    # The last one of r1 fails again, which nobody waits for.
    assert running.api.wait_run("behind", "r2") == "failed"
    states = {
        name: running.api.get(f"/dags/behind/dagRuns/r2/taskInstances/{name}")["state"] for name in ("first", "then")
    }
    assert states == {"first": "success", "then": "success"}


CALLED_BACK = """
import os, signal
from datetime import datetime
from airflow.decorators import task
from airflow import DAG


def tell(word):
    def called(context):
        with open(os.environ["WITNESS"], "a") as out:
            out.write(f"{word} {context['ti'].try_number} {context['ti'].state} {context['exception']}\\n")
    return called


with DAG("called", schedule=None, start_date=datetime(2024, 1, 1)):

    @task(retries=1, retry_delay=0.1, on_retry_callback=tell("retry"), on_failure_callback=[tell("failure")])
    def dies():
        os.kill(os.getpid(), signal.SIGKILL)

    @task(on_failure_callback=tell("left"))
    def leaves():
        os._exit(3)

    dies()
    leaves()
"""


def test_a_killed_tasks_callbacks_run_all_the_same(running: Standalone, dags: Path, tmp_path: Path) -> None:
    """In another process of the same code, with its context; what failed is said in the exception."""
    write_dag(dags, "called.py", CALLED_BACK)
    running.wait_dag("called")
    running.trigger("called", "r1")
    assert running.api.wait_run("called", "r1") == "failed"
    told = sorted((tmp_path / "witness").read_text().splitlines())
    assert [line.split()[:3] for line in told] == [
        ["failure", "2", "failed"],
        ["left", "1", "failed"],
        ["retry", "1", "up_for_retry"],
    ]
    assert "SIGKILL" in told[0], told
    assert "exit code 3" in told[1], told
