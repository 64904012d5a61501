"""Backfills from the command line to the tasks' own lines: each date once, whatever dies meanwhile."""

import signal
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

from harness import Standalone, check_history, wait_until, write_dag

HOURLY = """
import os, time
from datetime import datetime
from airflow.sdk import DAG, task

with DAG("hourly", schedule="0 * * * *", start_date=datetime(2024, 1, 1), catchup=False,
         is_paused_upon_creation=False, max_active_runs=1):
    @task
    def note(*, dag_run):
        started = time.time()
        time.sleep(float(dag_run.conf.get("pause", 0.0)))
        line = f"{dag_run.run_id} {dag_run.run_type} {started} {time.time()}\\n"
        out = os.open(os.environ["WITNESS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        os.write(out, line.encode())
        os.close(out)
        if "broken" in dag_run.conf:
            raise ValueError("broken")
    note()
"""


def dates(witness: Path) -> list[str]:
    """The dates that tasks of backfills noted, in the order of their ends."""
    lines = witness.read_text().splitlines() if witness.exists() else []
    runs = [line.split()[0] for line in lines]
    return [run.split("__")[1][:13] for run in runs if run.startswith("backfill__")]


def most_at_once(witness: Path) -> int:
    """How many of those tasks ran at the same time."""
    spans = [line.split()[2:] for line in witness.read_text().splitlines() if line.startswith("backfill__")]
    moments = [(float(start), 1) for start, _ in spans] + [(float(end), -1) for _, end in spans]
    running = most = 0
    for _, step in sorted(moments):
        running += step
        most = max(most, running)
    return most


def create(running: Standalone, *more: str, last: str = "2024-03-01T09:00:00Z") -> int:
    made = running.cli.json(
        "backfill", "create", "hourly", "--from-date", "2024-03-01", "--to-date", last, "--max-active-runs", "2", *more
    )
    return int(made["id"])


def state(running: Standalone, number: int) -> dict[str, object]:
    found = running.cli.json("backfill", "show", str(number))
    return {**found["dagbok"], "is_paused": found["is_paused"], "completed_at": found["completed_at"]}


def completed(running: Standalone, number: int) -> dict[str, object]:
    def over() -> dict[str, object] | None:
        found = state(running, number)
        return found if found["state"] == "completed" else None

    return wait_until(f"backfill {number} is completed", over, patience=90.0)


def made(running: Standalone, number: int) -> list[str]:
    """The dates of the runs that a backfill made, in the order of making."""
    facts = [fact for record in running.api.events() for fact in record["facts"] if fact["type"] == "RunCreated"]
    return [fact["logical_date"][:13] for fact in facts if fact.get("backfill_id") == number]


def hours(first: int, last: int) -> list[str]:
    return [f"2024-03-01T{hour:02}" for hour in range(first, last + 1)]


def test_a_dry_run_tells_and_each_date_runs_once_in_its_order_and_room(
    running: Standalone, dags: Path, tmp_path: Path
) -> None:
    witness = tmp_path / "witness"
    write_dag(dags, "hourly.py", HOURLY)
    running.wait_dag("hourly")
    told = running.cli.json(
        "backfill", "create", "hourly", "--from-date", "2024-03-01", "--to-date", "2024-03-01T09:00:00Z", "--dry-run"
    )
    assert (told["total_entries"], told["dagbok"]["create"]) == (10, 10)
    assert running.api.get("/backfills")["total_entries"] == 0, "a dry run makes nothing"
    number = create(running, "--conf", '{"pause": 0.3}', "--reason", "new column")
    found = completed(running, number)
    assert (found["done"], found["left"], found["reason"]) == (10, 0, "new column")
    assert Counter(dates(witness)) == Counter(hours(0, 9))
    assert most_at_once(witness) <= 2
    assert made(running, number) == hours(0, 9), "in the order of time"
    run = running.api.get("/dags/hourly/dagRuns/backfill__2024-03-01T00:00:00+00:00")
    assert (run["run_type"], run["triggered_by"], run["conf"]) == ("backfill", "backfill", {"pause": 0.3})
    assert run["dagbok"]["backfill_id"] == number
    # Once more there is nothing to do, as the dry run says.
    told = running.cli.json(
        "backfill", "create", "hourly", "--from-date", "2024-03-01", "--to-date", "2024-03-01T09:00:00Z", "--dry-run"
    )
    assert (told["total_entries"], told["dagbok"]["skip_existing"]) == (0, 10)
    again = completed(running, create(running))
    assert again["skipped"] == {"already_exists": 10}
    assert len(dates(witness)) == 10
    check_history(running.api.events(), set())


