"""What takes too long, and what is missing: each pages, names its cause, and ends by itself."""

from __future__ import annotations

import base64
import signal
from pathlib import Path
from typing import Any

import httpx
from alert_scenes import Start, config, fail, link_of, of_rule, told_of, webhook
from harness import Standalone, wait_until, write_dag
from receivers import SECRET, hook

OLD = "whsec_" + base64.b64encode(b"what the webhook was signed with before").decode()

WAITING = """
import os, time
from datetime import timedelta
from airflow.sdk import DAG
from airflow.sdk.definitions.deadline import AsyncCallback, DeadlineAlert, DeadlineReference
from airflow.providers.standard.operators.python import PythonOperator

async def call(**kwargs):
    raise RuntimeError("nobody calls this")

def serve():
    while not os.path.exists(os.environ["WITNESS"]):
        time.sleep(0.05)

deadline = DeadlineAlert(
    reference=DeadlineReference.DAGRUN_QUEUED_AT, interval=timedelta(seconds=2), callback=AsyncCallback(call),
    name="fresh",
)
with DAG("model", schedule=None, deadline=deadline, default_args={"owner": "ml"}):
    PythonOperator(task_id="serve", python_callable=serve)
"""

POOLED = """
from airflow import DAG
from airflow.operators.python import PythonOperator

with DAG("pooled", schedule=None, default_args={"owner": "ml"}):
    PythonOperator(task_id="train", python_callable=print, pool="gpu")
"""


def open_of(it: Standalone, rule: str) -> dict[str, Any] | None:
    """The open alert of a rule."""
    return next((one for one in of_rule(it, rule) if one["state"] != "resolved"), None)


def test_a_deadline_of_the_dags_file_pages_and_the_runs_end_ends_it(start: Start, dags: Path, tmp_path: Path) -> None:
    with hook() as pager:
        it = start(webhook("pager", pager.url))
        write_dag(dags, "model.py", WAITING)
        it.wait_dag("model")
        assert it.trigger("model", "night_1").status_code == 200
        alert = wait_until("the alert", lambda: open_of(it, "deadline_missed"))
        assert alert["labels"]["severity"] == "critical"
        assert alert["labels"]["owner"] == "ml"
        assert "run night_1 is not done, and its deadline fresh was" in alert["summary"]
        (created,) = [
            record["seq"]
            for record in it.api.events()
            if record.get("run_id") == "night_1" and record["facts"][0]["type"] == "RunCreated"
        ]
        assert alert["causes"] == [created]
        wait_until("the page", lambda: told_of(it, alert["alert_id"], "pager"))
        said = it.cli.json("alerts", "explain", str(tmp_path / "alerting.toml"), "--event", str(created))
        assert "deadline_missed" in [one["rule"] for one in said["awaited"]]
        assert said["wrong"] == []
        (tmp_path / "witness").touch()
        assert it.api.wait_run("model", "night_1") == "success"
        wait_until("its end", lambda: not open_of(it, "deadline_missed"))
        wait_until("the word of its end", lambda: pager.of("resolved"))
        sent = len(pager.got)
        again = it.cli.json("alerts", "backtest", str(tmp_path / "alerting.toml"), "--since", "1d")
        (would_be,) = [one for one in again["alerts"] if one["rule"] == "deadline_missed"]
        assert would_be["summary"] == alert["summary"]
        assert would_be["resolved_at"] is not None
        assert would_be["told"] == {"pager": 1}
        assert len(pager.got) == sent, "a history gone through again sends nothing"


def test_a_pool_that_is_not_there_pages_until_somebody_makes_it(start: Start, dags: Path, tmp_path: Path) -> None:
    with hook() as pager:
        it = start(webhook("pager", pager.url))
        write_dag(dags, "pooled.py", POOLED)
        it.wait_dag("pooled")
        assert it.trigger("pooled", "r").status_code == 200
        alert = wait_until("the alert", lambda: open_of(it, "pool_missing"))
        assert (alert["labels"]["pool"], alert["labels"]["task"]) == ("gpu", "train")
        wait_until("the page", lambda: told_of(it, alert["alert_id"], "pager"))
        it.cli.ok("pools", "set", "gpu", "1")
        assert it.api.wait_run("pooled", "r") == "success"
        wait_until("its end", lambda: not open_of(it, "pool_missing"))


