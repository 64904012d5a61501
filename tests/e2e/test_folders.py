"""Several DAG folders at once: each with its own code, and no file of one taken for another's."""

from pathlib import Path
from typing import Any

import pytest
from harness import Cli, Standalone, standalone, wait_until, write_dag

ETL = """
from airflow.decorators import dag, task
from helper import WORD

@dag(schedule=None)
def {dag_id}():
    @task
    def speaks():
        from helper import WORD as now
        return [WORD, now]
    speaks()

{dag_id}()
"""
SAME = """
from airflow import DAG
from airflow.operators.empty import EmptyOperator

with DAG("same", schedule=None):
    EmptyOperator(task_id="{task_id}")
"""


@pytest.fixture
def teams(tmp_path: Path) -> tuple[Path, Path]:
    """Two folders, with a file and a helper of the same names in both."""
    made = []
    for team in ("red", "blue"):
        folder = tmp_path / team / "dags"
        folder.mkdir(parents=True)
        write_dag(folder, "helper.py", f"WORD = {team!r}\n")
        write_dag(folder, "etl.py", ETL.format(dag_id=f"etl_{team}"))
        made.append(folder)
    return made[0], made[1]


def run(running: Standalone, dag_id: str, run_id: str) -> Any:
    """Runs a DAG; returns what its task handed on."""
    assert running.trigger(dag_id, run_id).status_code == 200
    assert running.api.wait_run(dag_id, run_id) == "success"
    at = f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/speaks/xcomEntries/return_value"
    return running.api.get(at)["value"]


def facts(running: Standalone, kind: str) -> list[dict[str, Any]]:
    """What the log says of this kind."""
    return [fact for record in running.api.events() for fact in record["facts"] if fact["type"] == kind]


def test_files_of_one_name_in_two_folders_are_two_files(tmp_path: Path, teams: tuple[Path, Path]) -> None:
    red, blue = teams
    with standalone(tmp_path, red, "--dags", str(blue)) as running:
        for team, file in (("red", "etl.py"), ("blue", "blue//etl.py")):
            shown = running.wait_dag(f"etl_{team}")
            assert (shown["fileloc"], shown["relative_fileloc"]) == (file, "etl.py")
            assert shown["bundle_name"] == {"red": "dags", "blue": "blue"}[team]
            assert run(running, f"etl_{team}", "r1") == [team, team]
            text = ETL.format(dag_id=f"etl_{team}")
            assert running.api.get(f"/dagSources/etl_{team}")["content"] == text
            assert running.api.get(f"/dagbok/ui/dags/etl_{team}/code")["content"] == text
            helper = running.api.get(f"/dagbok/ui/dags/etl_{team}/code", file="helper.py")
            assert helper["content"] == f"WORD = {team!r}\n"
        assert "blue//etl.py" in running.cli.ok("dags", "list")

        # A helper that changes is another code of its own folder alone.
        write_dag(blue, "helper.py", "WORD = 'navy'\n")

        def changed() -> bool:
            helper = running.api.get("/dagbok/ui/dags/etl_blue/code", file="helper.py")
            return "navy" in str(helper["content"])

        wait_until("the changed code", changed)
        assert run(running, "etl_blue", "r2") == ["navy", "navy"]
        assert run(running, "etl_red", "r2") == ["red", "red"]

        # A file that can't be read is named with its folder, and the other of its name goes on.
        write_dag(blue, "etl.py", "from airflow import DAG\nimport nowhere_at_all\n")
        errors = wait_until("the import error", lambda: running.api.get("/importErrors")["import_errors"])
        assert [(it["filename"], it["bundle_name"]) for it in errors] == [("blue//etl.py", "blue")]
        assert run(running, "etl_red", "r3") == ["red", "red"]
        assert run(running, "etl_blue", "r3") == ["navy", "navy"], "it has the code that it had"


def test_an_id_in_two_folders_is_an_error_that_names_both_and_the_first_keeps_it(
    tmp_path: Path, teams: tuple[Path, Path]
) -> None:
    red, blue = teams
    first = write_dag(blue, "first.py", SAME.format(task_id="of_blue"))
    with standalone(tmp_path, red, "--dags", str(blue)) as running:
        running.wait_dag("same")
        write_dag(red, "second.py", SAME.format(task_id="of_red"))

        def errors() -> list[tuple[str, str]]:
            found = running.api.get("/importErrors")["import_errors"]
            return [(it["filename"], it["stack_trace"]) for it in found]

        ((file, text),) = wait_until("the error", errors)
        assert file == "second.py"
        assert "blue//first.py" in text
        running.restart()
        assert [file for file, _ in errors()] == ["second.py"]
        first.unlink()
        wait_until("the other file's turn", lambda: not errors())
        shown = running.wait_dag("same")
        assert shown["fileloc"] == "second.py"
        assert not shown["is_stale"]