def test_killed_in_the_middle_it_goes_on_and_each_date_is_noted_once(
    running: Standalone, dags: Path, tmp_path: Path
) -> None:
    witness = tmp_path / "witness"
    write_dag(dags, "hourly.py", HOURLY)
    running.wait_dag("hourly")
    number = create(running, "--run-backwards")
    for killed_at in (2, 5):
        wait_until("some dates are noted", lambda killed_at=killed_at: len(dates(witness)) >= killed_at or None)
        running.process.send(signal.SIGKILL)
        running.process.kill()
        running.start()
    completed(running, number)
    runs = Counter(dates(witness))
    assert set(runs) == set(hours(0, 9))
    assert made(running, number) == hours(0, 9)[::-1]
    # A task whose end was not heard of before the kill may have been tried again; of each date there is one run.
    lost = [fact for record in running.api.events() for fact in record["facts"] if fact["type"] == "TryLost"]
    assert sum(runs.values()) - len(runs) <= len(lost)


def test_paused_resumed_and_cancelled(running: Standalone, dags: Path, tmp_path: Path) -> None:
    witness = tmp_path / "witness"
    write_dag(dags, "hourly.py", HOURLY)
    running.wait_dag("hourly")
    number = create(running, "--conf", '{"pause": 0.5}')
    another = running.cli.run("backfill", "create", "hourly", "--from-date", "2024-04-01", "--to-date", "2024-04-02")
    assert (another.returncode != 0, f"backfill {number} of hourly is not over" in another.stderr) == (True, True)
    wait_until("a date is noted", lambda: dates(witness) or None)
    assert running.cli.json("backfill", "pause", str(number), "--reason", "noon")["is_paused"]
    wait_until("what ran is over", lambda: state(running, number)["running"] == 0 or None)
    noted = len(dates(witness))
    found = state(running, number)
    assert (found["state"], found["paused_by"] is not None, found["pause_reason"]) == ("paused", True, "noon")
    assert found["left"] == 10 - noted, "nothing was made meanwhile"
    running.cli.ok("backfill", "resume", str(number))
    wait_until("it goes on", lambda: len(dates(witness)) > noted or None)
    running.cli.ok("backfill", "cancel", str(number))
    assert state(running, number)["state"] == "cancelled"
    wait_until("what ran is seen through", lambda: state(running, number)["running"] == 0 or None)
    found = state(running, number)
    assert found["done"] == len(dates(witness)) < 10
    assert found["failed"] == 0
    over = running.cli.run("backfill", "resume", str(number))
    assert "is over already" in over.stderr
    assert running.cli.run("backfill", "show", "99").returncode == 3


def test_only_what_failed_runs_again(running: Standalone, dags: Path, tmp_path: Path) -> None:
    witness = tmp_path / "witness"
    write_dag(dags, "hourly.py", HOURLY)
    running.wait_dag("hourly")
    completed(running, create(running, "--conf", '{"broken": true}', last="2024-03-01T02:00:00Z"))
    told = running.cli.json(
        "backfill",
        "create",
        "hourly",
        "--from-date",
        "2024-03-01",
        "--to-date",
        "2024-03-01T04:00:00Z",
        "--dry-run",
        "--reprocess-behavior",
        "failed",
    )
    assert (told["dagbok"]["rerun"], told["dagbok"]["create"]) == (3, 2)
    wish = ("--reprocess-behavior", "failed", "--conf", "{}")
    again = completed(running, create(running, *wish, last="2024-03-01T04:00:00Z"))
    assert (again["done"], again["failed"], again["skipped"]) == (5, 0, {})
    assert Counter(dates(witness)) == Counter(hours(0, 4) + hours(0, 2))


def test_what_cannot_be_is_refused(running: Standalone, dags: Path) -> None:
    write_dag(dags, "hourly.py", HOURLY.replace('"0 * * * *"', '"* * * * *"'))
    running.wait_dag("hourly")
    million = running.cli.run("backfill", "create", "hourly", "--from-date", "2022-01-01", "--to-date", "2024-01-01")
    assert million.returncode != 0
    assert "about 1051201 runs" in million.stderr, million.stderr
    ahead = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    body = {"dag_id": "hourly", "from_date": ahead, "to_date": ahead}
    for path in ("/backfills", "/backfills/dry_run"):
        answer = running.api.post(path, body)
        assert (answer.status_code, "lies ahead" in answer.text) == (422, True), answer.text
    assert running.api.post("/backfills", {**body, "dag_id": "nobody"}).status_code == 404
    assert running.api.post("/backfills", {**body, "run_on_latest_version": False}).status_code == 422
