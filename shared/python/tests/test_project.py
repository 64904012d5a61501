"""A folder that is a whole project: `dags/` beside `plugins/` and `include/`, and what plugins show."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from conftest import Folder
from dagbok.installing import advice_for
from dagbok.project import is_project, places

PLUGIN = """
from airflow.models import BaseOperator
from airflow.plugins_manager import AirflowPlugin

def shout(text):
    return str(text).upper()

class Louder(BaseOperator):
    pass

class Loud(AirflowPlugin):
    name = "loud"
    macros = [shout]
    operators = [Louder]
"""
HEAD = """
from datetime import datetime
from airflow import DAG
from airflow.operators.bash import BashOperator
"""


def _answer(folder: Folder, file: str) -> dict[str, Any]:
    (answer,) = folder.parse(file)
    return answer


def _write(folder: Folder, name: str, text: str) -> None:
    folder.write(name, text, header=False)


def _project(folder: Folder) -> None:
    _write(folder, "plugins/loud_plugin.py", PLUGIN)
    _write(folder, "plugins/company/__init__.py", "")
    _write(folder, "plugins/company/tables.py", "NAME = 'orders'\n")
    _write(folder, "include/sql.py", "QUERY = 'select 1'\n")
    _write(folder, "dags/shared_names.py", "PREFIX = 'p'\n")


def test_imports_find_what_lies_beside_the_dags(folder: Folder) -> None:
    _project(folder)
    text = f"""{HEAD}
from company.tables import NAME
from include.sql import QUERY
from loud_plugin import Louder
from shared_names import PREFIX
with DAG(f"{{PREFIX}}_{{NAME}}", schedule=None, start_date=datetime(2024, 1, 1)):
    Louder(task_id="t", doc=QUERY)
"""
    _write(folder, "dags/a.py", text)
    answer = _answer(folder, "dags/a.py")
    assert answer["errors"] == []
    assert [dag["dag_id"] for dag in answer["dags"]] == ["p_orders"]
    imports = {
        "dags/shared_names.py",
        "include/sql.py",
        "plugins/company/tables.py",
        "plugins/loud_plugin.py",
    }
    assert imports <= set(answer["imports"])


def test_a_plugin_shows_its_macros_and_operators_by_its_name(folder: Folder) -> None:
    _project(folder)
    text = f"""{HEAD}
from airflow import macros
from airflow.macros.loud import shout
from airflow.operators.loud import Louder
import loud_plugin
assert loud_plugin.Louder is Louder and macros.loud.shout is shout
with DAG("a", schedule=None, start_date=datetime(2024, 1, 1)):
    Louder(task_id=shout("t"))
"""
    _write(folder, "dags/a.py", text)
    answer = _answer(folder, "dags/a.py")
    assert answer["errors"] == []
    assert answer["dags"][0]["tasks"] == [{"task_id": "T", "operator": "Louder"}]


def test_a_plugin_that_breaks_is_named_to_who_asks_in_vain(folder: Folder) -> None:
    _project(folder)
    _write(folder, "plugins/company/soft.py", "import nosuchmodule\n")
    _write(folder, "dags/a.py", f"{HEAD}from airflow.operators.soft import Softer\n")
    _write(
        folder, "dags/b.py", f"{HEAD}from airflow.operators.loud import Louder\nb = DAG('b', schedule=None)\n"
    )
    _write(folder, "dags/c.py", f"{HEAD}with DAG('c', schedule=None):\n    pass\n")
    (error,) = _answer(folder, "dags/a.py")["errors"]
    assert (error["file"], error["exception"]) == ("dags/a.py", "ModuleNotFoundError")
    assert "no plugin `soft` with operators" in error["message"]
    assert "plugins/company/soft.py could not be imported: ModuleNotFoundError" in error["message"]
    for file in ("dags/b.py", "dags/c.py"):
        answer = _answer(folder, file)
        assert (len(answer["dags"]), answer["errors"]) == (1, []), file
    assert "plugins/company/soft.py" not in _answer(folder, "dags/c.py")["imports"], "nobody asked"


def test_what_a_project_is(tmp_path: Path) -> None:
    (tmp_path / "dags").mkdir()
    folder = str(tmp_path)
    assert (is_project(folder), places(folder)) == (False, [folder, f"{folder}/dags"])
    (tmp_path / "plugins").mkdir()
    (tmp_path / "config").mkdir()
    assert is_project(folder)
    assert places(folder) == [f"{folder}/dags", folder, f"{folder}/config", f"{folder}/plugins"]
    (tmp_path / "pyvenv.cfg").touch()
    assert not is_project(folder)


def test_a_module_beside_the_folder_is_pointed_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "dags").mkdir()
    (tmp_path / "plugins" / "company").mkdir(parents=True)
    monkeypatch.setattr(sys, "path", [*sys.path, f"{tmp_path}/dags"])
    told = advice_for(ModuleNotFoundError("no", name="company.tables"))
    assert f"company lies in `{tmp_path}/plugins`, which is no part of the DAG folder" in told
    assert "pip install nosuch" in advice_for(ModuleNotFoundError("no", name="nosuch"))
