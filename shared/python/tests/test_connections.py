"""Connections are read as Airflow reads them; what can't be read is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dagbok.exceptions import AirflowException
from dagbok.models.connection import Connection, get_connection, read
from dagbok.models.hook import BaseHook
from dagbok.models.variable import Variable

FORMS: list[tuple[str, dict[str, Any]]] = [
    ("spark://k8s://10.0.0.1:443?deploy-mode=cluster", {"host": "k8s://10.0.0.1", "port": 443, "schema": ""}),
    ("http://https://example.com:8080/api", {"host": "https://example.com", "port": 8080, "schema": "api"}),
    ("http://https://u:p%40@example.com", {"host": "https://example.com", "login": "u", "password": "p@"}),
    ('{"uri": "http://u:p@h:1/x"}', {"host": "h", "port": 1, "schema": "x", "conn_type": "http"}),
    ('{"conn_type": "postgresql"}', {"conn_type": "postgres"}),
    ('{"conn_type": "google-cloud"}', {"conn_type": "google_cloud"}),
    ('{"conn_type": "http", "port": ""}', {"conn_type": "http", "port": None}),
    ('{"conn_type": "http", "port": "81", "extra": {"a": 1}}', {"port": 81, "extra": '{"a": 1}'}),
    (" postgres://u:p@h:5432/db ", {"conn_type": "postgres", "schema": "db"}),
    ("mysql://u:p@%2Ftmp%2Fsocket/db", {"host": "/tmp/socket", "schema": "db"}),
    ("aws://@/?region_name=eu", {"host": "", "extra": '{"region_name": "eu"}'}),
]


@pytest.mark.parametrize(("text", "wanted"), FORMS)
def test_a_form_is_read(text: str, wanted: dict[str, Any]) -> None:
    connection = read("c", text)
    assert {name: getattr(connection, name) for name in wanted} == wanted


@pytest.mark.parametrize(("text", "wanted"), FORMS)
def test_its_uri_gives_it_again(text: str, wanted: dict[str, Any]) -> None:
    connection = read("c", text)
    again = Connection(conn_id="c", uri=connection.get_uri())
    names = ("conn_type", "host", "login", "password", "port")
    assert [getattr(again, name) or None for name in names] == [
        getattr(connection, name) or None for name in names
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"conn_type": "http", "user": "me"}', "'user'"),
        ('{"conn_type": "http", "port": "many"}', "whole number"),
        ('{"uri": "http://h", "host": "other"}', "give one of both"),
        ("[]", "://"),
        ("{not json", "neither JSON nor a URI"),
        ("http://a://b://c", "must be quoted"),
        ("http://u:p@https://h", "must be quoted"),
    ],
)
def test_what_is_wrong_is_said(text: str, said: str) -> None:
    with pytest.raises(AirflowException, match=said):
        read("c", text)


@pytest.fixture
def secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder as a Secret is mounted: each file is a link to one in a folder that is exchanged whole."""
    inside = tmp_path / "..data"
    files = {
        "connections/warehouse": "postgres://u:p@h/db\n",
        "variables/region": "eu\n",
        "variables/shape": '{"rows": [1, 2]}',
        "AIRFLOW_VAR_FLAT": "flat",
        "AIRFLOW_CONN_FLAT": '{"conn_type": "http", "host": "flat"}',
        "AIRFLOW_VAR_BOTH": "file",
    }
    for name, text in files.items():
        inside.joinpath(name).parent.mkdir(parents=True, exist_ok=True)
        inside.joinpath(name).write_text(text)
        tmp_path.joinpath(name).parent.mkdir(exist_ok=True)
        tmp_path.joinpath(name).symlink_to(inside / name)
    monkeypatch.setenv("DAGBOK_SECRETS_FOLDER", str(tmp_path))
    return tmp_path


def test_a_folder_of_secrets_is_read(secrets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert get_connection("warehouse").password == "p"
    assert get_connection("flat").host == "flat"
    assert Variable.get("region") == "eu"
    assert Variable.get("shape", deserialize_json=True) == {"rows": [1, 2]}
    assert Variable.get("flat") == "flat"
    # It is looked at each time, and the environment goes before it, ours before Airflow's.
    secrets.joinpath("..data", "variables/region").write_text("us")
    assert Variable.get("region") == "us"
    for name in ("AIRFLOW_VAR_BOTH", "DAGBOK_VAR_BOTH"):
        monkeypatch.setenv(name, name)
        assert Variable.get("both") == name
    monkeypatch.setenv("DAGBOK_CONN_FLAT", "http://ours")
    assert get_connection("flat").host == "ours"


@pytest.mark.parametrize("key", ["../..data/variables/region", "..data", "/etc/passwd", "missing", ""])
def test_no_key_leads_out_of_the_folder(secrets: Path, key: str) -> None:
    with pytest.raises(KeyError, match="there is no variable"):
        Variable.get(key)
    with pytest.raises(AirflowException, match="isn't defined"):
        get_connection(key)


def test_what_a_variable_holds_is_in_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_VAR_BROKEN", "{hunter2-hunter2")
    with pytest.raises(ValueError, match="the variable `broken` is no JSON") as raised:
        Variable.get("broken", deserialize_json=True)
    assert "hunter2" not in str(raised.value)
    assert Variable.get("nothing", default_var=None) is None


def test_an_extra_is_read_in_its_depth() -> None:
    extra = {"a": '{"b": 1}', "c": "text"}
    assert Connection(extra=extra).get_extra_dejson(nested=True) == {"a": {"b": 1}, "c": "text"}


HOOKS = """
class Hook:
    conn_name_attr = "my_conn_id"
    def __init__(self, my_conn_id, more=None):
        self.conn_id, self.more = my_conn_id, more
    def test_connection(self):
        return True, f"it works: {self.conn_id}"

class Silent:
    conn_name_attr = "conn_id"
    def __init__(self, conn_id):
        pass

def info():
    names = {"mine": "hooks_of_mine.Hook", "silent": "hooks_of_mine.Silent"}
    return {"connection-types": [{"connection-type": k, "hook-class-name": v} for k, v in names.items()]}
"""


def test_a_hook_is_found_by_the_type_that_a_provider_declares(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tmp_path.joinpath("hooks_of_mine.py").write_text(HOOKS)
    declared = tmp_path / "mine-1.0.dist-info"
    declared.mkdir()
    declared.joinpath("METADATA").write_text("Metadata-Version: 2.1\nName: mine\nVersion: 1.0\n")
    declared.joinpath("entry_points.txt").write_text(
        "[apache_airflow_provider]\nprovider_info=hooks_of_mine:info\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("AIRFLOW_CONN_A", "mine://h")
    hook = BaseHook.get_hook("a", {"more": 1})
    assert (hook.conn_id, hook.more) == ("a", 1)
    assert Connection("a", "mine").test_connection() == (True, "it works: a")
    for kind, said in ("silent", "Silent doesn't implement"), ("other", 'Unknown hook type "other"'):
        worked, why = Connection("a", kind).test_connection()
        assert not worked
        assert said in why
