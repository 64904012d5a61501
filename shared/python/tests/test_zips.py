"""Zipped DAGs: modules at the top of a zip in the DAG folder, and what they import from it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from conftest import Folder
from fake_supervisor import SOURCE, FakeSupervisor

DAG = """\
from airflow import DAG
from airflow.operators.python import PythonOperator
from helpers import NAME, call
from pack.inner import WORD
import pkgutil, inspect
from importlib.resources import files

def f(**context):
    import late
    print("says", call(), WORD, late.VALUE)
    print("data", pkgutil.get_data("pack", "data.txt").decode(), files("pack").joinpath("data.txt").read_text())
    print("source", inspect.getsource(f).splitlines()[0], __name__)

def fails():
    return call("x")

with DAG(NAME, schedule=None):
    PythonOperator(task_id="t", python_callable=f)
    PythonOperator(task_id="bad", python_callable=fails, retries=0)
"""


def _files(name: str, **more: str) -> dict[str, str]:
    helpers = f'NAME = "{name}"\n\ndef call(what=0):\n    return NAME + 1 if what else NAME\n'
    inside = {"helpers.py": helpers, "pack/__init__.py": "", "pack/data.txt": f"data of {name}"}
    inside |= {"pack/inner.py": f"WORD = 'word of {name}'\n", "late.py": f"VALUE = 'late of {name}'\n"}
    return inside | {"first.py": DAG} | {f"{stem}.py": text for stem, text in more.items()}


def write(folder: Folder, name: str, files: dict[str, str]) -> Path:
    path = folder.path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as made:
        for inside, text in files.items():
            made.writestr(inside, text)
    return path


def _told(folder: Folder, text: str) -> Any:
    """What a script of the folder's author says, in JSON; as with pytest, in a process of its own."""
    script = folder.path.parent / "own_test.py"
    script.write_text("import json\nfrom airflow.models import DagBag\n" + text)
    command = [sys.executable, "-m", "dagbok", str(script)]
    environment = {**os.environ, "PYTHONPATH": str(SOURCE)}
    done = subprocess.run(command, cwd=folder.path, env=environment, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return json.loads(done.stdout)


def test_a_module_of_a_zip_imports_what_lies_beside_it(folder: Folder) -> None:
    write(folder, "team/x.zip", _files("one"))
    (answer,) = folder.parse("team/x.zip/first.py")
    assert answer["errors"] == []
    (spec,) = answer["dags"]
    assert (spec["dag_id"], spec["source"]["file"]) == ("one", "team/x.zip/first.py")
    assert spec["source"]["line"] == DAG.splitlines().index("with DAG(NAME, schedule=None):") + 1
    # What the reading depends on: the zip.
    assert "team/x.zip" in answer["imports"]
    assert answer["warnings"] == []


def test_an_error_has_its_file_and_line_and_the_lines_of_the_text(folder: Folder) -> None:
    raises = "from airflow import DAG\nfrom pack import broken\n"
    write(
        folder,
        "x.zip",
        {
            "first.py": "from airflow import DAG\n\nraise ValueError('no')  # here\n",
            "second.py": "from airflow import DAG\ndef broken(:\n",
            "third.py": raises,
            "pack/__init__.py": "",
            "pack/broken.py": "X = 1\nY = X / 0  # there\n",
            "fourth.py": "from airflow import DAG\nimport nowhere_at_all\n",
        },
    )
    first, second, third, fourth = (
        folder.parse(f"x.zip/{name}.py")[0]["errors"][0] for name in ("first", "second", "third", "fourth")
    )
    assert (first["file"], first["line"], first["message"]) == ("x.zip/first.py", 3, "no")
    assert "raise ValueError('no')  # here" in first["traceback"]
    assert "frozen" not in third["traceback"]
    assert (second["file"], second["line"], second["exception"]) == ("x.zip/second.py", 2, "SyntaxError")
    assert (third["file"], third["line"]) == ("x.zip/pack/broken.py", 2)
    assert "Y = X / 0  # there" in third["traceback"]
    assert "from pack import broken" in third["traceback"]
    assert (fourth["file"], fourth["line"]) == ("x.zip/fourth.py", 2)
    (missing,) = folder.parse("x.zip/nope.py")[0]["errors"]
    assert "the zip has no such module" in missing["message"]


def test_two_zips_do_not_mix_and_a_zip_comes_before_what_is_installed(folder: Folder) -> None:
    write(folder, "x.zip", _files("one"))
    write(folder, "y.zip", _files("two"))
    folder.write("helpers.py", "raise RuntimeError('that of the folder')", header=False)
    answers = folder.parse("x.zip/first.py", "y.zip/first.py")
    assert [answer["dags"][0]["dag_id"] for answer in answers] == ["one", "two"]
    # What the zip does not have is found in the DAG folder; what Python has, there.
    folder.write("shared_names.py", "NAME = 'of_the_folder'\n", header=False)
    text = (
        "from airflow import DAG\nfrom shared_names import NAME\nimport queue, jinja2\n"
        "with DAG(NAME + queue.__name__ + jinja2.WHO, schedule=None): pass\n"
    )
    own = {"a.py": text, "queue.py": "raise RuntimeError", "jinja2.py": "WHO = '_mine'\n"}
    write(folder, "z.zip", own)
    (answer,) = folder.parse("z.zip/a.py")
    assert answer["errors"] == []
    assert answer["dags"][0]["dag_id"] == "of_the_folderqueue_mine"


@pytest.mark.parametrize("stem", ["queue", "dagbok", "__init__", "my-dag", "first.v2"])
def test_a_module_may_be_called_as_one_of_pythons_or_ours(folder: Folder, stem: str) -> None:
    text = """
import inspect
from queue import Queue
from airflow import DAG
from airflow.operators.empty import EmptyOperator
from dagbok import task
def f(): return 1
assert inspect.getsource(f) == "def f(): return 1\\n"
with DAG("d", schedule=None): EmptyOperator(task_id="t")
"""
    write(folder, "x.zip", {f"{stem}.py": text})
    (answer,) = folder.parse(f"x.zip/{stem}.py")
    assert answer["errors"] == []
    assert [dag["dag_id"] for dag in answer["dags"]] == ["d"]


@pytest.mark.parametrize("loaded", [True, False])
def test_a_try_runs_from_the_zip(folder: Folder, supervisor: FakeSupervisor, loaded: bool) -> None:
    write(folder, "sub/x.zip", _files("one"))
    file = "sub/x.zip/first.py"
    if loaded:
        control, ready = supervisor.load(folder.path, file)
        assert ready["type"] == "Ready", ready
        result = supervisor.run(control, folder.path, "one", "t")
        failed = supervisor.run(control, folder.path, "one", "bad")
    else:
        message = {"bundle_path": str(folder.path), "file": file}
        result = supervisor.run(supervisor.base, folder.path, "one", "t", message=message)
        failed = supervisor.run(supervisor.base, folder.path, "one", "bad", message=message)
    assert "says one word of one late of one" in result.stdout, result
    assert "data data of one data of one" in result.stdout
    assert "source def f(**context): first" in result.stdout
    assert (failed.error["file"], failed.error["line"]) == ("sub/x.zip/helpers.py", 4)
    assert "return NAME + 1 if what else NAME" in failed.error["traceback"]


def test_people_read_zips_in_their_own_tests(folder: Folder) -> None:
    write(folder, "a.zip", _files("one", second=DAG.replace("DAG(NAME", "DAG('more'")))
    write(folder, "lib/y.zip", _files("two"))
    folder.write("plain.py", "from helpers import NAME\ndag = DAG(NAME, schedule=None)\n")
    folder.write("helpers.py", "NAME = 'of_the_folder'\n", header=False)
    (folder.path / "broken.zip").write_bytes(b"PK\x03\x04" + b"\0" * 22 + b"\x04\0\0\0a.py")
    (folder.path / "no_zip.zip").write_bytes(b"PK\x03\x04")
    write(folder, "data.zip", {"table.csv": "1"})
    script = """
bag = DagBag(".")
print(json.dumps([sorted(bag.dag_ids), sorted(bag.import_errors), bag.dags["two"].fileloc]))
"""
    ids, errors, fileloc = _told(folder, script)
    assert ids == ["more", "of_the_folder", "one", "two"]
    assert [os.path.basename(path) for path in errors] == ["broken.zip"]
    assert fileloc == str(folder.path / "lib/y.zip/first.py")
    script = 'print(json.dumps([DagBag(name).dag_ids for name in ("a.zip", "lib/y.zip", "a.zip/second.py")]))'
    assert _told(folder, script) == [["one", "more"], ["two"], ["more"]]


def test_a_zip_that_was_written_anew_is_read_anew(folder: Folder) -> None:
    script = """
import zipfile
from dagbok.loading import load_file
told = []
for dag_id in ("first", "second_that_is_longer", "x"):
    text = f"from airflow import DAG\\nfrom h import NAME\\nfrom space.inner import WORD\\n"
    text += f"dag = DAG('{dag_id}' + NAME + WORD, schedule=None)\\n"
    with zipfile.ZipFile("x.zip", "w") as made:
        made.writestr("pad.txt", dag_id * 50)
        made.writestr("h.py", f"NAME = '_h_of_{dag_id}'")
        made.writestr("space/", "")
        made.writestr("space/inner.py", f"WORD = '_in_{dag_id}'")
        made.writestr("one.py", text)
    loaded = load_file(".", "x.zip/one.py")
    told.append(loaded.dags[0].dag_id)
print(json.dumps(told))
"""
    assert _told(folder, script) == [
        f"{dag_id}_h_of_{dag_id}_in_{dag_id}" for dag_id in ("first", "second_that_is_longer", "x")
    ]


def test_a_trigger_is_of_its_own_zip_and_not_of_the_folder(folder: Folder) -> None:
    write(folder, "x.zip", {"waits.py": "class Soon: word = 'zip'\n", "one.py": "from airflow import DAG\n"})
    folder.write("waits.py", "class Soon: word = 'folder'\n", header=False)
    script = """
import os
from dagbok.loading import put_last
from dagbok.runtime.triggering import Process
process = Process(None)
process._folder = os.getcwd()
put_last(process._folder)
print(json.dumps(process._find("waits.Soon", "x.zip/one.py").word))
"""
    assert _told(folder, script) == "zip"
