"""The command line's first hour and its night: names as people type them, and commands that say what is known."""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from harness import BIN, Cli, Standalone, wait_until, write_dag

FAILS = """
from datetime import datetime
from airflow.sdk import dag, task

@dag(schedule=None, start_date=datetime(2026, 1, 1))
def reco_training():
    @task
    def load():
        print("42 rows")

    @task
    def train():
        for step in range(40):
            print(f"step {step}")
        raise RuntimeError("loss diverged at step 39")

    load() >> train()

@dag(schedule=None, start_date=datetime(2026, 1, 1))
def reco_report():
    @task
    def report(params=None, dag_run=None):
        print("conf:", dag_run.conf)

    report()

reco_training()
reco_report()
"""


def trigger(it: Standalone, dag_id: str, run_id: str) -> None:
    it.cli.ok("dags", "trigger", dag_id, "--run-id", run_id)
    it.cli.run("runs", "wait", dag_id, run_id)


@pytest.fixture
def reco(running: Standalone, dags: Path) -> Standalone:
    """Two DAGs of one file; a run of one failed, twice."""
    write_dag(dags, "reco.py", FAILS)
    running.wait_dag("reco_training")
    running.wait_dag("reco_report")
    trigger(running, "reco_training", "manual__2026-01-30T00:00:00+00:00")
    trigger(running, "reco_training", "manual__2026-01-31T00:00:00+00:00")
    return running


def test_one_command_says_why_the_newest_failure_failed(reco: Standalone) -> None:
    said = reco.cli.ok("runs", "why")
    assert said.startswith("reco_training manual__2026-01-31T00:00:00+00:00: failed after")
    for part in (
        "train failed in try 1 of 1",
        "RuntimeError: loss diverged at step 39",
        'raise RuntimeError("loss diverged at step 39")',
        "step 39",
        "told: nobody",
        "tasks logs reco_training manual__2026-01-31T00:00:00+00:00 train",
        "runs retry reco_training manual__2026-01-31T00:00:00+00:00",
    ):
        assert part in said, f"{part}\n{said}"
    line = FAILS.splitlines().index('        raise RuntimeError("loss diverged at step 39")') + 1
    assert f"reco.py:{line}" in said
    assert "step 10" not in said, "only the last lines"
    told = reco.cli.json("runs", "why", "reco_tr", "2026-01-30")
    assert told["dag_run"]["dag_run_id"].startswith("manual__2026-01-30")
    assert (told["failure"]["exception"], told["failure"]["line"]) == ("RuntimeError", line)
    assert told["log"][-1].endswith("loss diverged at step 39") or "Task failed" in told["log"][-1]
    assert [alert["rule"] for alert in told["told"]] == ["run_failed"]


def test_names_are_typed_as_far_as_they_tell(reco: Standalone) -> None:
    cli = reco.cli
    shown = cli.run("runs", "show", "reco_t", "latest")
    assert "manual__2026-01-31" in shown.stdout
    assert "`reco_t` is reco_training" in shown.stderr
    assert "42 rows" in cli.ok("tasks", "logs", "reco_t", "2026-01-30", "lo")
    assert cli.json("tasks", "list", "reco_t", "latest", "--state", "failed")["total_entries"] == 1
    several = cli.run("runs", "show", "reco", "latest")
    assert (several.returncode, "`reco_report`, `reco_training`" in several.stderr) == (3, True), several.stderr
    several = cli.run("runs", "show", "reco_t", "manual")
    assert (several.returncode, "type more of it" in several.stderr) == (3, True), several.stderr
    near = cli.run("dags", "pause", "reko_training")
    assert (near.returncode, "did you mean `reco_training`?" in near.stderr) == (3, True), near.stderr
    near = cli.run("tasks", "why", "reco_training", "latest", "trian")
    assert (near.returncode, "did you mean `train`?" in near.stderr) == (3, True), near.stderr
    none = cli.run("runs", "show", "reco_report", "latest")
    assert (none.returncode, "has no run yet" in none.stderr) == (3, True), none.stderr
    for empty in (("", "latest"), ("reco_training", "")):
        assert cli.run("runs", "show", *empty).returncode == 3
    # A name that is somebody's in full is theirs, whatever it begins.
    trigger(reco, "reco_report", "latest")
    trigger(reco, "reco_report", "newer")
    assert cli.json("runs", "show", "reco_report", "latest")["run"]["dag_run_id"] == "latest"


