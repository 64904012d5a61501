"""Secrets don't leave a try's process in clear, in whatever form a program prints them."""

from __future__ import annotations

import base64
import json
import shlex
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conftest import Bench, Folder
from dagbok import masking
from dagbok.masking import MASK, Masker, masked

PASSWORD = "Sup3r'S\"cr€t!/x y"


@pytest.fixture(autouse=True)
def nothing_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other tests' secrets, kept by this process, are not this one's."""
    monkeypatch.setattr(masking, "mask", Masker().mask)


def forms(secret: str) -> list[str]:
    login = f"someone:{secret}".encode()
    return [
        secret, repr(secret), repr(f"it's \"{secret}\""), ascii(secret), json.dumps(secret), json.dumps({"k": secret}),
        json.dumps(secret, ensure_ascii=False), json.dumps(json.dumps(secret)), quote(secret), quote(secret, safe=""),
        quote_plus(secret), shlex.quote(secret), repr(secret.encode()),
        *(base64.b64encode(login[cut:]).decode() for cut in range(8)),
        base64.urlsafe_b64encode(login).decode(),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "secret", [PASSWORD, "tok-abcdef-123", "ünïcode-pässwort", "back\\slash\\n", "a&b<c>d"]
)
def test_every_form_is_masked(secret: str) -> None:
    masker = Masker()
    masker.add(secret)
    for form in forms(secret):
        seen = masker.mask(f"before {form} after")
        assert seen.startswith("before ")
        assert seen.endswith(" after")
        assert MASK in seen, form
        assert form not in seen


@given(st.text(min_size=5, max_size=40), st.text(max_size=12))
@settings(deadline=None, max_examples=200)
def test_no_form_of_any_secret_survives(secret: str, before: str) -> None:
    if (
        len(secret.strip()) < 5
        or secret != secret.strip()
        or secret.lower() in {"airflow", "default", "false"}
    ):
        return
    try:
        secret.encode()
    except UnicodeEncodeError:
        return
    masker = Masker()
    masker.add(secret)
    for text in (secret, repr(secret), json.dumps(before + secret), quote(before + secret)):
        assert secret not in masker.mask(text)
        assert MASK in masker.mask(text) or secret.splitlines() != [secret]


def test_names_tell_what_is_secret_in_a_dict() -> None:
    masker = Masker()
    masker.add(
        {"user": "someone", "API_Key": "k-12345", "deep": [{"token": {"a": "t-12345"}}], "n": 12345678}, ""
    )
    assert masker.mask("someone k-12345 t-12345 12345678") == "someone *** *** 12345678"
    rendered = {"op_kwargs": {"password": "short", "n": 1, "private_key": {"a": "b"}, "secret": None}}
    assert masked(rendered) == {
        "op_kwargs": {"password": MASK, "n": 1, "private_key": {"a": MASK}, "secret": None}
    }


def test_a_key_of_many_lines_is_masked_in_each_and_short_words_are_left() -> None:
    masker = Masker()
    masker.add("-----BEGIN KEY-----\nAAAABBBBCCCC\nDDDDEEEEFFFF\n-----END KEY-----\n")
    assert masker.mask("x AAAABBBBCCCC y\nDDDDEEEEFFFF") == "x *** y\n***"
    masker.add("true", "secret_enabled")
    masker.add("1234", "token")
    assert masker.mask("true 1234") == "true 1234"


LEAK = """
import logging
from airflow.hooks.base import BaseHook
from airflow.models import Variable
os.environ["AIRFLOW_CONN_LATE"] = "http://u:set-by-the-file@h"
def fail():
    conn = BaseHook.get_connection("db")
    print("with", conn.password, repr(conn.password), conn.get_uri())
    logging.getLogger("mine").warning("key %s", conn.extra_dejson["api_key"])
    print(BaseHook.get_connection("late").password)
    subprocess.run(["true"])
    raise ValueError("could not log in with " + conn.password)
with DAG("d", schedule=None) as d:
    BashOperator(task_id="b", bash_command="echo {{ conn.db.password }} $PW", env={"PW": "{{ var.value.api_secret }}"})
    PythonOperator(task_id="p", python_callable=fail)
    PythonOperator(task_id="n", python_callable=print, op_kwargs={"password": "not-known"})
    PythonOperator(task_id="x", python_callable=lambda: Variable.get("api_secret"))
"""


def test_a_try_lets_no_secret_out(bench: Bench) -> None:
    uri = f"postgres://u:{quote(PASSWORD, safe='')}@h/db?api_key=key-98765"
    bench.supervisor.connections["db"] = {
        "conn_type": "postgres", "host": "h", "schema": "db", "login": "u", "password": PASSWORD, "port": None,
        "extra": '{"api_key": "key-98765"}',
    }  # fmt: skip
    bench.supervisor.variables["api_secret"] = "tok-abcdef-123"
    bench.load(LEAK)
    told = [form for message in bench.control.seen if message["type"] == "Mask" for form in message["forms"]]
    assert bench.ready["type"] == "Ready"
    assert "set-by-the-file" in told
    for task_id in ("b", "p", "n"):
        result = bench.run(task_id)
        told = result.of("MaskSecret")
        kept = [request for request in result.requests if request["type"] != "MaskSecret"]
        seen = json.dumps([kept, result.stdout, result.stderr, result.logs], ensure_ascii=False, default=str)
        for secret in (*forms(PASSWORD), uri, "tok-abcdef-123", "key-98765", "not-known", "set-by-the-file"):
            assert secret not in seen, (task_id, secret)
        if task_id != "n":
            assert MASK in seen
            assert PASSWORD in told[0]["forms"]
    assert result.of("SetRenderedFields")[0]["rendered_fields"]["op_kwargs"] == {"password": MASK}
    # What a task hands on is data.
    assert bench.run("x").of("SetXCom")[0]["value"] == "tok-abcdef-123"


def test_an_import_error_masks_what_the_file_fetched(folder: Folder) -> None:
    error = folder.error(
        """
        from airflow.hooks.base import BaseHook
        raise ValueError(BaseHook.get_connection("db").password)
        """,
        env={"AIRFLOW_CONN_DB": "http://u:hush-hush@h"},
    )
    assert error["message"] == MASK
    assert "hush-hush" not in json.dumps(error)
