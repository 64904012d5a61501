"""Fixtures: a DAG folder to write into, and a fake supervisor over a real zygote."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fake_supervisor import ControlSocket, FakeSupervisor, Result, parse

HEADER = """\
import os, signal, subprocess, sys, time
from datetime import datetime, timedelta
from airflow import DAG
from airflow.decorators import dag, task, task_group
from airflow.exceptions import AirflowFailException, AirflowSkipException
from airflow.operators.bash import BashOperator
from airflow.operators.empty import EmptyOperator
from airflow.operators.python import PythonOperator, get_current_context
from airflow.utils.task_group import TaskGroup
"""


class Folder:
    """A DAG folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def write(self, name: str, text: str, header: bool = True) -> str:
        file = self.path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text((HEADER if header else "") + textwrap.dedent(text))
        return name

    def parse(self, *files: str, **how: Any) -> list[dict[str, Any]]:
        return parse(self.path, *files, **how)

    def spec(self, text: str, **how: Any) -> dict[str, Any]:
        """The one DAG of a file with this text; errors fail the test."""
        (answer,) = self.parse(self.write("file.py", text), **how)
        assert answer["errors"] == []
        (spec,) = answer["dags"]
        return spec

    def error(self, text: str, **how: Any) -> dict[str, Any]:
        """The one error of a file with this text."""
        (answer,) = self.parse(self.write("file.py", text), **how)
        (error,) = answer["errors"]
        return error


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    path = tmp_path / "dags"
    path.mkdir()
    return Folder(path.resolve())


@pytest.fixture
def supervisor() -> Iterator[FakeSupervisor]:
    fake = FakeSupervisor()
    yield fake
    fake.close()


class Bench:
    """A folder with one file, loaded by a zygote."""

    def __init__(self, folder: Folder, supervisor: FakeSupervisor) -> None:
        self.folder, self.supervisor = folder, supervisor
        self.control: ControlSocket | None = None
        self.ready: dict[str, Any] = {}

    def load(self, text: str, **how: Any) -> Bench:
        self.folder.write("file.py", text)
        self.control, self.ready = self.supervisor.load(self.folder.path, "file.py", **how)
        return self

    def run(self, task_id: str, dag_id: str = "d", **how: Any) -> Result:
        assert self.control is not None
        return self.supervisor.run(self.control, self.folder.path, dag_id, task_id, **how)

    def start(self, task_id: str, dag_id: str = "d", **how: Any) -> Any:
        assert self.control is not None
        return self.supervisor.start(self.control, self.folder.path, dag_id, task_id, **how)


@pytest.fixture
def bench(folder: Folder, supervisor: FakeSupervisor) -> Bench:
    return Bench(folder, supervisor)


@pytest.fixture
def task_body(bench: Bench) -> Callable[..., Result]:
    """Run the body of one task's function and return what it gave."""

    def run(body: str, before: str = "", **how: Any) -> Result:
        lines = textwrap.indent(textwrap.dedent(body), "    ")
        bench.load(
            f"{textwrap.dedent(before)}\ndef f(**context):\n{lines}\n"
            "with DAG('d', schedule=None) as d:\n    PythonOperator(task_id='t', python_callable=f)\n"
        )
        assert bench.ready["type"] == "Ready", bench.ready
        return bench.run("t", **how)

    return run
