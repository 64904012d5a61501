"""Alerting in several copies: one leads and tells, and where it dies another takes over."""

from __future__ import annotations

import json
import os
from pathlib import Path

from alert_scenes import config
from apart import Apart
from harness import NAMESPACE, Cli, Process, password, wait_until, write_dag
from receivers import hook

# Fifty copies of a task, each of which fails: fifty facts of the same trouble.
MANY = """
from airflow import DAG
from airflow.operators.python import PythonOperator

def train(part):
    raise RuntimeError("the model does not fit")

with DAG("training", schedule=None, default_args={"owner": "ml"}) as dag:
    PythonOperator.partial(task_id="train", python_callable=train).expand(op_args=[[n] for n in range(50)])
"""


def leader(it: Apart) -> Process | None:
    """Who of those that are alive leads, by its own word."""
    alive = [one for one in it.of("alerting") if one.child is not None and one.child.poll() is None]
    return next((one for one in alive if "alerting leads" in one.log.read_text()), None)


def test_three_replicas_tell_once_of_fifty_failures_and_a_killed_one_is_replaced(tmp_path: Path) -> None:
    with hook() as pager:
        pager.open.clear()
        config(tmp_path, f'[receivers.pager.webhook]\nurl = "{pager.url}"\n')
        it = Apart(tmp_path, alerting=3)
        write_dag(it.dags, "training.py", MANY)
        with it:
            wait_until("the DAG", lambda: it.api.get("/dags/training"))
            first = wait_until("one that leads", lambda: leader(it))
            body = {"dag_run_id": "night_1", "logical_date": None}
            assert it.api.post("/dags/training/dagRuns", body).status_code == 200
            wait_until("the first attempt", lambda: pager.got, 120.0)
            # It dies with its message under way; the two others stand by.
            first.kill()
            wait_until("another's attempt", lambda: len(pager.got) == 2, 30.0)
            assert leader(it) is not None
            pager.open.set()
            shown = wait_until("the receipt", lambda: told(it), 30.0)
            assert len({got.id for got in pager.got}) == 1, "one page by the provider's own counting"
            assert len(shown) == 1
            failed = [fact for record in it.api.events() for fact in record["facts"] if fact["type"] == "TryFailed"]
            assert len(failed) == 50


def told(it: Apart) -> list[str] | None:
    """The messages that a provider took about the run, once it took one."""
    found = it.api.get("/dagbok/runs/training/night_1/told")["alerts"]
    taken = [one["state"] for alert in found for one in alert["notifications"] if one["state"] == "accepted"]
    return taken or None


# What the broker may hold, in bytes.
MOST = 8 << 20


def test_a_broker_that_is_nearly_full_pages_and_the_doctor_says_so(tmp_path: Path) -> None:
    """What takes the room is the DAG folder's own data, which comes with its code."""
    with hook() as pager:
        config(tmp_path, f'[receivers.pager.webhook]\nurl = "{pager.url}"\n')
        it = Apart(tmp_path, alerting=1, most=MOST)
        write_dag(it.dags, "training.py", MANY)
        (it.dags / "model.bin").write_bytes(os.urandom(int(MOST * 0.97)))
        with it:
            wait_until("the DAG", lambda: it.api.get("/dags/training"))
            (page, *_) = wait_until("the page", lambda: pager.of("firing"), 90.0)
            labels = page.body["data"]["labels"]
            assert (labels["rule"], labels["severity"], labels["store"][:13]) == (
                "disk_filling",
                "critical",
                "JetStream on ",
            )
            assert "once it is full the broker refuses every record" in page.body["data"]["title"]
            argv = ["doctor", "--nats", it.nats.url, "--namespace", NAMESPACE, "--nats-user", "alerting", "--json"]
            env = {"DAGBOK__NATS__PASSWORD": password("alerting"), "DAGBOK__NATS__MONITOR": it.nats.monitor or ""}
            found = json.loads(Cli(env=env).run(*argv).stdout)
            (storage,) = [one for one in found["findings"] if one["check"] == "storage"]
            assert storage["status"] == "error"
            assert storage["message"].startswith("7 of 8 MiB are taken of what JetStream on"), storage
