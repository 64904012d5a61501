"""Connections are read as Airflow reads them; what can't be read is refused."""

from __future__ import annotations

from typing import Any

import pytest

from dagbok.exceptions import AirflowException
from dagbok.models.connection import Connection, read

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