def test_a_folder_that_is_away_or_new_makes_no_dag_vanish(tmp_path: Path, teams: tuple[Path, Path]) -> None:
    red, blue = teams
    with standalone(tmp_path, red) as running:
        running.wait_dag("etl_red")
        assert running.api.patch("/dags/etl_red", {"is_paused": True}).status_code == 200
        # A second folder, named before the first.
        argv = running.process.argv
        at = argv.index(str(red))
        running.process.argv = [*argv[:at], str(blue), "--dags", str(red), *argv[at + 1 :]]
        running.restart()
        running.wait_dag("etl_blue")
        assert run(running, "etl_blue", "r1") == ["blue", "blue"]

        # Taken away, as a mount that is gone, and brought back.
        blue.rename(blue.parent / "away")
        write_dag(red, "more.py", SAME.format(task_id="a"))
        running.wait_dag("same")
        assert not running.api.get("/dags/etl_blue")["is_stale"]
        (blue.parent / "away").rename(blue)
        write_dag(blue, "helper.py", "WORD = 'back'\n")
        wait_until("its code", lambda: run_word(running) == "back")

        # Back to one.
        running.process.argv = argv
        running.restart()
        wait_until("the other folder's end", lambda: running.api.get("/dags/etl_blue")["is_stale"])
        shown = running.api.get("/dags/etl_red")
        assert (shown["is_paused"], shown["is_stale"], shown["fileloc"]) == (True, False, "etl.py")
        assert [it["file"] for it in facts(running, "DagDisappeared")] == ["blue//etl.py"]
        versions = [it for it in facts(running, "DagRegistered") if it["spec"]["dag_id"] == "etl_red"]
        assert len(versions) == 1


def test_a_folder_that_is_given_another_name_keeps_its_dags(tmp_path: Path, teams: tuple[Path, Path]) -> None:
    red, _ = teams
    with standalone(tmp_path, red) as running:
        running.wait_dag("etl_red")
        assert running.api.patch("/dags/etl_red", {"is_paused": True}).status_code == 200
        at = running.process.argv.index(str(red))
        for named, file in ((f"red={red}", "red//etl.py"), (f"ruby={red}", "ruby//etl.py"), (str(red), "ruby//etl.py")):
            running.process.argv[at] = named
            running.restart()

            def shown(file: str = file) -> dict[str, Any]:
                found: dict[str, Any] = running.api.get("/dags/etl_red")
                return found if (found["fileloc"], found["is_stale"]) == (file, False) else {}

            assert wait_until(f"the DAG from {file}", shown)["is_paused"]
            assert running.api.get("/importErrors")["import_errors"] == []
        gone = [it["file"] for it in facts(running, "DagDisappeared")]
        assert gone == ["etl.py", "red//etl.py"]
        # A change of its code reaches it.
        write_dag(red, "etl.py", ETL.format(dag_id="etl_red").replace("speaks", "talks"))
        wait_until(
            "the change", lambda: [it["task_id"] for it in running.api.get("/dags/etl_red/tasks")["tasks"]] == ["talks"]
        )


def run_word(running: Standalone) -> str:
    """What the helper of `blue` says, as the code page has it."""
    helper = running.api.get("/dagbok/ui/dags/etl_blue/code", file="helper.py")
    return str(helper["content"]).removeprefix("WORD = '").removesuffix("'\n")


def test_what_names_folders_wrongly_is_refused_and_commands_look_at_all(
    tmp_path: Path, teams: tuple[Path, Path]
) -> None:
    red, blue = teams
    inner = red / "inner"
    inner.mkdir()
    it = Standalone(tmp_path, red, "--dags", str(inner))
    it.process.start()
    assert it.process.ends() != 0
    said = it.process.log.read_text()
    assert "lies in" in said
    assert str(inner) in said

    # What only the processor can see is the configuration's fault all the same.
    for one in ("one", "two"):
        (tmp_path / one / "etl").mkdir(parents=True)
    it = Standalone(tmp_path, red.parent / "dags", *(f"--dags={tmp_path / one / 'etl'}" for one in ("one", "two")))
    inner.rmdir()
    it.process.start()
    assert it.process.ends() == 2
    said = it.process.log.read_text()
    assert "would both go by the name `etl`" in said
    assert "DBK0002" in said

    it = Standalone(tmp_path, Path(f"dags={red}"))
    it.process.start()
    assert it.process.ends() == 2
    assert f"`default={red}` gives it none" in it.process.log.read_text()

    both = f"[processor]\ndags = [{str(red)!r}, {f'navy={blue}'!r}]\n"
    config = tmp_path / "dagbok.toml"
    config.write_text(both)
    cli = Cli(["--config", str(config), "--home", str(tmp_path / "none")])
    assert "success" in cli.ok("dags", "test", "etl_blue")
    checked = cli.json("dags", "check")
    assert (checked["files"], checked["dags"], checked["ok"]) == (2, 2, True)
    write_dag(red, "first.py", SAME.format(task_id="a"))
    write_dag(blue, "first.py", SAME.format(task_id="a"))
    found = cli.run("dags", "check", "--json")
    assert found.returncode != 0
    assert str(red / "first.py") in found.stdout
    assert str(blue / "first.py") in found.stdout
    assert len(cli.lines("providers", "list")) == 2
    asked = cli.run("providers", "install", "http")
    assert asked.returncode != 0
    assert "which DAG folder" in asked.stderr
