"""What alerting is asked, and how it says things: explanations, limits, words, mail of retries, checks in CI."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
from alert_scenes import Start, fail, of_rule, webhook
from harness import Cli, Standalone, wait_until, write_dag
from receivers import hook, mailbox


def ask(it: Standalone, what: str, **body: Any) -> httpx.Response:
    """Asks the rules."""
    return httpx.post(f"{it.api.url}/api/v2/dagbok/alerts/{what}", json=body, timeout=60)


def test_the_rules_are_asked_by_the_api_and_nothing_is_sent(start: Start) -> None:
    with hook() as pager:
        it = start(webhook("pager", pager.url))
        fail(it, "night_1")
        wait_until("the page", lambda: pager.of("firing"))
        (failed,) = [
            record["seq"] for record in it.api.events() for fact in record["facts"] if fact["type"] == "RunFailed"
        ]
        said = ask(it, "explain", event=failed).json()
        assert "RunFailed" in said["facts"]
        (wrong,) = said["wrong"]
        assert (wrong["rule"], wrong["scope"], wrong["route"]) == ("run_failed", "dag:training", "platform")
        assert wrong["steps"] == [{"receivers": ["pager"], "wait_seconds": 300}]
        other = '[receivers.night.pagerduty]\nrouting_key = { env = "NOT_SET_ANYWHERE" }\n'
        said = ask(it, "explain", event=failed, configuration=other).json()
        assert said["wrong"][0]["steps"][0]["receivers"] == ["night"]
        since = (datetime.now(UTC) - timedelta(hours=1)).isoformat()
        again = ask(it, "backtest", since=since, configuration=other).json()
        assert [(one["rule"], one["told"]) for one in again["alerts"]] == [("run_failed", {"night": 1})]
        assert again["unread"] == 0
        assert ask(it, "explain", event=10**9).status_code == 404
        refused = ask(it, "backtest", since=since, configuration="[recievers.a]\n")
        assert refused.status_code == 422
        assert "recievers" in refused.text
        calendar = '[schedules.a]\nzone = "UTC"\nical = "/etc/passwd"\n'
        assert "names no calendar" in ask(it, "backtest", since=since, configuration=calendar).text
        assert ask(it, "backtest", since="yesterday").status_code == 422
        assert it.api.get("/dagbok/alerts/oncall")["schedules"] == []
        (reach,) = it.api.get("/dagbok/alerts/check")["dags"]
        assert (reach["dag_id"], reach["owner"], reach["receivers"]) == ("training", "ml", ["pager"])
        assert len(pager.got) == 1


MANY = """
from airflow import DAG
from airflow.operators.python import PythonOperator

def fail():
    raise RuntimeError("the bucket is gone")

for n in range(6):
    with DAG(f"many_{n}", schedule=None, default_args={"owner": f"team_{n}"}):
        PythonOperator(task_id="read", python_callable=fail)
"""


def test_what_is_too_much_for_a_receiver_is_told_together_in_its_own_words(start: Start, dags: Path) -> None:
    with hook() as pager:
        words = '[receivers.pager.template]\ntitle = "{{ owner }}: {{ dag }}"\ntext = "{{ text }}"\n'
        limit = 'limit = { messages = 2, per = "4s" }'
        it = start(webhook("pager", pager.url, limit) + words)
        write_dag(dags, "many.py", MANY)
        for n in range(6):
            it.wait_dag(f"many_{n}")
        for n in range(6):
            assert it.trigger(f"many_{n}", "r").status_code == 200
        pages = wait_until("all of them", lambda: len(of_rule(it, "run_failed")) == 6 and told(pager.got))
        assert pages[0].body["data"]["title"].startswith("team_")
        digest = next(page for page in pages if "too much to tell one by one" in page.body["data"]["text"])
        assert "more" in digest.body["data"]["text"]
        states = [one["state"] for alert in of_rule(it, "run_failed") for one in alert["notifications"]]
        assert "withheld" not in states
        assert "gathered" in states
        assert len(pages) < 6


def told(got: list[Any]) -> list[Any] | None:
    """The pages, once the last of them tells of the others."""
    pages = [one for one in got if one.body["type"] == "alert.firing"]
    return pages if any("too much" in page.body["data"]["text"] for page in pages) else None


RETRIED = """
import os
from datetime import timedelta

from airflow import DAG
from airflow.operators.python import PythonOperator

def load():
    seen = os.environ["WITNESS"] + ".tried"
    if not os.path.exists(seen):
        open(seen, "w").close()
        raise RuntimeError("the warehouse is busy")

with DAG("retried", schedule=None, default_args={"email": "ana@example.org", "email_on_failure": False}):
    PythonOperator(task_id="load", python_callable=load, retries=1, retry_delay=timedelta(seconds=1))
"""


def test_a_retry_is_mailed_to_whom_its_task_names_and_to_nobody_else(start: Start, dags: Path) -> None:
    with mailbox() as box, hook() as pager:
        mail = f"""
[receivers.mail.email]
smarthost = "127.0.0.1:{box.port}"
tls = "none"
from = "dagbok@example.org"
to = ["platform@example.org"]
dag_email = true
[route]
receiver = "pager"
"""
        it = start(webhook("pager", pager.url) + mail)
        write_dag(dags, "retried.py", RETRIED)
        it.wait_dag("retried")
        assert it.trigger("retried", "r").status_code == 200
        assert it.api.wait_run("retried", "r") == "success"
        (letter,) = wait_until("the letter", lambda: box.letters)
        assert str(letter["to"]) == "ana@example.org"
        assert "tried again" in " ".join(str(letter["subject"]).split())
        wait_until("its end", lambda: [one["state"] for one in of_rule(it, "task_retried")] == ["resolved"])
        assert (len(box.letters), pager.got) == (1, [])


def test_check_fails_in_ci_where_a_dag_reaches_nobody(dags: Path, tmp_path: Path) -> None:
    write_dag(dags, "many.py", MANY)
    file = tmp_path / "alerting.toml"
    # No secret of it is there in CI, and none is needed.
    pager = '[receivers.pager.pagerduty]\nrouting_key = { env = "NOT_SET_ANYWHERE" }\n'
    file.write_text(pager)
    found = Cli().json("alerts", "check", str(file), "--dags", str(dags))
    assert [dag["dag_id"] for dag in found["dags"]] == [f"many_{n}" for n in range(6)]
    assert {(dag["owner"], *dag["receivers"]) for dag in found["dags"]} == {(f"team_{n}", "pager") for n in range(6)}
    span = 'person = "ana", from = "2020-01-01T00:00", until = "2020-01-02T00:00"'
    nobody = f'[schedules.empty]\nzone = "UTC"\noverrides = [{{ {span} }}]\n'
    route = '[chains.c]\nsteps = [{ schedules = ["empty"] }]\n[route]\nreceiver = "pager"\n'
    third = '[[route.routes]]\nmatchers = [\'owner="team_3"\']\nchain = "c"\n'
    people = '[people.ana]\ncontacts = [{ receiver = "pager" }]\n'
    file.write_text(pager + people + nobody + route + third)
    lost = Cli().run("alerts", "check", str(file), "--dags", str(dags))
    assert lost.returncode == 4
    assert "nobody is told of what goes wrong with many_3" in lost.stderr
    (dags / "broken.py").write_text("from airflow import DAG\nraise ValueError('no')\n")
    assert Cli().run("alerts", "check", str(file), "--dags", str(dags)).returncode == 7
    assert Cli().run("alerts", "check", str(file), "--dags", str(tmp_path / "nowhere")).returncode == 8
