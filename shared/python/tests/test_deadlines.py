"""Deadlines of a file: `sla` of tasks and Deadline Alerts, as the spec says them."""

from __future__ import annotations

from conftest import Folder

ALERTS = """
from datetime import timedelta
from airflow.sdk import DAG
from airflow.sdk.definitions.deadline import AsyncCallback, DeadlineAlert, DeadlineReference
from airflow.providers.standard.operators.empty import EmptyOperator

class Own(type(DeadlineReference.DAGRUN_QUEUED_AT)):
    pass

async def call(**kwargs):
    pass

def alert(reference, **more):
    return DeadlineAlert(reference=reference, interval=timedelta(minutes=5), callback=AsyncCallback(call), **more)

with DAG("d", schedule=None, deadline=[
    alert(DeadlineReference.DAGRUN_LOGICAL_DATE, name="first"),
    alert(DeadlineReference.DAGRUN_QUEUED_AT),
    alert(DeadlineReference.AVERAGE_RUNTIME(max_runs=4)),
    alert(Own()),
]):
    EmptyOperator(task_id="t")
"""


def test_deadline_alerts_are_in_the_spec_and_what_is_not_watched_is_told(folder: Folder) -> None:
    (answer,) = folder.parse(folder.write("file.py", ALERTS, header=False))
    (spec,) = answer["dags"]
    after = 300_000_000
    assert spec["deadlines"] == [
        {"from": "logical_date", "after": after, "name": "first"},
        {"from": "queued_at", "after": after},
        {"from": {"average_runtime": {"max_runs": 4, "min_runs": 4}}, "after": after},
    ]
    told = [it["what"] for it in spec["not_carried_out"]]
    assert len(told) == 4
    assert "file.call is not called" in told[0]
    assert told[3] == "a deadline counted from Own is not watched"


def test_a_fixed_deadline_is_an_instant(folder: Folder) -> None:
    spec = folder.spec(
        """
        from airflow.sdk import DeadlineAlert, DeadlineReference
        fixed = DeadlineReference.FIXED_DATETIME(datetime(2026, 5, 4, 12))
        with DAG("d", schedule=None, deadline=DeadlineAlert(fixed, timedelta(hours=-1))):
            EmptyOperator(task_id="t")
        """
    )
    assert spec["deadlines"] == [{"from": {"fixed": "2026-05-04T12:00:00Z"}, "after": -3_600_000_000}]
