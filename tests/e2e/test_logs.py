"""What a try wrote and used is kept however it ended."""

from pathlib import Path
from typing import Any

from harness import Cli, Standalone, check_history, standalone, wait_until, write_dag
from scenes import LEASE, Apart

TALKER = """
import time
from datetime import datetime, timedelta
from airflow import DAG
from airflow.operators.python import PythonOperator


def talk():
    print("the first line", flush=True)
    time.sleep(300)


for name, options in [("talker", {}), ("hurried", {"dagrun_timeout": timedelta(seconds=2)})]:
    with DAG(name, schedule=None, start_date=datetime(2024, 1, 1), is_paused_upon_creation=False, **options) as dag:
        PythonOperator(task_id="talk", python_callable=talk, retries=0)
    globals()[name] = dag
"""


def shown(it: Standalone | Apart, dag_id: str, number: int = 1) -> dict[str, Any]:
    """One try, as the API shows it."""
    found: dict[str, Any] = it.api.get(f"/dags/{dag_id}/dagRuns/r1/taskInstances/talk/tries/{number}")
    return found


def says(it: Standalone | Apart, dag_id: str, number: int = 1) -> list[str]:
    """The lines of a try's log."""
    lines = it.cli.lines("tasks", "logs", dag_id, "r1", "talk", "--try", str(number))
    return [line["event"] for line in lines]


def begin(it: Standalone | Apart, dag_id: str) -> None:
    """Triggers a run, and waits until its task has written its first line."""
    wait_until("the DAG", lambda: it.api.get(f"/dags/{dag_id}"))
    answer = it.api.post(f"/dags/{dag_id}/dagRuns", {"dag_run_id": "r1", "logical_date": None})
    assert answer.status_code == 200, answer.text
    wait_until("the first line", lambda: "the first line" in says(it, dag_id))


def until_kept(it: Standalone | Apart, dag_id: str) -> dict[str, Any]:
    """Waits until the first try's log is kept."""
    wait_until("the log is kept", lambda: shown(it, dag_id)["dagbok"]["log"])
    return shown(it, dag_id)


def test_of_a_cancelled_run(running: Standalone, dags: Path) -> None:
    write_dag(dags, "talker.py", TALKER)
    begin(running, "talker")
    running.cli.ok("runs", "cancel", "talker", "r1")
    kept = until_kept(running, "talker")
    assert (kept["state"], kept["dagbok"]["ended"]) == ("failed", "cancelled")
    assert kept["dagbok"]["usage"]["max_rss_bytes"] > 1_000_000
    lines = says(running, "talker")
    assert lines[0] == "the first line"
    assert any("the run was ended" in line for line in lines), lines
    check_history(running.api.events(), {("talker", "r1")})


def test_of_a_run_past_its_timeout(running: Standalone, dags: Path) -> None:
    write_dag(dags, "talker.py", TALKER)
    begin(running, "hurried")
    kept = until_kept(running, "hurried")
    assert kept["dagbok"]["ended"] == "cancelled"
    assert kept["dagbok"]["usage"]["max_rss_bytes"] > 1_000_000
    assert says(running, "hurried")[0] == "the first line"
    check_history(running.api.events(), {("hurried", "r1")})


def test_of_a_drained_executor(tmp_path: Path, dags: Path) -> None:
    write_dag(dags, "talker.py", TALKER)
    with standalone(tmp_path, dags, env={"DAGBOK__EXECUTOR__DRAIN": "1s"}) as it:
        begin(it, "talker")
        it.process.stop()
        it.start()
        kept = until_kept(it, "talker")
        assert kept["dagbok"]["message"] == "drained"
        assert kept["dagbok"]["usage"]["max_rss_bytes"] > 1_000_000
        assert says(it, "talker")[0] == "the first line"


def test_of_a_standalone_that_was_killed(tmp_path: Path, dags: Path) -> None:
    write_dag(dags, "talker.py", TALKER)
    with standalone(tmp_path, dags) as it:
        begin(it, "talker")
        on_disk = it.home / "executor/logs"
        wait_until("it is on the disk", lambda: [1 for path in on_disk.rglob("*.jsonl") if path.stat().st_size])
        it.process.kill()
        read = Cli(["--home", str(it.home)]).lines("tasks", "logs", "talker", "r1", "talk", "--follow")
        assert "the first line" in [line["event"] for line in read], "it can be read before anything is started"
        it.start()
        kept = until_kept(it, "talker")
        assert kept["dagbok"]["ended"] == "lost"
        lines = says(it, "talker")
        assert lines[0] == "the first line"
        assert "killed" in lines[-1]
        wait_until("the second try", lambda: "the first line" in says(it, "talker", 2))
        it.cli.ok("runs", "cancel", "talker", "r1")
        wait_until("the second try's log", lambda: shown(it, "talker", 2)["dagbok"]["log"])
        check_history(it.api.events(), {("talker", "r1")})


def test_of_an_executor_that_was_killed(tmp_path: Path) -> None:
    with Apart(tmp_path) as it:
        write_dag(it.dags, "talker.py", TALKER)
        begin(it, "talker")
        executor = it.services["executor-0"]
        on_disk = it.folder / "executor-0"
        wait_until("it is on the disk", lambda: [1 for path in on_disk.rglob("*.jsonl") if path.stat().st_size])
        executor.kill()
        wait_until("the loss", lambda: shown(it, "talker")["dagbok"]["ended"] == "lost", LEASE + 20.0)
        done = it.cli.run("tasks", "logs", "talker", "r1", "talk", "--try", "1")
        assert (done.returncode, done.stdout) == (0, ""), done
        assert "no log was kept of try 1" in done.stderr
        assert "lost" in done.stderr
        executor.start()
        wait_until("the log is kept", lambda: shown(it, "talker")["dagbok"]["log"], LEASE + 20.0)
        assert says(it, "talker")[0] == "the first line"