def test_what_is_changed_is_named_whole(reco: Standalone) -> None:
    """A script that deletes `r1` once more must not delete `r10`."""
    cli = reco.cli
    for run_id in ("r1", "r10"):
        trigger(reco, "reco_report", run_id)
    cli.ok("runs", "delete", "reco_report", "r1")
    wanted = [
        ("runs", "delete", "reco_report", "r1"),
        ("runs", "cancel", "reco_report", "r1"),
        ("runs", "mark", "reco_report", "r1", "failed"),
        ("runs", "note", "reco_report", "r1", "mine"),
        ("runs", "retry", "reco_report", "r1", "--yes"),
        ("tasks", "mark", "reco_report", "r10", "rep", "failed"),
        ("tasks", "note", "reco_report", "r10", "rep", "mine"),
        ("dags", "pause", "reco_rep"),
        ("dags", "trigger", "reco_rep"),
        ("runs", "delete", "reco_report", "latest"),
    ]
    before = reco.cli.json("status")["home"]["seq"]
    for words in wanted:
        for more in ([], ["--json"]):
            done = cli.run(*words, *more)
            assert done.returncode == 3, (words, done.stdout, done.stderr)
    assert "is `r10` meant?" in cli.run(*wanted[0]).stderr
    assert reco.cli.json("status")["home"]["seq"] == before
    # The newest by its place may be noted: it is said which it is.
    assert "`latest` is r10" in cli.run("runs", "note", "reco_report", "latest", "mine").stderr
    for name in ("..", ".", ""):
        for words in (("runs", "show", "reco_report", name), ("dags", "trigger", name), ("variables", "get", name)):
            assert cli.run(*words).returncode == 3, words


def test_a_run_is_triggered_waited_for_and_tried_again(reco: Standalone, tmp_path: Path) -> None:
    conf = tmp_path / "conf.json"
    conf.write_text('{"rows": 3}\n')
    done = reco.cli.json("dags", "trigger", "reco_report", "--wait", "--conf", f"@{conf}")
    assert (done["finished"], done["dag_run"]["state"], done["dag_run"]["conf"]) == (True, "success", {"rows": 3})
    assert "conf: {'rows': 3}" in reco.cli.ok("runs", "logs", "reco_report", "latest")
    missing = reco.cli.run("dags", "trigger", "reco_report", "--conf", "@nowhere.json")
    assert (missing.returncode, "`nowhere.json` can't be read" in missing.stderr) == (2, True), missing.stderr
    failed = reco.cli.run("dags", "trigger", "reco_training", "--wait", "--run-id", "once")
    assert failed.returncode == 1
    again = reco.cli.ok("runs", "retry", "reco_training", "once", "--yes")
    assert "train" in again
    assert reco.cli.run("runs", "wait", "reco_training", "once").returncode == 1
    assert reco.api.get("/dags/reco_training/dagRuns/once/taskInstances/train")["try_number"] == 2
    whole = reco.cli.ok("runs", "logs", "reco_training", "once")
    assert whole.index("── load, try 1: success") < whole.index("42 rows") < whole.index("── train, try 2: failed")
    only = reco.cli.lines("runs", "logs", "reco_training", "once", "--failed")
    assert {line["task_id"] for line in only} == {"train"}


def test_status_says_all_on_one_screen(reco: Standalone, dags: Path) -> None:
    write_dag(dags, "broken.py", "from airflow.sdk import DAG, nothing_like_it\n")
    wait_until("the import error", lambda: reco.api.get("/importErrors")["total_entries"] == 1)
    wait_until("the alerts", lambda: "alert" in reco.cli.ok("status").splitlines()[0])
    said = reco.cli.ok("status")
    assert said.splitlines()[0].startswith("2 runs failed, 1 file can't be read, ")
    for part in (
        "scheduler there, processor there, alerting there; 1 executor, 0 of ",
        "train: RuntimeError: loss diverged at step 39",
        "broken.py:1: ModuleNotFoundError",
        "runs why",
    ):
        assert part in said, f"{part}\n{said}"
    told = reco.cli.json("status")
    assert (told["home"]["verdict"]["failed"], len(told["executors"])) == (2, 1)
    listed = reco.cli.run("dags", "list")
    assert "broken.py, line 1 can't be read: ModuleNotFoundError" in listed.stderr


