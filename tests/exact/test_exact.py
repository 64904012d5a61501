"""Exact mode: an installed Airflow's own parser and task runner behind our executor, on three versions of it.

`make exact` runs it: it makes the three environments, minutes the first time. `make test` leaves it out.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "e2e"))

from harness import ROOT, Cli, wait_until  # noqa: E402

DAGS = HERE / "dags" / "plain.py"
VERSIONS = ["3.3.2", "3.2.2", "3.1.8"]
THINGS = {"conn_type": "http", "host": "example.com", "login": "me", "password": "hush-hush", "extra": {"region": "eu"}}
Json = dict[str, Any]


def python(version: str) -> Path:
    """The Python of one of the environments."""
    return ROOT / ".tools" / f"exact-{version}" / "bin" / "python"


@pytest.fixture(params=VERSIONS)
def airflow(request: pytest.FixtureRequest, tmp_path: Path) -> Cli:
    """A command line in exact mode."""
    return exact(request.param, tmp_path)


def exact(version: str, folder: Path, **env: str) -> Cli:
    args = ["--runtime", "airflow", "--airflow-python", str(python(version))]
    return Cli(args=args, env={"AIRFLOW_HOME": str(folder / "airflow"), **env})


class Story:
    """A run of one DAG: its state, its tasks' states, what they handed on, their logs."""

    def __init__(self, cli: Cli, dag_id: str, folder: Path, *more: str, file: Path = DAGS) -> None:
        home = folder / dag_id
        shutil.rmtree(home, ignore_errors=True)
        done = cli.run("dags", "test", str(file), "--dag", dag_id, "--keep", str(home), "--json", *more)
        assert done.stdout, done.stderr
        self.told: Json = json.loads(done.stdout)
        self.said = done.stderr + done.stdout
        self.state = self.told["state"]
        self.tasks = {task: it["state"] for task, it in self.told["tasks"].items()}
        self.facts = [
            fact
            for record in Cli(env=cli.env).lines("events", "--home", str(home), "--dag", dag_id)
            for fact in record["facts"]
        ]

    def value(self, task_id: str, key: str = "return_value", copy: int | None = None) -> Any:
        """What a task handed on, as it stands on the log."""
        found = [
            fact["value"]["Inline"]
            for fact in self.facts
            if fact["type"] == "XComPushed"
            and (fact["task_id"], fact["key"]) == (task_id, key)
            and (copy is None or fact.get("map_index") == copy)
        ]
        assert found, f"{task_id} pushed no {key}: {self.told} {self.said[-3000:]}"
        return json.loads(found[-1])

    def count(self, kind: str) -> int:
        return sum(fact["type"] == kind for fact in self.facts)


def lines(cli: Cli, dag_id: str) -> str:
    """What a run shows of its tasks' logs."""
    done = cli.run("dags", "test", str(DAGS), "--dag", dag_id)
    return done.stdout + done.stderr


def test_values_go_on_with_their_types_and_templates_have_airflows_names(airflow: Cli, tmp_path: Path) -> None:
    story = Story(airflow, "values", tmp_path)
    assert story.state == "success", story.said
    assert story.value("read") == "6 2026-01-02 1 ann manual"
    assert story.value("made", "numbers") == [1, 2, 3]
    assert story.value("templates") == "values templates ann 6 2026-01-02 1 ann manual"


def test_conf_reaches_params(airflow: Cli, tmp_path: Path) -> None:
    story = Story(airflow, "values", tmp_path, "--conf", '{"name": "bo"}')
    assert story.value("read") == "6 2026-01-02 1 bo manual"


def test_mapped_tasks_and_groups(airflow: Cli, tmp_path: Path) -> None:
    story = Story(airflow, "mapped", tmp_path)
    assert story.state == "success", story.said
    assert (story.value("total"), story.value("of_groups")) == (15, 12)


def test_branches_skips_and_short_circuits(airflow: Cli, tmp_path: Path) -> None:
    story = Story(airflow, "branches", tmp_path)
    assert story.state == "success", story.said
    skipped = dict.fromkeys(["left", "right", "after"], "skipped")
    assert story.tasks == dict.fromkeys(["choose", "stop", "at_last"], "success") | skipped


def test_retries_and_a_failure_for_good(airflow: Cli, tmp_path: Path) -> None:
    story = Story(airflow, "retried", tmp_path)
    assert story.state == "failed"
    assert story.tasks == {"again": "success", "for_good": "failed"}
    assert story.value("again") == 2
    (failed,) = [fact for fact in story.facts if fact["type"] == "TryFailed" and fact["task_id"] == "for_good"]
    assert "no retry helps" in json.dumps(failed)
    assert "plain.py" in json.dumps(failed), "it says where in the file"