def test_a_hangup_has_a_secret_read_again(start: Start, tmp_path: Path) -> None:
    secret = tmp_path / "hook-secret"
    secret.write_text(OLD)
    with hook() as pager:
        text = f'[receivers.pager.webhook]\nurl = "{pager.url}"\nsecret = {{ file = "{secret}" }}\n'
        it = start(text)
        fail(it, "night_1")
        (first,) = wait_until("the page", lambda: pager.of("firing"))
        assert first.is_signed(OLD)
        # The file that names it is as it was: nothing else says that it is to be read.
        secret.write_text(SECRET)
        it.process.send(signal.SIGHUP)
        wait_until("the reading", lambda: "read again" in it.process.log.read_text())
        assert it.process.alive()
        it.cli.ok("alerts", "test", "pager")
        (test,) = wait_until("the test", lambda: [got for got in pager.of("firing") if got is not first])
        assert test.is_signed(SECRET)


def test_thresholds_of_the_configuration_hold_from_when_they_are_there(start: Start, tmp_path: Path) -> None:
    with hook() as pager:
        it = start(webhook("pager", pager.url))
        (tmp_path / "witness").touch()
        assert it.trigger("training", "r").status_code == 200
        assert it.api.wait_run("training", "r") == "success"
        said = '\n[[thresholds]]\nmatchers = [\'owner="ml"\']\nmax_age = "2s"\n'
        config(tmp_path, webhook("pager", pager.url) + said)
        alert = wait_until("the alert", lambda: open_of(it, "stale"))
        assert "training: its last success is of" in alert["summary"]
        config(tmp_path, webhook("pager", pager.url) + said.replace("2s", "9h"))
        wait_until("its end", lambda: not open_of(it, "stale"))
        config(tmp_path, webhook("pager", pager.url) + "\n[[thresholds]]\nslow_percent = 50\n")
        refused = wait_until("the refusal", lambda: open_of(it, "configuration_refused"))
        (why,) = [one["value"] for one in refused["details"] if one["name"] == "error"]
        assert "slow_percent" in why
        assert "more than 100" in why


ASKING = """
from airflow.sdk import DAG
from airflow.providers.standard.operators.hitl import ApprovalOperator

with DAG("asking", schedule=None, default_args={"owner": "ml"}):
    ApprovalOperator(task_id="approve", subject="Ship it?")
"""


def test_a_question_that_nobody_answers_reaches_its_owner_until_it_is_answered(
    start: Start, dags: Path, tmp_path: Path
) -> None:
    with hook() as pager:
        receiver = webhook("pager", pager.url)
        it = start(receiver + '\n[[thresholds]]\nmatchers = [\'owner="ml"\']\nanswer_within = "1s"\n')
        write_dag(dags, "asking.py", ASKING)
        it.wait_dag("asking")
        assert it.trigger("asking", "r").status_code == 200
        alert = wait_until("the alert", lambda: open_of(it, "question_waiting"))
        labels = alert["labels"]
        assert (labels["severity"], labels["owner"], labels["task"]) == ("warning", "ml", "approve")
        assert alert["summary"].startswith("asking: task approve of run r waits since")
        assert alert["summary"].endswith('for an answer to "Ship it?"')
        wait_until("the page", lambda: told_of(it, alert["alert_id"], "pager"))
        it.cli.ok("hitl", "answer", "asking", "r", "approve", "Approve")
        wait_until("its end", lambda: not open_of(it, "question_waiting"))
        wait_until("the word of its end", lambda: pager.of("resolved"))
        for nothing in ("0s", "-1s"):
            (tmp_path / "nothing.toml").write_text(f'[[thresholds]]\nanswer_within = "{nothing}"\n')
            refused = it.cli.run("alerts", "check", str(tmp_path / "nothing.toml"))
            assert refused.returncode == 2, refused.stdout
            assert "answer_within" in refused.stderr


def test_the_key_of_links_lies_in_a_file_of_its_own_and_a_named_one_takes_its_place(
    start: Start, tmp_path: Path
) -> None:
    with hook() as pager:
        named = 'external_url = "https://dagbok.example.org"\n' + webhook("pager", pager.url)
        it = start(named)
        fail(it, "night_1")
        first = it.api.url + link_of(pager)
        assert httpx.get(first).status_code == 200
        (file,) = tmp_path.rglob("links.key")
        assert file.stat().st_mode & 0o777 == 0o600
        key = file.read_bytes()
        others = [other for other in tmp_path.rglob("*") if other.is_file() and other != file]
        assert len(key) == 32
        assert [other for other in others if key in other.read_bytes()] == []
        (tmp_path / "said.key").write_text("s" * 40)
        config(tmp_path, named + f'\n[links]\nkey = {{ file = "{tmp_path / "said.key"}" }}\n')
        wait_until("the key in force", lambda: httpx.get(first).status_code == 403)
        (tmp_path / "said.key").write_text("short")
        it.process.send(signal.SIGHUP)
        refused = wait_until("the refusal", lambda: open_of(it, "configuration_refused"))
        assert "32 characters" in str(refused["details"])
