"""The command line on the on-call night: forms of results, watching, following, what keeps a run, what was said."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

from harness import BIN, Cli, Standalone, wait_until, write_dag

TEXT = """
import os, time
from pathlib import Path
from airflow import DAG
from airflow.decorators import task

with DAG("good", schedule=None):
    @task
    def first():
        print("the first says hello")
        return {"rows": 3}
    @task
    def second(value):
        while not Path(os.environ["WITNESS"]).exists():
            time.sleep(0.05)
        print("the second got", value["rows"])
    second(first())

with DAG("bad", schedule=None):
    @task
    def divides(parts=0):
        return 100 / parts
    divides()

with DAG("lonely", schedule=None):
    @task(queue="gpu")
    def waits():
        pass
    waits()
"""


def reads(child: subprocess.Popen[str], is_wanted: Callable[[str], bool]) -> str:
    """The first line of a child's output that is wanted."""
    assert child.stdout is not None
    for line in child.stdout:
        if is_wanted(line):
            return line
    raise AssertionError("its output ended")


def begin(it: Standalone, *args: str) -> subprocess.Popen[str]:
    """A command that goes on."""
    argv = [str(BIN), *it.cli.args, *args]
    return subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True)


def test_results_come_in_the_form_that_is_asked_for(running: Standalone, dags: Path) -> None:
    write_dag(dags, "night.py", TEXT)
    running.wait_dag("good")
    cli = running.cli
    assert cli.ok("dags", "list", "-o", "name").split() == ["bad", "good", "lonely"]
    assert "  dag_id: good" in cli.ok("dags", "list", "-o", "yaml").replace("- dag_id", "  dag_id")
    assert json.loads(cli.ok("dags", "list", "-o", "json")) == cli.json("dags", "list")
    narrow, wide = cli.ok("dags", "list").splitlines()[0], cli.ok("dags", "list", "-o", "wide").splitlines()[0]
    assert "VERSION" in wide
    assert "VERSION" not in narrow
    # What has no names says so, and nothing is asked.
    refused = cli.run("status", "-o", "name")
    assert refused.returncode == 2
    assert "has names" in refused.stderr
    wrong = cli.run("-o", "json", "dags", "lst")
    assert json.loads(wrong.stderr)["error"]["exit"] == 2
    # Several at once: all are there before the first is changed, and each is a document.
    assert cli.run("dags", "pause", "good", "goood").returncode == 3
    assert not running.api.get("/dags/good")["is_paused"]
    paused = cli.lines("dags", "pause", "good", "bad")
    assert [(dag["dag_id"], dag["is_paused"]) for dag in paused] == [("good", True), ("bad", True)]
    assert cli.ok("dags", "unpause", "good", "bad", "-o", "name").split() == ["good", "bad"]
    shown = cli.lines("dags", "show", "good", "bad")
    assert [dag["dag_id"] for dag in shown] == ["good", "bad"]


def test_a_list_is_watched_until_somebody_ends_it(running: Standalone, dags: Path) -> None:
    write_dag(dags, "night.py", TEXT)
    running.wait_dag("good")
    watched = begin(running, "runs", "list", "--watch=1")
    reads(watched, lambda line: "No runs" in line)
    assert running.trigger("bad", "r1").status_code == 200
    reads(watched, lambda line: "r1" in line and "failed" in line)
    # An installation that is away comes back.
    running.process.stop()
    running.start()
    assert running.trigger("bad", "r2").status_code == 200
    reads(watched, lambda line: "r2" in line)
    watched.send_signal(signal.SIGINT)
    assert watched.wait(20) == 0
    assert running.cli.run("dags", "trigger", "bad", "--watch").returncode == 2


