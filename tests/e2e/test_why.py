"""Why something waits, by the real binary: now, as of a time before, after all is over, after a restart, and of an
installation that is stopped."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from harness import Cli, Standalone, wait_until, write_dag

TEXT = """
from datetime import datetime, timedelta
from airflow import DAG
from airflow.operators.bash import BashOperator

wait = 'until test -e "$WITNESS"; do sleep 0.1; done'

for dag_id in ("ml", "etl"):
    with DAG(dag_id, schedule_interval=None, start_date=datetime(2024, 1, 1)):
        first = BashOperator(task_id="train", bash_command=wait, pool="gpu")
        first >> BashOperator(task_id="publish", bash_command="true")

with DAG("other", schedule_interval=None, start_date=datetime(2024, 1, 1)):
    BashOperator(task_id="lonely", bash_command="true", queue="nowhere")
    BashOperator(task_id="again", bash_command="exit 1", retries=1, retry_delay=timedelta(hours=1))
"""


def reasons(running: Standalone, *what: str) -> list[dict[str, Any]]:
    """All that keeps something."""
    found: list[dict[str, Any]] = running.cli.json("why", *what)["is"]["reasons"]
    return found


def kinds(running: Standalone, *what: str) -> list[str]:
    """Which reasons those are."""
    return [str(reason["kind"]) for reason in reasons(running, *what)]


def test_why_now_and_why_then(running: Standalone, dags: Path, tmp_path: Path) -> None:
    running.cli.ok("pools", "set", "gpu", "1")
    write_dag(dags, "why.py", TEXT)
    running.wait_dag("other")
    assert running.trigger("ml", "r1").status_code == 200
    wait_until("the holder", lambda: running.cli.json("why", "ml", "r1", "train")["is"]["state"] == "running")
    assert running.trigger("etl", "r1").status_code == 200
    assert running.trigger("other", "r1").status_code == 200

    wait_until("the wait for the pool", lambda: kinds(running, "etl", "r1", "train") == ["pool"])
    (full,) = reasons(running, "etl", "r1", "train")
    (holder,) = full["holders"]
    assert (holder["dag_id"], holder["dag_run_id"], holder["task_id"]) == ("ml", "r1", "train")
    assert holder["since"] is not None, "since when it has the slot"
    said = running.cli.ok("why", "etl", "r1", "train")
    first = said.splitlines()[0]
    assert first == (
        "train of etl/r1 waits: the pool gpu is full (1 of 1 slots), held by train of ml/r1; "
        "it is the next in line for the pool gpu"
    )
    # Behind a task that waits for it stands what the pool keeps.
    said = running.cli.ok("why", "etl", "r1", "publish")
    assert "upstream tasks are not done: train (waiting)" in said.splitlines()[0]
    assert "held by train of ml/r1" in said
    assert "- the pool gpu is full" in running.cli.ok("why", "etl", "r1"), "so the run says"

    assert kinds(running, "other", "r1", "lonely") == ["no_executor"]
    wait_until("the retry", lambda: kinds(running, "other", "r1", "again") == ["retry"])
    (retry,) = reasons(running, "other", "r1", "again")
    assert retry["until"] is not None
    assert kinds(running, "other") == ["no_schedule"]
    running.cli.ok("dags", "pause", "etl")
    assert kinds(running, "etl", "r1", "train") == ["paused"]
    assert "paused since" in running.cli.ok("why", "etl", "r1", "train")
    running.cli.ok("dags", "unpause", "etl")
    wait_until("the pool again", lambda: kinds(running, "etl", "r1", "train") == ["pool"])
    then = datetime.now(UTC).isoformat()

    (tmp_path / "witness").touch()
    assert [running.api.wait_run(dag, "r1") for dag in ("ml", "etl")] == ["success", "success"]
    assert "succeeded" in running.cli.ok("why", "etl", "r1", "train")
    at = ("--at", then)
    assert kinds(running, "etl", "r1", "train", *at) == ["pool"]
    said = running.cli.ok("why", "etl", "r1", "train", *at)
    assert said.splitlines()[0] == first, "as it was said then"
    assert "as of" in said
    history = running.cli.json("why", "etl", "r1", "train", "--history")
    told = [
        (change["is"]["state"], *(reason["kind"] for reason in change["is"]["reasons"]))
        for change in history["changes"]
    ]
    waits = [one for one in told if one in {("waiting", "pool"), ("waiting", "paused")}]
    assert waits == [("waiting", "pool"), ("waiting", "paused"), ("waiting", "pool")], told
    assert ("running",) in told[told.index(("waiting", "paused")) :], told
    assert history["complete"], history
    said = running.cli.ok("why", "etl", "r1", "train", "--history").splitlines()
    assert len(said) >= len(told)
    assert "the pool gpu is full" in said[told.index(("waiting", "pool"))]
    assert running.cli.run("why", "etl", "--history").returncode == 2
    gone = running.cli.run("why", "etl", "r1", "train", "--at", "2020-01-01T00:00:00Z")
    assert gone.returncode == 3, gone.stderr
    assert "as of 2020" in gone.stderr
    assert running.cli.run("why", "etl", "nobody").returncode == 3
    assert running.cli.run("why", "nobody").returncode == 3
    assert running.cli.run("why", "etl", "r1", "train", "--at", "half past five").returncode == 4

    assert running.process.stop() == 0
    running.start()
    assert kinds(running, "etl", "r1", "train", *at) == ["pool"]
    assert running.process.stop() == 0
    stopped = Cli(["--home", str(running.home)])
    assert "the pool gpu is full" in stopped.ok("why", "etl", "r1", "train", *at)
    lonely = stopped.ok("why", "other", "r1", "lonely")
    assert "no executor pulls from the queue nowhere" in lonely
    assert "no scheduler answers" in lonely


STEPS = """
from datetime import datetime
from airflow import DAG
from airflow.operators.bash import BashOperator

with DAG("steps", schedule_interval=None, start_date=datetime(2024, 1, 1)):
    tasks = [BashOperator(task_id=name, bash_command="sleep 2") for name in ("a", "b", "c")]
    tasks[0] >> tasks[1] >> tasks[2]
"""


def test_what_waits_for_others_has_an_expected_time_by_what_they_took(running: Standalone, dags: Path) -> None:
    write_dag(dags, "steps.py", STEPS)
    running.wait_dag("steps")

    def expected(run_id: str) -> Any:
        return running.cli.json("why", "steps", run_id, "c")["expected"]

    assert running.trigger("steps", "r1").status_code == 200
    wait_until("the first task", lambda: running.cli.json("why", "steps", "r1", "a")["is"]["state"] == "running")
    assert expected("r1") is None, "nothing tells"
    assert running.api.wait_run("steps", "r1") == "success"
    assert running.trigger("steps", "r2").status_code == 200
    wait_until("the first task", lambda: running.cli.json("why", "steps", "r2", "a")["is"]["state"] == "running")
    told = running.cli.json("why", "steps", "r2", "c")
    ahead = datetime.fromisoformat(told["expected"]["p50"]) - datetime.fromisoformat(told["at"])
    # What is left of the first, and the second whole.
    assert 1.9 < ahead.total_seconds() < 5, told
    assert told["expected"]["of"] == 2
