"""Exact mode held against Dagbok's own runtime: the same file, the values that go between them, one run on both."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "e2e"), str(HERE)]

from harness import ROOT, Cli  # noqa: E402

from test_exact import VERSIONS, Story, exact, python  # noqa: E402

DAGS = HERE / "dags"
OWN = Path(os.environ.get("DAGBOK_PYTHON", sys.executable))
Json = dict[str, Any]


def asked(interpreter: Path, script: str, *args: str, folder: Path) -> Json:
    """What a script here prints last, in some Python."""
    env = {**os.environ, "AIRFLOW_HOME": str(folder / "airflow")}
    done = subprocess.run([interpreter, HERE / script, *args], capture_output=True, text=True, env=env, check=False)
    assert done.returncode == 0, done.stderr
    told: Json = json.loads(done.stdout.splitlines()[-1])
    return told


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Json:
    """What Dagbok's own parser makes of every kind of schedule."""
    folder = tmp_path_factory.mktemp("ours")
    return asked(OWN, "answer.py", "own", str(DAGS), "schedules.py", folder=folder)


@pytest.mark.parametrize("version", VERSIONS)
def test_every_schedule_is_what_our_own_parser_makes_of_it(version: str, ours: Json, tmp_path: Path) -> None:
    theirs = asked(python(version), "answer.py", "exact", str(DAGS), "schedules.py", folder=tmp_path)
    assert (ours["errors"], theirs["errors"]) == ([], [])
    assert len(ours["dags"]) > 25
    for dag_id, own in ours["dags"].items():
        dag = dict(theirs["dags"][dag_id])
        # A trigger's arguments are in the form of whose runtime made them; Airflow knows no lines of tasks.
        assert [without_kwargs(one) for one in dag.pop("watchers", [])] == [
            without_kwargs(one) for one in own.get("watchers", [])
        ]
        told = [without_line(one) for one in own.get("not_carried_out", [])]
        assert dag.pop("not_carried_out", []) == told
        assert dag == {name: it for name, it in own.items() if name not in ("watchers", "not_carried_out")}


def without_kwargs(watcher: Json) -> Json:
    return {**watcher, "trigger": watcher["trigger"]["class_path"]}


def without_line(told: Json) -> Json:
    return {name: it for name, it in told.items() if name != "line"}


@pytest.mark.parametrize("version", VERSIONS)
def test_every_schedule_is_taken_by_the_whole(version: str, tmp_path: Path) -> None:
    folder = tmp_path / "dags"
    folder.mkdir()
    (folder / "schedules.py").write_text((DAGS / "schedules.py").read_text())
    done = exact(version, tmp_path).run("dags", "check", str(folder))
    assert done.returncode == 0, done.stderr + done.stdout
    assert "0 errors" in done.stdout + done.stderr


@pytest.mark.parametrize("version", VERSIONS)
def test_whatever_the_task_runner_may_ask_is_answered_or_said_to_be_missing(version: str, tmp_path: Path) -> None:
    told = asked(python(version), "kinds.py", folder=tmp_path)
    files = [*(ROOT / "services/executor/src").rglob("*.rs"), *(ROOT / "shared/inbox/src").rglob("*.rs")]
    answers = "".join(file.read_text() for file in files)
    assert len(told) > 30
    assert [kind for kind, how in told.items() if how == "executor" and f'"{kind}"' not in answers] == []


def test_a_retry_policy_that_gives_up_is_the_last_word(tmp_path: Path) -> None:
    cli = exact("3.3.2", tmp_path, EXACT_MARK=str(tmp_path / "marks"))
    story = Story(cli, "gives_up", tmp_path, file=DAGS / "policy.py")
    assert story.tasks == {"hopeless": "failed"}
    assert story.count("TryStarted") == 1
    assert (tmp_path / "marks").read_text() == "failed 1\n"
    (failed,) = [fact for fact in story.facts if fact["type"] == "TryFailed"]
    assert "the reason it gives" in json.dumps(failed)


def test_what_a_task_starts_is_not_of_exact_mode(tmp_path: Path) -> None:
    dagbok = {"EXACT_DAGBOK": os.environ.get("DAGBOK_BIN", "dagbok"), "EXACT_FILE": str(DAGS / "both.py")}
    cli = exact("3.3.2", tmp_path, DAGBOK_PYTHON=str(OWN), **dagbok)
    story = Story(cli, "starts_another", tmp_path, file=DAGS / "policy.py")
    assert story.value("own_runtime") == "by_us []"


@pytest.mark.parametrize("version", VERSIONS)
def test_assets_are_found_by_their_names_uris_and_aliases(version: str, tmp_path: Path) -> None:
    story = Story(exact(version, tmp_path), "named_assets", tmp_path)
    assert story.value("reads") == [2, 2]
    assert story.tasks["of_nobody"] == "failed", "of an asset that nobody names it is said"
    (failed,) = [fact for fact in story.facts if fact["type"] == "TryFailed"]
    assert "no DAG names an asset `nobodys`" in json.dumps(failed)


def beside(version: str, folder: Path, more: str) -> Cli:
    """A command line whose configuration has Airflow run some tries."""
    config = folder / "dagbok.toml"
    config.write_text(f'[airflow]\npython = "{python(version)}"\n{more}\n')
    return Cli(args=["--config", str(config)], env={"AIRFLOW_HOME": str(folder / "airflow")})


@pytest.mark.parametrize("version", VERSIONS)
def test_values_go_from_one_runtime_to_the_other_in_one_run(version: str, tmp_path: Path) -> None:
    cli = beside(version, tmp_path, 'pools = ["leg*"]')
    story = Story(cli, "crossing", tmp_path, file=DAGS / "crossing.py")
    assert story.state == "success", story.said
    assert story.value("back") == "all came"
    assert story.value("total") == 6.0


def test_airflows_own_folder_is_this_users_and_of_its_version(tmp_path: Path) -> None:
    data = tmp_path / "data"
    args = ["--runtime", "airflow", "--airflow-python", str(python("3.3.2"))]
    env = {name: it for name, it in os.environ.items() if name != "AIRFLOW_HOME"}
    argv = [env.get("DAGBOK_BIN", "dagbok"), *args, "dags", "show", str(DAGS / "both.py"), "--dag", "by_us"]
    env["XDG_DATA_HOME"] = str(data)
    assert subprocess.run(argv, env=env, capture_output=True, check=False).returncode == 0
    folder = data / "dagbok" / "airflow-3.3.2"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    folder.chmod(0o777)
    done = subprocess.run(argv, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 8
    assert "other users may write to it" in done.stderr
    assert "AIRFLOW_HOME" in done.stderr