def test_sensors_go_on_later_and_deferred_tasks_after_their_trigger(airflow: Cli, tmp_path: Path) -> None:
    airflow.env["EXACT_MARK"] = uuid.uuid4().hex
    story = Story(airflow, "waits", tmp_path)
    assert story.state == "success", story.said
    assert story.count("TryRescheduled") == 1
    assert story.count("TryDeferred") == 1
    assert story.value("looked_at") == "there"


def test_connections_and_variables_and_their_secrets(airflow: Cli, tmp_path: Path) -> None:
    airflow.env |= {"AIRFLOW_CONN_THINGS": json.dumps(THINGS), "AIRFLOW_VAR_GREETING": "hello"}
    story = Story(airflow, "asks", tmp_path)
    assert story.value("connections") == "example.com me eu"
    said = lines(airflow, "asks")
    assert "hush-hush" not in said
    assert "password ***" in said
    assert story.tasks["missing"] == "failed"


def test_lines_of_the_log_have_levels_and_tracebacks(airflow: Cli) -> None:
    said = lines(airflow, "retried")
    assert "warning: try 1" in said
    assert "RuntimeError: the first time" in said
    assert "plain.py" in said, "a traceback names the file"


def test_callbacks_are_called(airflow: Cli, tmp_path: Path) -> None:
    airflow.env["EXACT_MARK"] = str(tmp_path / "marks")
    Story(airflow, "called", tmp_path)
    assert sorted((tmp_path / "marks").read_text().split()) == ["failed", "of_dag", "success"]


def test_assets_that_tasks_bring_up_to_date(airflow: Cli, tmp_path: Path) -> None:
    story = Story(airflow, "assets", tmp_path)
    assert story.state == "success", story.said
    events = json.dumps([fact for fact in story.facts if "Asset" in fact["type"]])
    assert "s3://things/a" in events
    assert '\\"rows\\": 3' in events, events


def test_a_try_that_is_killed_is_lost_and_made_again(airflow: Cli, tmp_path: Path) -> None:
    home = tmp_path / "killed"
    argv = [os.environ.get("DAGBOK_BIN", "dagbok"), *airflow.args, "dags", "test", str(DAGS), "--dag", "killed"]
    airflow.env["EXACT_MARK"] = str(tmp_path / "pid")
    running = subprocess.Popen(
        [*argv, "--keep", str(home), "--json"], env={**os.environ, **airflow.env}, stdout=subprocess.PIPE, text=True
    )
    pid = wait_until("the task wrote its pid", lambda: (tmp_path / "pid").read_text() or None)
    (tmp_path / "pid").write_text("")
    os.kill(int(pid), signal.SIGKILL)
    told = json.loads(running.communicate(timeout=120)[0])
    assert told["tasks"]["slow"]["state"] == "failed"


def test_what_cannot_be_given_fails_its_task_and_says_what_to_do(airflow: Cli, tmp_path: Path) -> None:
    story = Story(airflow, "refused", tmp_path)
    assert story.tasks == {"as_nobody": "failed", "asks_a_person": "failed"}
    failed = {fact["task_id"]: json.dumps(fact) for fact in story.facts if fact["type"] == "TryFailed"}
    assert "run_as_user='nobody'" in failed["as_nobody"]
    assert "Dagbok has no tasks that wait for a person's answer" in failed["asks_a_person"]
    assert "run this DAG without exact mode" in failed["asks_a_person"]


def test_a_version_that_is_not_known_is_refused() -> None:
    done = Cli(args=["--runtime", "airflow", "--airflow-python", sys.executable]).run("dags", "show", str(DAGS))
    assert done.returncode == 8
    assert "DBK0047" in done.stderr
    assert "Airflow is not installed there" in done.stderr
    done = Cli(args=["--runtime", "airflow"]).run("dags", "show", str(DAGS))
    assert "DBK0047" in done.stderr


def test_all_versions_give_the_same_dags(tmp_path: Path) -> None:
    shown = [exact(version, tmp_path).json("dags", "show", str(DAGS), "--dag", "mapped") for version in VERSIONS]
    assert all(one == shown[0] for one in shown)


def test_airflow_runs_only_what_the_configuration_names(tmp_path: Path) -> None:
    folder = tmp_path / "dags"
    folder.mkdir()
    (folder / "both.py").write_text((HERE / "dags" / "both.py").read_text())
    for dag_id, ran_by in (("by_airflow", "3.3.2"), ("by_us", "dagbok")):
        config = tmp_path / "dagbok.toml"
        config.write_text(f'[airflow]\npython = "{python("3.3.2")}"\ndags = ["by_airflow"]\npools = ["none*"]\n')
        cli = Cli(args=["--config", str(config)], env={"AIRFLOW_HOME": str(tmp_path / "airflow")})
        done = cli.run("dags", "test", str(folder / "both.py"), "--dag", dag_id)
        assert done.returncode == 0, done.stderr + done.stdout
        assert f"ran by {ran_by}" in done.stdout + done.stderr
