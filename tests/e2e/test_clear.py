"""Tasks of a run that is over run again: previewed, acted on, after a restart too; and runs are deleted."""

import signal
from pathlib import Path

from harness import Standalone, check_history, write_dag

FAILS_ONCE = """
import os
from datetime import datetime

from airflow.decorators import dag, task


@dag(schedule=None, start_date=datetime(2026, 1, 1), catchup=False)
def mendable():
    @task
    def number():
        return 5

    @task
    def needs(value):
        with open(os.environ["WITNESS"], "a") as witness:
            witness.write(f"needs {value}\\n")
        if not os.path.exists(os.environ["WITNESS"] + ".mended"):
            raise ValueError("broken")
        return value + 1

    @task
    def last(value):
        with open(os.environ["WITNESS"], "a") as witness:
            witness.write(f"last {value}\\n")

    last(needs(number()))


mendable()
"""


def states(running: Standalone) -> dict[str, tuple[str, int]]:
    """State and try of each task of the run."""
    tasks = running.api.get("/dags/mendable/dagRuns/r1/taskInstances")["task_instances"]
    return {it["task_id"]: (it["state"], it["try_number"]) for it in tasks}


def test_what_failed_runs_again_though_everything_was_killed_meanwhile(
    running: Standalone, dags: Path, tmp_path: Path
) -> None:
    witness = tmp_path / "witness"
    write_dag(dags, "mendable.py", FAILS_ONCE)
    running.wait_dag("mendable")
    running.trigger("mendable", "r1")
    assert running.api.wait_run("mendable", "r1") == "failed"
    running.process.send(signal.SIGKILL)
    running.process.kill()
    running.start()
    preview = running.cli.json("runs", "clear", "mendable", "r1", "--only-failed", "--dry-run")
    assert (preview["run_goes_on"], [it["task_id"] for it in preview["tasks"]]) == (True, ["needs", "last"])
    assert running.api.state("mendable", "r1") == "failed", "a preview changes nothing"
    unasked = running.cli.run("runs", "clear", "mendable", "r1", "--only-failed")
    assert unasked.returncode == 2, "nobody is there to agree"
    (tmp_path / "witness.mended").touch()
    done = running.cli.run("runs", "clear", "mendable", "r1", "--only-failed", "--yes")
    assert done.returncode == 0, done.stderr
    assert running.api.wait_run("mendable", "r1") == "success"
    assert states(running) == {"number": ("success", 1), "needs": ("success", 2), "last": ("success", 1)}
    assert witness.read_text().splitlines() == ["needs 5", "needs 5", "last 6"]
    check_history(running.api.events(), {("mendable", "r1")})
    running.process.send(signal.SIGKILL)
    running.process.kill()
    running.start()
    assert running.api.state("mendable", "r1") == "success"
    nothing = running.cli.run("runs", "clear", "mendable", "r1", "--only-failed", "--yes")
    assert (nothing.returncode, "nothing to clear" in nothing.stdout) == (0, True)


def test_a_deleted_run_is_gone_and_its_id_free(running: Standalone, dags: Path, tmp_path: Path) -> None:
    (tmp_path / "witness.mended").touch()
    write_dag(dags, "mendable.py", FAILS_ONCE)
    running.wait_dag("mendable")
    running.trigger("mendable", "r1")
    assert running.api.wait_run("mendable", "r1") == "success"
    assert running.cli.run("runs", "delete", "mendable", "r1").returncode == 0
    assert running.cli.run("runs", "show", "mendable", "r1").returncode == 3
    assert running.cli.run("runs", "delete", "mendable", "r1").returncode == 3
    assert running.cli.run("runs", "clear", "mendable", "r1", "--yes").returncode == 3
    assert running.trigger("mendable", "r1").status_code == 200
    assert running.api.wait_run("mendable", "r1") == "success"
