"""A DAG file runs from the log: embedded, by command line and API."""

import json
from pathlib import Path

import pytest
from dags import FAILS, chain, hello
from harness import ROOT, Cli, Standalone, check_history, wait_until, write_dag

EXAMPLES = ROOT / "deploy/examples/dags"
ACCEPTED = [
    "recommendation_training_pipeline",
    "recommendation_pipeline",
    "hyperparameter_sweep",
    "artifacts_by_path",
]


@pytest.mark.parametrize("dag_id", ACCEPTED)
def test_acceptance_files_run_unmodified(acceptance: Path, tmp_path: Path, dag_id: str) -> None:
    env = {"ML_STORE": str(tmp_path / "store"), "ML_ARTIFACTS": str(tmp_path / "artifacts")}
    done = Cli(env=env).run("dags", "test", str(acceptance / f"{dag_id}.py"), "--json")
    assert done.returncode == 0, done.stderr + done.stdout[-2000:]
    if dag_id == "recommendation_training_pipeline":
        models = list((tmp_path / "store").glob("model-*.json"))
        assert json.loads(models[0].read_text())["accuracy"] > 0.82


def test_examples_run(tmp_path: Path) -> None:
    files = sorted(EXAMPLES.glob("*.py"))
    assert files
    for file in files:
        done = Cli(env={"DAGBOK_EXAMPLE_STORE": str(tmp_path)}).run("dags", "test", str(file))
        assert done.returncode == 0, f"{file.name}: {done.stdout[-2000:]}{done.stderr[-2000:]}"


def test_trigger_by_api_and_see_every_fact(running: Standalone, dags: Path) -> None:
    write_dag(dags, "chain.py", chain("chain", 3))
    running.wait_dag("chain")
    answer = running.trigger("chain", "r1", conf={"a": 1}, note="first")
    assert answer.status_code == 200, answer.text
    assert running.api.wait_run("chain", "r1") == "success"
    tasks = running.api.get("/dags/chain/dagRuns/r1/taskInstances")["task_instances"]
    assert [(it["task_id"], it["state"], it["try_number"]) for it in tasks] == [
        (f"step_{number}", "success", 1) for number in range(3)
    ]
    value = running.api.get("/dags/chain/dagRuns/r1/taskInstances/step_2/xcomEntries/return_value")
    assert value["value"] == 2
    check_history(running.api.events(), {("chain", "r1")})


def test_a_duplicate_run_is_refused(running: Standalone, dags: Path) -> None:
    write_dag(dags, "hello.py", hello("hello"))
    running.wait_dag("hello")
    assert running.trigger("hello", "r1").status_code == 200
    assert running.trigger("hello", "r1").status_code == 409
    assert running.trigger("nobody", "r1").status_code == 404


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("raises", "exception"),
        ("hangs", "timeout"),
        ("killed", "signal"),
        ("leaves", "exit"),
        ("starves", "out_of_memory"),
    ],
)
def test_bad_ends_are_told_apart(running: Standalone, dags: Path, name: str, kind: str) -> None:
    write_dag(dags, "fails.py", FAILS)
    dag_id = f"fails_{name}"
    running.wait_dag(dag_id)
    running.trigger(dag_id, "r1")
    assert running.api.wait_run(dag_id, "r1") == "failed"
    facts = [fact for record in running.api.events() for fact in record["facts"]]
    failures = [fact for fact in facts if fact["type"] == "TryFailed"]
    assert [failure["failure"]["kind"] for failure in failures] == [kind]
    assert failures[0]["usage"]["max_rss_bytes"] > 1_000_000
    assert any(fact["type"] == "TaskRuledOut" and fact["why"] == "upstream_failed" for fact in facts)


def test_retries_are_made_with_their_delay(running: Standalone, dags: Path) -> None:
    write_dag(dags, "fails.py", FAILS)
    running.wait_dag("fails_retries")
    running.trigger("fails_retries", "r1")
    assert running.api.wait_run("fails_retries", "r1") == "failed"
    facts = [fact for record in running.api.events() for fact in record["facts"]]
    tries = [fact for fact in facts if fact["type"] == "TryFailed"]
    assert [(it["try_number"], "retry_at" in it) for it in tries] == [(1, True), (2, True), (3, False)]


def test_a_run_uses_the_code_it_was_created_with(running: Standalone, dags: Path) -> None:
    write_dag(dags, "chain.py", chain("chain", 3, pause=0.5))
    running.wait_dag("chain")
    running.trigger("chain", "old")
    wait_until("the first step", lambda: "TryStarted" in str(running.api.events()))
    write_dag(dags, "chain.py", chain("chain", 2))
    wait_until("the new version", lambda: str(running.api.events()).count("'DagRegistered'") == 2)
    running.trigger("chain", "new")
    assert running.api.wait_run("chain", "old") == "success"
    assert running.api.wait_run("chain", "new") == "success"
    count = {
        run: running.api.get(f"/dags/chain/dagRuns/{run}/taskInstances")["total_entries"] for run in ("old", "new")
    }
    assert count == {"old": 3, "new": 2}


def test_a_broken_file_is_told_and_its_last_good_version_runs_on(running: Standalone, dags: Path) -> None:
    write_dag(dags, "hello.py", hello("hello"))
    running.wait_dag("hello")
    write_dag(dags, "hello.py", "from airflow import DAG\nimport no_such_module_here\n")
    errors = wait_until("the import error", lambda: running.api.get("/importErrors")["import_errors"])
    assert "no_such_module_here" in errors[0]["stack_trace"]
    assert running.trigger("hello", "r1").status_code == 200
    assert running.api.wait_run("hello", "r1") == "success"
    write_dag(dags, "hello.py", hello("hello"))
    wait_until("the recovery", lambda: not running.api.get("/importErrors")["import_errors"])
    (dags / "hello.py").unlink()
    wait_until("the DAG's end", lambda: "DagDisappeared" in str(running.api.events()))
    assert running.trigger("hello", "r2").status_code == 404


def test_why_a_task_waits_is_said(running: Standalone, dags: Path) -> None:
    write_dag(dags, "chain.py", chain("chain", 2))
    running.wait_dag("chain")
    running.cli.ok("dags", "pause", "chain")
    assert running.trigger("chain", "r1").status_code == 200
    why = ("tasks", "why", "chain", "r1")

    def kinds(task: str) -> list[str]:
        return [reason["kind"] for reason in running.cli.json(*why, task)["is"]["reasons"]]

    assert kinds("step_0") == ["run_queued", "paused"]
    assert kinds("step_1") == ["upstream", "run_queued", "paused"]
    assert "upstream tasks are not done" in running.cli.ok(*why, "step_1")
    assert running.cli.run(*why, "nobody").returncode == 3
    running.cli.ok("dags", "unpause", "chain")
    assert running.api.wait_run("chain", "r1") == "success"
    assert "step_0 of chain/r1 succeeded" in running.cli.ok(*why, "step_0")
    assert running.process.stop() == 0
    stopped = Cli(["--home", str(running.home)]).ok(*why, "step_0")
    assert "succeeded" in stopped, "what is over is told by the log alone"