def test_executors_are_listed_with_what_they_hold(running: Standalone, dags: Path) -> None:
    write_dag(
        dags,
        "holds.py",
        "from airflow.sdk import DAG\n"
        "from airflow.providers.standard.operators.bash import BashOperator\n"
        "with DAG('holds', schedule=None):\n    BashOperator(task_id='long', bash_command='sleep 60')\n",
    )
    running.wait_dag("holds")
    running.cli.ok("dags", "trigger", "holds", "--run-id", "one")
    shown = wait_until(
        "the try in its hands",
        lambda: [
            it for it in running.cli.json("executors", "list")["executors"] if any(held["pid"] for held in it["holds"])
        ],
    )
    (executor,) = shown
    said = running.cli.ok("executors", "show", executor["executor"][:-2])
    assert "holds    holds one long, try 1, process " in said, said
    assert executor["executor"] in running.cli.ok("executors", "list")
    assert running.cli.run("executors", "show", "nobody").returncode == 3
    running.cli.ok("runs", "cancel", "holds", "latest")


def test_the_log_is_read_from_its_end_and_from_a_time(reco: Standalone) -> None:
    every = reco.cli.lines("events")
    assert reco.cli.lines("events", "--tail", "3") == every[-3:]
    mine = [record for record in every if record.get("dag_id") == "reco_training"]
    assert reco.cli.lines("events", "--dag", "reco_training", "--tail", "2") == mine[-2:]
    assert reco.cli.lines("events", "--tail", "0") == []
    middle = mine[len(mine) // 2]
    since = reco.cli.lines("events", "--since", middle["at"])
    assert since == [record for record in every if record["at"] >= middle["at"]]
    assert reco.cli.lines("events", "--since", "1h") == every
    later = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 3600))
    assert reco.cli.lines("events", "--since", later) == []
    assert reco.cli.run("events", "--since", "yesterday").returncode == 2
    assert reco.cli.json("runs", "list", "--since", "1d")["total_entries"] == 2
    assert reco.cli.json("runs", "list", "--since", "2099-01-01")["total_entries"] == 0


def test_a_new_folder_has_a_dag_that_runs_and_a_test_that_passes(tmp_path: Path) -> None:
    cli, folder = Cli(), tmp_path / "mine"
    said = cli.ok("init", str(folder))
    assert "dags test" in said
    made = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert made == {"dags/first.py", "tests/test_dags.py", "dagbok.toml"}
    again = cli.run("init", str(folder))
    assert (again.returncode, "there already" in again.stderr) == (4, True)
    done = cli.json("dags", "test", str(folder / "dags" / "first.py"))
    assert (done["state"], len(done["tasks"])) == ("success", 5)
    assert cli.run("dags", "check", str(folder / "dags")).returncode == 0
    assert cli.run("config", "check", "--config", str(folder / "dagbok.toml")).returncode == 0


