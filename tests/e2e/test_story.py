"""The story that all of this is for, whole: a training that outgrows its memory, and whoever is on call."""

from __future__ import annotations

from pathlib import Path

import httpx
from alert_scenes import Start, link_of, of_rule, webhook
from harness import wait_until, write_dag
from receivers import hook

# What the training may have, and what the configuration says of that.
LIMIT_MIB = 256
RECOMMENDATION = f"""
import os
import resource
from datetime import datetime, timedelta

from airflow import DAG
from airflow.operators.python import PythonOperator

def interactions():
    return 1_000

def train():
    if os.path.exists(os.environ["WITNESS"]):
        return "a smaller model"
    # What a container's limit does to an allocation, without a container.
    resource.setrlimit(resource.RLIMIT_DATA, ({LIMIT_MIB} << 20, resource.RLIM_INFINITY))
    factors = []
    while True:
        factors.append(b"x" * (4 << 20))

with DAG(
    "recommendation",
    schedule=None,
    default_args={{"owner": "ml-recs"}},
    tags=["models"],
) as dag:
    (
        PythonOperator(task_id="interactions", python_callable=interactions)
        >> PythonOperator(task_id="train", python_callable=train)
        >> PythonOperator(task_id="publish", python_callable=lambda: None)
    )
"""


def test_a_training_that_outgrows_its_memory_pages_is_acknowledged_and_is_over_with_the_next_success(
    start: Start, dags: Path, tmp_path: Path
) -> None:
    with hook() as pager:
        limits = f"\n[[thresholds]]\nmatchers = ['owner=\"ml-recs\"']\nmemory_mib = {LIMIT_MIB}\n"
        address = 'external_url = "https://dagbok.example.org"\n'
        it = start(address + webhook("pager", pager.url) + limits)
        write_dag(dags, "recommendation.py", RECOMMENDATION)
        it.wait_dag("recommendation")
        assert it.trigger("recommendation", "night_1").status_code == 200
        assert it.api.wait_run("recommendation", "night_1") == "failed"
        (page,) = wait_until("the page", lambda: pager.of("firing"))
        data = page.body["data"]
        # What somebody needs to know who is woken: which task, how, how much of what, its last words, where to look.
        assert "at task train (out_of_memory)" in data["title"]
        assert (data["labels"]["owner"], data["labels"]["kind"]) == ("ml-recs", "out_of_memory")
        assert data["details"]["memory limit"] == f"{LIMIT_MIB} MiB"
        peak = int(data["details"]["peak memory"].removesuffix(" MiB"))
        assert LIMIT_MIB / 2 < peak < LIMIT_MIB * 2
        assert "factors.append" in data["details"]["last lines"]
        assert data["link"] == "https://dagbok.example.org/dags/recommendation/runs/night_1"
        seqs = {record["seq"] for record in it.api.events() for fact in record["facts"] if fact["type"] == "RunFailed"}
        assert seqs & set(data["causes"])
        taken = httpx.post(it.api.url + link_of(pager), headers={"origin": "https://dagbok.example.org"})
        assert "You have it in hand" in taken.text
        (alert,) = of_rule(it, "run_failed")
        assert (alert["state"], alert["changed_by"]) == ("acknowledged", "receiver:pager")
        (tmp_path / "witness").touch()
        assert it.trigger("recommendation", "night_2").status_code == 200
        assert it.api.wait_run("recommendation", "night_2") == "success"
        (end,) = wait_until("the end", lambda: pager.of("resolved"))
        assert end.body["data"]["dedup_key"] == data["dedup_key"]
        (alert,) = of_rule(it, "run_failed")
        assert (alert["state"], alert["resolved_why"]) == ("resolved", "recovered")
        assert len(pager.of("firing")) == 1