def test_a_run_is_followed_and_says_why_it_waits_and_what_next(running: Standalone, dags: Path, tmp_path: Path) -> None:
    write_dag(dags, "night.py", TEXT)
    running.wait_dag("good")
    assert running.trigger("good", "r1").status_code == 200
    followed = begin(running, "runs", "logs", "good", "r1", "--follow")
    reads(followed, lambda line: line.startswith("first |") and "the first says hello" in line)
    wait_until("the second", lambda: "running" in running.cli.ok("tasks", "list", "good", "r1", "--state", "running"))
    shown = running.cli.ok("runs", "show", "good", "r1")
    assert "next: " in shown
    assert "runs logs good r1 --follow" in shown
    (tmp_path / "witness").touch()
    reads(followed, lambda line: line.startswith("second |") and "the second got 3" in line)
    reads(followed, lambda line: "good r1: success" in line)
    assert followed.wait(20) == 0
    assert json.loads(running.cli.ok("xcom", "get", "good", "r1", "first")) == {"rows": 3}
    assert running.cli.ok("xcom", "list", "good", "r1", "first", "-o", "name").split() == ["first"]

    assert running.cli.run("dags", "trigger", "bad", "--run-id", "r1", "--wait").returncode == 1
    failed = running.cli.ok("runs", "show", "bad", "r1")
    assert "ZeroDivisionError: division by zero  night.py:22" in failed
    assert "runs why bad r1" in failed
    assert "runs retry bad r1" in failed
    assert running.cli.run("runs", "logs", "bad", "r1", "--follow").returncode == 1

    # Nobody pulls from its queue: why, what next, and what the doctor says of it.
    assert running.trigger("lonely", "r1").status_code == 200
    wait_until("the wait", lambda: "gpu" in running.cli.ok("tasks", "list", "lonely", "r1"))
    waits = running.cli.ok("runs", "show", "lonely", "r1")
    assert "no executor pulls from the queue gpu" in waits
    assert "executors list" in waits, waits
    found = running.cli.run("doctor", "--json")
    checks = {it["check"]: it for it in json.loads(found.stdout)["findings"]}
    assert found.returncode == 8
    assert checks["queues"]["status"] == "error"
    assert "`gpu` (1 tasks)" in checks["queues"]["message"]
    assert checks["told"]["status"] == "error"
    assert "nobody is told" in checks["told"]["message"]
    assert checks["imports"]["status"] == checks["processor"]["status"] == checks["versions"]["status"] == "ok"
    assert running.cli.run("runs", "cancel", "lonely", "r1").returncode == 0
    assert "cancelled" in running.cli.ok("runs", "list", "lonely")

    # A line for the try, one for the run, with all that leads to them.
    lines = [json.loads(line) for line in running.process.log.read_text().splitlines() if line.startswith("{")]
    bad = [line for line in lines if line.get("dag") == "bad"]
    (tried,) = [line for line in bad if line["message"] == "a try failed"]
    assert (tried["run"], tried["task"], tried["try_number"]) == ("r1", "divides", 1)
    assert tried["exception"].endswith("ZeroDivisionError")
    assert tried["place"] == "night.py:22"
    assert len(tried["trace"]) == 32
    (ended,) = [line for line in bad if line["message"] == "a run failed"]
    assert (ended["run"], ended["tasks"], ended["trace"]) == ("r1", "divides", tried["trace"])


def test_a_test_run_that_is_given_up_says_how_far_it_came(dags: Path, tmp_path: Path) -> None:
    file = write_dag(dags, "night.py", TEXT)
    argv = [str(BIN), "dags", "test", str(file), "--dag", "good"]
    cli = Cli(env={"WITNESS": str(tmp_path / "never")})
    child = subprocess.Popen(
        argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, **cli.env}
    )
    reads(child, lambda line: "second running" in line)
    child.send_signal(signal.SIGINT)
    out, err = child.communicate(timeout=60)
    assert child.returncode == 130
    for word in ("first", "success", "interrupted"):
        assert word in out
    assert "given up" in err


def test_man_pages_and_examples_come_with_the_binary(tmp_path: Path) -> None:
    made = Cli().json("man", str(tmp_path / "man"))
    assert made["pages"] > 80
    page = (tmp_path / "man" / "dagbok-runs-why.1").read_text()
    assert "dagbok runs why" in page.replace("\\-", "-")
    assert "Examples:" in Cli().ok("runs", "why", "--help")