def test_the_configuration_says_where_it_comes_from(tmp_path: Path) -> None:
    file = tmp_path / "dagbok.toml"
    file.write_text('[nats]\npassword = "hunter2"\n\n[scheduler]\nmax_losses = 7\n')
    cli = Cli(["--config", str(file)], {"DAGBOK__EXECUTOR__LEASE": "20s"})
    found = {it["key"]: it for it in cli.json("config", "show") if not it["key"].startswith("python.")}
    assert found.keys() == {"nats.password", "scheduler.max_losses", "executor.lease"}
    assert found["scheduler.max_losses"] == {
        "key": "scheduler.max_losses",
        "value": 7,
        "origin": f"`{file}`, line 5",
    }
    assert "DAGBOK__EXECUTOR__LEASE" in found["executor.lease"]["origin"]
    for args, origin in [([], "the environment variable `DAGBOK_PYTHON`"), (["--python", "p"], "the flag `--python`")]:
        other = Cli([*cli.args, *args], {"DAGBOK_PYTHON": "/usr/bin/python3"})
        python = {it["key"]: it["origin"] for it in other.json("config", "show", "python")}
        assert python["python.interpreter"] == origin
    assert {it["origin"] for it in cli.json("config", "show", "ui", "--all")} == {"the defaults"}
    secret = ["nats.urls=nats://bob:hunter2@h:1,nats://hunter2@h:2", 'executor.env={ TOKEN = "hunter2" }']
    secret.append("nats.monitor=http://u:hunter2@h:3/x?y")
    hidden = Cli(
        cli.args, {f"DAGBOK__{it.split('=')[0].replace('.', '__').upper()}": it.split("=", 1)[1] for it in secret}
    )
    shown = {it["key"]: it["value"] for it in hidden.json("config", "show", "--all")}
    assert shown["nats.urls"] == ["nats://…@h:1", "nats://…@h:2"]
    assert (shown["nats.monitor"], shown["executor.env"]) == ("http://…@h:3/x?y", {"TOKEN": "…"})
    assert "hunter2" not in json.dumps(shown)
    file.write_text("[nats]\npassword = 123456789\n")
    wrong = cli.run("config", "check")
    assert (wrong.returncode, "123456789" in wrong.stderr, "line 2" in wrong.stderr) == (2, False, True), wrong.stderr
    file.write_text("")
    assert cli.run("config", "show", "nope").returncode == 3
    file.write_text("[scheduler]\nmax_loses = 7\n")
    wrong = cli.run("config", "check")
    assert (wrong.returncode, "line 2: unknown key" in wrong.stderr) == (2, True), wrong.stderr


def test_codes_are_explained_and_commands_completed() -> None:
    cli = Cli()
    assert cli.ok("explain", "DBK0014").startswith("# DBK0014: refused")
    assert cli.ok("explain", "14") == cli.ok("explain", "dbk0014")
    assert cli.run("explain", "DBK9999").returncode == 3
    assert {"code": "DBK0014", "about": "refused"} in cli.json("explain")
    for shell in ("bash", "zsh", "fish"):
        assert "trigger" in cli.ok("completion", shell)
    words = 'COMP_WORDS=(dagbok runs wh); COMP_CWORD=2; _dagbok dagbok wh runs; echo "${COMPREPLY[*]}"'
    script = 'source <("$0" completion bash); ' + words
    done = subprocess.run(["bash", "-c", script, str(BIN)], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["why"], json.dumps([done.stdout, done.stderr])


RAISES = """
from datetime import datetime
from airflow.decorators import dag, task


@dag(schedule=None, start_date=datetime(2026, 1, 1), catchup=False)
def fails():
    @task(retries=0)
    def raises():
        raise ValueError("message: another one")

    raises()


fails()
"""


@pytest.mark.parametrize("command", [["explain", "DBK0014"], ["--help"], ["completion", "bash"], ["explain"]])
def test_what_can_t_be_written_is_an_error_of_its_own_and_a_reader_that_left_is_none(command: list[str]) -> None:
    """A full disk is neither success nor a run that failed."""
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run([str(BIN), *command], stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 8, done.stderr
    assert "the results can't be written to stdout" in done.stderr
    # `| head` took what it wanted.
    with subprocess.Popen([str(BIN), *command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as left:
        assert left.stdout
        assert left.stderr
        left.stdout.close()
        assert (left.wait(30), left.stderr.read()) == (0, "")


def test_a_log_line_says_no_field_twice(running: Standalone, dags: Path) -> None:
    """Whoever reads JSON keeps one of two fields of a name: a line's own message must not be lost to another."""
    write_dag(dags, "broken.py", "this is no Python")
    write_dag(dags, "fails.py", RAISES)
    running.wait_dag("fails")
    assert running.trigger("fails", "r1").status_code == 200
    assert running.api.wait_run("fails", "r1") == "failed"
    assert running.process.stop() == 0

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        names = [name for name, _ in pairs]
        assert len(set(names)) == len(names), names
        return dict(pairs)

    lines = [it for it in running.process.log.read_text().splitlines() if it.startswith("{")]
    found = [json.loads(line, object_pairs_hook=once) for line in lines]
    assert len(found) > 5, "there are lines"
    assert all(line["message"] and line["level"] and line["timestamp"] for line in found)
