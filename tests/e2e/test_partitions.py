"""Partitions of assets, on the real binary: tasks say keys, DAGs have a run for each that has what it needs."""

from pathlib import Path
from typing import Any

import httpx
from harness import Standalone, standalone, wait_until, write_dag

REGIONS = """
from airflow.sdk import (
    DAG, Asset, FixedKeyMapper, PartitionedAssetTimetable, PartitionedAtRuntime, ProductMapper, IdentityMapper,
    RollupMapper, SegmentWindow, StartOfDayMapper, task,
)

sales = Asset("sales")

with DAG("make", schedule=PartitionedAtRuntime()):
    @task(outlets=[sales])
    def make(*, outlet_events=None, dag_run=None):
        for region in dag_run.conf["regions"]:
            outlet_events[sales].add_partitions(f"{region}|2026-06-14T03:00:00")

    make()

with DAG("daily", schedule=PartitionedAssetTimetable(
    sales, default_partition_mapper=ProductMapper(IdentityMapper(), StartOfDayMapper()))):
    @task
    def see(dag_run=None, partition_key=None, partition_date=None):
        return [dag_run.partition_key, partition_key, partition_date.isoformat()]

    see()

with DAG("regions", schedule=PartitionedAssetTimetable(
    sales, default_partition_mapper=RollupMapper(upstream_mapper=FixedKeyMapper("all"), window=SegmentWindow(
        ["us|2026-06-14T03:00:00", "eu|2026-06-14T03:00:00"])))):
    task(task_id="t")(lambda: None)()
"""


def runs(dagbok: Standalone, dag: str) -> list[Any]:
    found: list[Any] = dagbok.api.get(f"/dags/{dag}/dagRuns")["dag_runs"]
    return found


def dropped(dagbok: Standalone, body: dict[str, Any]) -> None:
    """What waits for partitions goes when somebody says so, and once."""
    pending = "/dagbok/dags/regions/partitions"
    assert dagbok.api.get(pending)["partitioned_dag_runs"] == []
    assert dagbok.api.post("/assets/events", body).status_code == 200
    assert len(dagbok.api.get(pending)["partitioned_dag_runs"]) == 1
    queued = "/dags/regions/assets/queuedEvents"
    path = f"{dagbok.api.url}/api/v2{queued}"
    assert httpx.delete(path, timeout=30.0).status_code == 204
    assert dagbok.api.get(pending)["partitioned_dag_runs"] == []
    assert httpx.delete(path, timeout=30.0).status_code == 404


def told(dagbok: Standalone) -> None:
    for dag in ("make", "daily", "regions"):
        dagbok.wait_dag(dag)
    assert dagbok.trigger("make", "r1", conf={"regions": ["us", "apac", "us"]}).status_code == 200
    assert dagbok.api.wait_run("make", "r1") == "success"
    made = wait_until("two runs", lambda: it if len(it := runs(dagbok, "daily")) == 2 else None)
    assert {run["partition_key"] for run in made} == {"us|2026-06-14", "apac|2026-06-14"}
    assert all(run["logical_date"] is None for run in made)
    one = next(run for run in made if run["partition_key"].startswith("us"))
    assert one["partition_date"].startswith("2026-06-14T00:00:00")
    assert dagbok.api.wait_run("daily", one["dag_run_id"]) == "success"
    path = f"/dags/daily/dagRuns/{one['dag_run_id']}/taskInstances/see/xcomEntries/return_value"
    assert dagbok.api.get(path)["value"] == ["us|2026-06-14", "us|2026-06-14", "2026-06-14T00:00:00+00:00"]

    assert runs(dagbok, "regions") == []
    pending = dagbok.api.get("/dagbok/dags/regions/partitions")["partitioned_dag_runs"]
    assert [it["partition_key"] for it in pending] == ["all"]
    asset = pending[0]["assets"][0]
    assert (asset["received_count"], asset["required_count"]) == (1, 2)
    assert asset["missing_keys"] == ["eu|2026-06-14T03:00:00"]
    assert "1 of 2, not eu|2026-06-14T03:00:00 yet" in dagbok.cli.json("why", "regions")["message"]
    events = dagbok.api.get("/assets/events")["asset_events"]
    assert sorted(event["partition_key"].partition("|")[0] for event in events) == ["apac", "us"]
    body = {"asset_id": events[0]["asset_id"], "partition_key": "eu|2026-06-14T03:00:00"}
    assert dagbok.api.post("/assets/events", body).status_code == 200
    wait_until("the rollup's run", lambda: runs(dagbok, "regions") or None)

    dagbok.cli.ok("dags", "trigger", "daily", "--run-id", "by_hand", "--partition-key", "eu|2026-06-15")
    by_hand = dagbok.api.get("/dags/daily/dagRuns/by_hand")
    assert by_hand["partition_key"] == "eu|2026-06-15"
    found = dagbok.api.get("/dags/~/dagRuns", partition_key_pattern="apac")["dag_runs"]
    assert [(run["dag_id"], run["partition_key"]) for run in found] == [("daily", "apac|2026-06-14")]
    begun = dagbok.api.get("/dags/~/dagRuns", partition_date_gte="2026-06-15T00:00:00Z")["dag_runs"]
    assert [run["dag_run_id"] for run in begun] == ["by_hand"]
    dropped(dagbok, body)
    refused = dagbok.trigger("make", "r2", partition_key=" ")
    assert refused.status_code == 422, refused.text


def test_each_partition_has_a_run_and_what_waits_says_for_what(tmp_path: Path) -> None:
    dags = tmp_path / "dags"
    write_dag(dags, "regions.py", REGIONS)
    with standalone(tmp_path, dags) as dagbok:
        told(dagbok)
