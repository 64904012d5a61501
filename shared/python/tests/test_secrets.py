"""Variables and connections: read as real Airflow reads them, from the first of the places that has them."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dagbok import compat
from dagbok.exceptions import AirflowException, SupervisorError
from dagbok.models import backends
from dagbok.models.connection import Connection, get_connection, read
from dagbok.models.portable import (
    parse_connection,
    read_connections,
    read_variable_file,
    write_connections,
)
from dagbok.models.secret_files import load_connections_dict, load_variables
from dagbok.models.variable import Variable
from dagbok.runtime import current

ORACLE = Path(__file__).parent / "oracle"
sys.path.insert(0, str(ORACLE))
import record_connections  # noqa: E402

# Airflow 2 takes an empty password for none, Airflow 3 does not; neither do we.
EMPTY_PASSWORDS = {
    "my-conn-type://my-login:@my-host",
    '{"conn_type": "http", "login": "", "password": ""}',
}


@pytest.mark.parametrize("era", ["2", "3"])
def test_every_form_is_read_as_airflow_reads_it(era: str) -> None:
    recorded = json.loads((ORACLE / f"connections-{era}.json").read_text())
    assert list(recorded) == sorted(record_connections.TEXTS)
    for text, wanted in recorded.items():
        got = json.loads(json.dumps(record_connections.answer(read, text)))
        if "raises" in wanted:
            assert "raises" in got, text
            continue
        ours = {"password": "", "uri": got["uri"]} if era == "2" and text in EMPTY_PASSWORDS else {}
        assert {name: got.get(name) for name in wanted} == {**wanted, **ours}, text


class Log:
    """A supervisor that knows what is on the log."""

    def __init__(self) -> None:
        self.variables: dict[str, str] = {}
        self.connections: dict[str, dict[str, Any]] = {}

    def ask(self, body: dict[str, Any]) -> Any:
        """Answers as an executor does."""
        kind = body["type"]
        if kind == "GetVariable":
            if body["key"] not in self.variables:
                raise SupervisorError("VARIABLE_NOT_FOUND", None)
            return {"value": self.variables[body["key"]]}
        if kind == "GetConnection":
            if body["conn_id"] not in self.connections:
                raise SupervisorError("CONNECTION_NOT_FOUND", None)
            return self.connections[body["conn_id"]]
        if kind == "PutVariable":
            self.variables[body["key"]] = body["value"]
            return {"ok": True}
        assert kind == "DeleteVariable"
        return {"deleted": 0 if self.variables.pop(body["key"], None) is None else 1}


@pytest.fixture
def log() -> Iterator[Log]:
    finders, modules = list(sys.meta_path), set(sys.modules)
    compat.activate()
    it = Log()
    current.set_supervisor(it)  # type: ignore[arg-type]
    yield it
    current.set_supervisor(None)
    sys.meta_path[:] = finders
    for name in set(sys.modules) - modules:
        if name.partition(".")[0] in {"airflow", "my_backend"}:
            del sys.modules[name]


def test_a_task_sets_what_the_next_one_gets(log: Log) -> None:
    Variable.set("n", 1, description="a number")
    assert (log.variables["n"], Variable.get("n")) == ("1", "1")
    Variable.set("shape", {"a": [1]}, serialize_json=True)
    assert Variable.get("shape", deserialize_json=True) == {"a": [1]}
    Variable.update("n", 2)
    assert Variable.get("n") == "2"
    assert Variable.setdefault("n", 9) == "2"
    assert (Variable.setdefault("m", {"x": 1}, deserialize_json=True), json.loads(log.variables["m"])) == (
        {"x": 1},
        {"x": 1},
    )
    assert (Variable.delete("n"), Variable.delete("n")) == (1, 0)
    with pytest.raises(KeyError, match="does not exist"):
        Variable.update("n", 3)
    with pytest.raises(KeyError, match="dagbok variables set n"):
        Variable.get("n")
    assert Variable.get("n", default_var=None) is None


def test_while_a_file_is_read_nothing_is_set() -> None:
    with pytest.raises(AirflowException, match="while the DAG's file is read"):
        Variable.set("n", 1)


def test_what_is_shadowed_by_the_environment_is_told(
    log: Log, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("AIRFLOW_VAR_N", "of the environment")
    Variable.set("n", "of the log")
    assert Variable.get("n") == "of the environment"
    assert "goes before the log" in caplog.text


BACKEND = """
from airflow.secrets import BaseSecretsBackend
class Mine(BaseSecretsBackend):
    made = 0
    def __init__(self, value, url=None):
        super().__init__()
        type(self).made += 1
        self.value, self.url = value, url
    def get_variable(self, key):
        if key == "breaks":
            raise RuntimeError("the vault is shut")
        return self.value if key in ("both", "mine") else None
    def get_conn_value(self, conn_id):
        return '{"conn_type": "http", "host": "mine"}' if conn_id in ("both", "mine") else None
"""


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, log: Log) -> Log:
    """All four have `both`; a backend of somebody's own, as from a provider."""
    tmp_path.joinpath("my_backend.py").write_text(BACKEND)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("AIRFLOW__SECRETS__BACKEND", "my_backend.Mine")
    monkeypatch.setenv("AIRFLOW__SECRETS__BACKEND_KWARGS", '{"value": "of the backend"}')
    monkeypatch.setenv("AIRFLOW__SECRETS__BACKEND_KWARG__URL", "http://vault")
    folder = tmp_path / "secrets"
    folder.joinpath("variables").mkdir(parents=True)
    folder.joinpath("variables", "both").write_text("of the folder")
    monkeypatch.setenv("DAGBOK_SECRETS_FOLDER", str(folder))
    monkeypatch.setenv("AIRFLOW_VAR_BOTH", "of the environment")
    log.variables |= {"both": "of the log", "breaks": "of the log"}
    log.connections["both"] = {"conn_type": "http", "host": "log"}
    return log


