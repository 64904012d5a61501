"""Functions run by another Python: with their arguments, the context's texts and instants, and their results."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from conftest import Bench

FILE = """
from airflow.operators.python import (
    BranchExternalPythonOperator, BranchPythonVirtualenvOperator, ExternalPythonOperator, PythonVirtualenvOperator,
)
HERE = PYTHON
OUTSIDE = 1

def told(a, b=2, *, ds, logical_date=None):
    import os, sys
    print("in", sys.prefix != sys.base_prefix, virtualenv_string_args, os.environ.get("MARK"))
    return {"sum": a + b, "ds": ds, "kind": type(logical_date).__module__, "year": logical_date.year}

def fails():
    raise ValueError("no such column")

def skips():
    import sys
    sys.exit(42)

def uses_the_outside():
    return OUTSIDE

def chooses(ds_nodash):
    return "left" if ds_nodash == "20240301" else "right"

def packages():
    import importlib.util
    return [importlib.util.find_spec(name) is not None for name in ("pip", "msgpack")]

with DAG("d", schedule=None):
    ExternalPythonOperator(task_id="told", python=HERE, python_callable=told, op_args=[1], op_kwargs={"b": "{{ 3 }}" },
                           string_args=["x", "{{ ds }}"], env_vars={"MARK": "here"})
    ExternalPythonOperator(task_id="numbers", python=HERE, python_callable=told, op_kwargs={"a": 1, "b": 4})
    ExternalPythonOperator(task_id="fails", python=HERE, python_callable=fails)
    ExternalPythonOperator(task_id="skips", python=HERE, python_callable=skips, skip_on_exit_code=42)
    ExternalPythonOperator(task_id="outside", python=HERE, python_callable=uses_the_outside)
    ExternalPythonOperator(task_id="nowhere", python="/nowhere/python", python_callable=fails)
    branch = BranchExternalPythonOperator(task_id="branch", python=HERE, python_callable=chooses)
    branch >> [EmptyOperator(task_id="left"), EmptyOperator(task_id="right")]
    PythonVirtualenvOperator(task_id="seeing", python_callable=packages)
    PythonVirtualenvOperator(task_id="alone", python_callable=packages, system_site_packages=False)
    PythonVirtualenvOperator(task_id="kept", python_callable=packages, system_site_packages=False,
                             venv_cache_path=KEPT)
    PythonVirtualenvOperator(task_id="odd", python_callable=packages, python_version="9.9")

    @task.external_python(python=HERE)
    def decorated(number: int, run_id=None):
        return [number, run_id]

    @task.virtualenv(system_site_packages=False)
    def made(given):
        # a comment stays
        return given[0] + 1

    made(decorated(7))
"""


@pytest.fixture
def loaded(bench: Bench, tmp_path: Path) -> Bench:
    bench.load(FILE.replace("PYTHON\n", f"{sys.executable!r}\nKEPT = {str(tmp_path / 'kept')!r}\n"))
    assert bench.ready["type"] == "Ready", bench.ready
    return bench


def returned(bench: Bench, task_id: str) -> Any:
    result = bench.run(task_id)
    assert result.state == "success", (result.of("TaskError"), result.logs)
    return next(request["value"] for request in result.of("SetXCom") if request["key"] == "return_value")


def test_another_python_gets_arguments_and_gives_results(loaded: Bench) -> None:
    assert returned(loaded, "numbers") == {
        "sum": 5,
        "ds": "2024-03-01",
        "kind": "pendulum.datetime",
        "year": 2024,
    }
    result = loaded.run("told")
    # The text of a template is a text there, too.
    assert "TypeError" in result.error["message"]
    assert "in True ['x', '{{ ds }}'] here" in [line["event"] for line in result.logs]


@pytest.mark.parametrize(
    ("task_id", "state", "words"),
    [
        ("fails", "failed", "Process returned non-zero exit status 1.\nValueError: no such column"),
        ("skips", "skipped", ""),
        ("outside", "failed", "name 'OUTSIDE' is not defined"),
        ("nowhere", "failed", "Python Path '/nowhere/python' must exists"),
        ("odd", "failed", "there is no python9.9"),
    ],
)
def test_how_it_ends_there_is_how_the_task_ends(loaded: Bench, task_id: str, state: str, words: str) -> None:
    result = loaded.run(task_id)
    assert result.state == state
    if words:
        assert words in result.error["message"]


def test_a_choice_made_there_is_followed(loaded: Bench) -> None:
    (skipped,) = loaded.run("branch").of("SkipDownstreamTasks")
    assert skipped["tasks"] == ["right"]


def test_an_environment_sees_the_tasks_own_packages_or_none(loaded: Bench) -> None:
    assert returned(loaded, "seeing") == [True, True]
    assert returned(loaded, "alone") == [False, False]


def test_an_environment_that_is_kept_is_made_once(loaded: Bench, tmp_path: Path) -> None:
    for _ in range(2):
        assert returned(loaded, "kept") == [False, False]
    (kept,) = (path for path in tmp_path.joinpath("kept").iterdir() if path.is_dir())
    made = kept.joinpath("pyvenv.cfg").stat().st_mtime_ns
    returned(loaded, "kept")
    assert kept.joinpath("pyvenv.cfg").stat().st_mtime_ns == made


def test_decorated_functions_hand_on_to_each_other(loaded: Bench) -> None:
    assert returned(loaded, "decorated") == [7, "manual__1"]
    assert returned(loaded, "made") == 8
