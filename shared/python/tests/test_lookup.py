"""Files that ask for variables and connections of the log while they are read."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

KNOWN = {"names": '["a", "b"]', "top_token": "hunter2-hunter2"}
FILE = """
from airflow import DAG
from airflow.models import Variable
from airflow.hooks.base import BaseHook
from airflow.operators.empty import EmptyOperator

held = Variable.get("top_token")
print("held:", held)
with DAG("d", schedule=None, description=BaseHook.get_connection("db").host):
    for name in Variable.get("names", deserialize_json=True):
        EmptyOperator(task_id=name)
if Variable.get("fails", default_var=None) is None:
    raise ValueError(f"without {held}")
"""


def answer(question: dict[str, str]) -> dict[str, object]:
    """Answers as the processor does."""
    if question["type"] == "GetConnection":
        return {"answer": {"conn_type": "http", "host": "there", "password": "hunter3-hunter3"}}
    if question["key"] in KNOWN:
        return {"answer": {"key": question["key"], "value": KNOWN[question["key"]]}}
    return {"error": "VARIABLE_NOT_FOUND", "detail": None}


@pytest.fixture
def lookup(tmp_path: Path) -> Iterator[str]:
    path = str(tmp_path / "lookup")
    server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    server.bind(path)
    server.listen()

    def serve() -> None:
        while True:
            try:
                way, _ = server.accept()
            except OSError:
                return
            with way, way.makefile("rb") as lines:
                for line in lines:
                    way.sendall(json.dumps(answer(json.loads(line))).encode() + b"\n")

    threading.Thread(target=serve, daemon=True).start()
    yield path
    server.close()


def read(folder: Path, **env: str) -> tuple[dict[str, object], str]:
    """The parser's answer about the file, and what else was printed."""
    done = subprocess.run(
        [sys.executable, "-P", "-m", "dagbok.parsing", "--folder", str(folder), "--file", "d.py"],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, **env},
    )
    found: dict[str, object] = json.loads(done.stdout.splitlines()[-1])
    return found, done.stdout + done.stderr


def test_a_file_has_what_is_on_the_log_and_shows_no_secret(tmp_path: Path, lookup: str) -> None:
    folder = tmp_path / "dags"
    folder.mkdir()
    folder.joinpath("d.py").write_text(FILE)
    found, printed = read(folder, DAGBOK_LOOKUP=lookup)
    assert found["looked_up"] is True
    (error,) = found["errors"]  # type: ignore[misc]
    assert (error["message"], error["may_heal"]) == ("without ***", True)
    assert "held: ***" in printed
    assert "hunter2" not in printed
    found, _ = read(folder, DAGBOK_LOOKUP=lookup, AIRFLOW_VAR_FAILS="no")
    (dag,) = found["dags"]  # type: ignore[misc]
    assert ([task["task_id"] for task in dag["tasks"]], found["errors"]) == (["a", "b"], [])


def test_with_nobody_to_ask_it_is_said_where_to_set_it(tmp_path: Path) -> None:
    folder = tmp_path / "dags"
    folder.mkdir()
    folder.joinpath("d.py").write_text(FILE)
    found, _ = read(folder)
    (error,) = found["errors"]  # type: ignore[misc]
    assert "set it by the environment variable AIRFLOW_VAR_TOP_TOKEN" in error["message"]
    assert "looked_up" not in found
    found, _ = read(folder, DAGBOK_LOOKUP=str(tmp_path / "nobody"))
    (error,) = found["errors"]  # type: ignore[misc]
    assert "nobody answers while the file is read" in error["message"]