def test_the_first_place_in_order_answers(places: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    assert Variable.get("both") == "of the environment"
    monkeypatch.delenv("AIRFLOW_VAR_BOTH")
    assert Variable.get("both") == "of the folder"
    monkeypatch.delenv("DAGBOK_SECRETS_FOLDER")
    assert (Variable.get("both"), get_connection("both").host) == ("of the backend", "mine")
    made = sys.modules["my_backend"].Mine.made
    assert (Variable.get("mine"), backends.backend().url, sys.modules["my_backend"].Mine.made) == (
        "of the backend",
        "http://vault",
        made,
    )
    # One that fails is passed over.
    assert Variable.get("breaks") == "of the log"
    monkeypatch.setenv("AIRFLOW__SECRETS__BACKENDS_ORDER", "metastore, custom")
    assert (Variable.get("both"), get_connection("both").host) == ("of the log", "log")
    monkeypatch.setenv("AIRFLOW__SECRETS__BACKENDS_ORDER", "vault")
    with pytest.raises(AirflowException, match="names vault; there are environment_variable"):
        Variable.get("both")


def test_what_is_wrong_with_a_backend_is_said_without_its_arguments(
    places: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__SECRETS__BACKEND_KWARGS", "{hunter2-hunter2")
    with pytest.raises(AirflowException, match="is no JSON object") as raised:
        Variable.get("mine")
    assert "hunter2" not in str(raised.value)
    monkeypatch.setenv("AIRFLOW__SECRETS__BACKEND_KWARGS", "{}")
    monkeypatch.setenv("AIRFLOW__WORKERS__SECRETS_BACKEND", "no_such_package.Backend")
    with pytest.raises(AirflowException, match="can't be imported: .*install its package"):
        Variable.get("mine")


def test_airflows_backend_of_local_files_is_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, log: Log
) -> None:
    variables, connections = tmp_path / "v.json", tmp_path / "c.env"
    variables.write_text('{"region": "eu", "shape": {"rows": 1}}')
    connections.write_text("db=postgres://u:p@h/db\n")
    backend = "airflow.secrets.local_filesystem.LocalFilesystemBackend"
    kwargs = {"variables_file_path": str(variables), "connections_file_path": str(connections)}
    monkeypatch.setenv("AIRFLOW__SECRETS__BACKEND", backend)
    monkeypatch.setenv("AIRFLOW__SECRETS__BACKEND_KWARGS", json.dumps(kwargs))
    assert Variable.get("region") == "eu"
    assert Variable.get("shape", deserialize_json=True) == {"rows": 1}
    assert get_connection("db").schema == "db"
    variables.write_text('{"region": "us"}')
    assert Variable.get("region") == "us"


FILES: list[tuple[str, str, str]] = [
    ("c.json", '{"db": {"conn_type": "http", "nope": 1}}', "has nope, which no connection has"),
    ("c.json", '{"db": [1, 2]}', "has 2 values for db"),
    ("c.json", '{"db": {"conn_type": "a", "extra": "{}", "extra_dejson": {}}}', "give one of both"),
    ("c.json", '{"db": {"conn_id": "other", "conn_type": "a"}}', "says that its id is 'other'"),
    ("c.json", '{"db": "hunter2', "no JSON: line 1"),
    ("c.json", "[1]", "an object of names and values"),
    ("c.env", "db\n", "line 1 of .* is no KEY=VALUE"),
    ("c.env", "db=http://a\ndb=http://b\n", "several values for db"),
    ("c.txt", "db=http://a\n", "must be a .json"),
    ("c.json", "", "is empty"),
]


@pytest.mark.parametrize(("name", "text", "said"), FILES)
def test_what_is_wrong_with_a_file_is_said(tmp_path: Path, name: str, text: str, said: str) -> None:
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(AirflowException, match=said) as raised:
        load_connections_dict(str(path))
    assert "hunter2" not in str(raised.value)


def test_files_go_out_and_come_in_as_they_were(tmp_path: Path) -> None:
    path = tmp_path / "c.json"
    given = {"conn_id": "db", "uri": "postgres://u:p%40@h:1/s?x=1"}
    fields = parse_connection(given)
    entries = {"db": fields, "plain": parse_connection({"conn_id": "plain", "json": '{"conn_type": "http"}'})}
    path.write_text(write_connections({"entries": entries, "format": "json"}))
    assert read_connections(str(path)) == entries
    for serialization in ("uri", "json"):
        path = tmp_path / f"{serialization}.env"
        path.write_text(
            write_connections({"entries": entries, "format": "env", "serialization": serialization})
        )
        assert read_connections(str(path))["db"] == fields
    path = tmp_path / "v.json"
    path.write_text('{"a": "1", "b": {"value": [1], "description": "d"}, "c": {"value": 1, "more": 2}}')
    assert read_variable_file(str(path)) == {
        "a": {"value": "1", "description": None},
        "b": {"value": [1], "description": "d"},
        "c": {"value": {"value": 1, "more": 2}, "description": None},
    }
    assert load_variables(str(path))["a"] == "1"


def test_an_extra_that_is_no_json_is_passed_over_as_in_airflow(caplog: pytest.LogCaptureFixture) -> None:
    assert Connection("c", "http", extra="hunter2 hunter2").extra_dejson == {}
    assert "the extra of connection c is not JSON" in caplog.text
    assert "hunter2" not in caplog.text
