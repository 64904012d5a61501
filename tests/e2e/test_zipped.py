"""Zipped DAGs: a zip in the DAG folder, with modules at its top and what those import."""

import zipfile
from pathlib import Path
from typing import Any

from harness import Cli, Standalone, standalone, wait_until

FIRST = """
from airflow.decorators import dag, task
from team.words import say

@dag(schedule=None)
def {dag_id}():
    @task
    def speaks():
        print(say())
        return say()
    speaks()

{dag_id}()
"""
DEFERS = """
from airflow import DAG
from airflow.sdk import BaseOperator
from waits import Soon

class Waits(BaseOperator):
    def execute(self, context):
        self.defer(trigger=Soon(), method_name="after")
    def after(self, context, event):
        return event

with DAG("{dag_id}", schedule=None):
    Waits(task_id="waits")
"""
WAITS = """
from airflow.triggers.base import BaseTrigger, TriggerEvent

class Soon(BaseTrigger):
    def serialize(self):
        return ("waits.Soon", {{}})
    async def run(self):
        yield TriggerEvent("{word}")
"""


def write_zip(folder: Path, name: str, files: dict[str, str]) -> Path:
    """Writes a zip whole, so that a watcher never reads half of it."""
    draft = folder / f".{name}.new"
    with zipfile.ZipFile(draft, "w", zipfile.ZIP_DEFLATED) as made:
        for inside, text in files.items():
            made.writestr(inside, text)
    return draft.replace(folder / name)


def package(dag_id: str, word: str, **more: str) -> dict[str, str]:
    """A module with a DAG, one whose task defers, and the package and the module that they import."""
    return {
        f"{dag_id}.py": FIRST.format(dag_id=dag_id),
        f"{dag_id}_defers.py": DEFERS.format(dag_id=f"{dag_id}_defers"),
        "waits.py": WAITS.format(word=word),
        "team/__init__.py": "",
        "team/words.py": f"WORD = {word!r}\ndef say():\n    return 'the word is ' + WORD\n",
        **{f"{stem}.py": text for stem, text in more.items()},
    }


def value(running: Standalone, dag_id: str, run_id: str, task_id: str) -> Any:
    """Runs a DAG; returns what a task of it handed on."""
    assert running.trigger(dag_id, run_id).status_code == 200
    assert running.api.wait_run(dag_id, run_id) == "success"
    at = f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/xcomEntries/return_value"
    return running.api.get(at)["value"]


def words(running: Standalone, **of: str) -> str:
    """The text of a helper in a zip, now or as a run ran it."""
    file = "one.zip/team/words.py"
    return str(running.api.get("/dagbok/ui/dags/one/code", file=file, **of)["content"])


def test_dags_run_from_zips_and_each_with_its_own_modules(tmp_path: Path, dags: Path) -> None:
    write_zip(dags, "one.zip", package("one", "first"))
    write_zip(dags, "two.zip", package("two", "second"))
    # What lies beside the zips under the same name is none of theirs.
    (dags / "waits.py").write_text(WAITS.format(word="folder"))
    with standalone(tmp_path, dags) as running:
        for dag_id, word in (("one", "first"), ("two", "second")):
            shown = running.wait_dag(dag_id)
            assert shown["relative_fileloc"] == f"{dag_id}.zip/{dag_id}.py"
            running.wait_dag(f"{dag_id}_defers")
            assert value(running, dag_id, "r1", "speaks") == f"the word is {word}"
        # The triggerer runs both at the same time, and each class is that of its own zip.
        for dag_id in ("one_defers", "two_defers"):
            assert running.trigger(dag_id, "r0").status_code == 200
        assert value(running, "one_defers", "r1", "waits") == "first"
        assert value(running, "two_defers", "r1", "waits") == "second"
        assert "the word is first" in running.cli.ok("tasks", "logs", "one", "r1", "speaks")
        source = running.api.get("/dagSources/one")
        assert source["content"] == FIRST.format(dag_id="one")
        assert "WORD = 'first'" in words(running)
        assert "one.zip/one.py" in running.cli.ok("dags", "list", "--json")

        # A helper that changes is another code, which the next run has.
        write_zip(dags, "one.zip", package("one", "changed"))
        wait_until("the changed code", lambda: "'changed'" in words(running))
        assert value(running, "one", "r2", "speaks") == "the word is changed"
        assert value(running, "two", "r2", "speaks") == "the word is second"
        assert "WORD = 'first'" in words(running, run_id="r1")


def test_what_can_not_be_read_is_told_with_its_place_and_keeps_the_code_that_it_had(tmp_path: Path, dags: Path) -> None:
    bad = "from airflow import DAG\nimport nowhere_at_all\n"
    write_zip(dags, "one.zip", package("one", "first", bad=bad))
    with standalone(tmp_path, dags) as running:
        running.wait_dag("one")

        def errors() -> dict[str, str]:
            found = running.api.get("/importErrors")["import_errors"]
            return {error["filename"]: error["stack_trace"] for error in found}

        wait_until("the import error", lambda: "one.zip/bad.py" in errors())
        assert "nowhere_at_all" in errors()["one.zip/bad.py"]
        assert value(running, "one", "r1", "speaks") == "the word is first"
        whole = (dags / "one.zip").read_bytes()
        draft = dags / ".half"
        draft.write_bytes(whole[: len(whole) // 2])
        draft.replace(dags / "one.zip")
        wait_until("the broken zip", lambda: "not complete" in errors().get("one.zip/one.py", ""))
        assert value(running, "one", "r2", "speaks") == "the word is first"
        running.restart()
        wait_until("the broken zip", lambda: "not complete" in errors().get("one.zip/one.py", ""))
        assert value(running, "one", "r3", "speaks") == "the word is first"
        write_zip(dags, "one.zip", package("one", "mended"))
        wait_until("the mended zip", lambda: not errors())
        assert value(running, "one", "r4", "speaks") == "the word is mended"


def test_zips_at_ones_desk(dags: Path) -> None:
    write_zip(dags, "one.zip", package("one", "first"))
    bad = "from airflow import DAG\nraise ValueError('no')\n"
    write_zip(dags, "bad.zip", {"bad.py": bad})
    done = Cli().run("dags", "check", str(dags))
    assert done.returncode == 7, done.stderr
    assert "bad.zip/bad.py:2: ValueError: no" in done.stdout
    assert "3 files, 2 DAGs, 1 error" in done.stdout
    file = str(dags / "one.zip" / "one.py")
    assert "the word is first" in Cli().ok("dags", "test", file)
    assert "the word is first" in Cli().ok("dags", "test", "one", "--dags", str(dags))
    assert Cli().json("tasks", "test", file, "speaks")["xcoms"]["return_value"] == "the word is first"
    assert Cli().run("dags", "show", str(dags / "bad.zip")).returncode == 7
    done = Cli().run("dags", "show", str(dags / "one.zip"))
    assert done.returncode != 0
    assert "one.py, one_defers.py" in done.stderr
    (dags / "one.zip").write_bytes(b"PK\x03\x04" + b"\0" * 22 + b"\x04\0\0\0a.py")
    done = Cli().run("dags", "check", str(dags))
    assert "one.zip: BadZipFile" in done.stdout
