"""Watchers of assets, by the real binary: events of triggers make runs, for as long as somebody waits for them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from apart import Apart
from harness import Standalone, wait_until, write_dag

from test_deferring import triggers_processes

WATCHED = """
import os
from airflow.providers.standard.triggers.file import FileDeleteTrigger
from airflow.sdk import DAG, Asset, AssetWatcher, task
from airflow.triggers.base import BaseEventTrigger, TriggerEvent


class Broken(BaseEventTrigger):
    def serialize(self):
        return (f"{__name__}.Broken", {})

    async def run(self):
        raise ValueError("no such stream")
        yield


flag = Asset("flag", watchers=[
    AssetWatcher(name="flag", trigger=FileDeleteTrigger(filepath=os.environ["WITNESS"] + ".flag", poke_interval=0.1))])
broken = Asset("broken", watchers=[AssetWatcher(name="broken", trigger=Broken())])

with DAG("watched", schedule=flag):
    @task
    def seen(triggering_asset_events=None):
        (event,) = triggering_asset_events[flag]
        return event.extra
    seen()

with DAG("also", schedule=[flag, broken]):
    @task
    def never():
        pass
    never()
"""


def runs(api: Any) -> list[dict[str, Any]]:
    """The runs of the DAG that waits for the file alone, oldest first."""
    found: list[dict[str, Any]] = api.get("/dags/watched/dagRuns", order_by="run_after")["dag_runs"]
    return found


def ended(api: Any, count: int) -> list[dict[str, Any]] | None:
    """The runs, once there are so many and all of them are over."""
    found = runs(api)
    return found if len(found) == count and all(run["state"] == "success" for run in found) else None


def test_each_event_of_a_watcher_makes_a_run(running: Standalone, dags: Path, tmp_path: Path) -> None:
    write_dag(dags, "watched.py", WATCHED)
    running.wait_dag("watched")
    flag = tmp_path / "witness.flag"
    for number in (1, 2):
        flag.touch()
        found = wait_until("a run by the event", lambda number=number: ended(running.api, number))
    assert not flag.exists()
    place = f"/dags/watched/dagRuns/{found[0]['dag_run_id']}/taskInstances/seen/xcomEntries/return_value"
    extra = running.api.get(place)["value"]
    assert (json.loads(extra) if isinstance(extra, str) else extra) == {"from_trigger": True, "payload": True}
    failed = wait_until(
        "the broken one's failure",
        lambda: [
            fact
            for record in running.api.events()
            if record.get("run_id") == "__watch__"
            for fact in record["facts"]
            if fact["type"] == "TriggerFailed"
        ],
    )
    assert "no such stream" in failed[0]["traceback"]
    # It outlives the processes that run it, and one of the two DAGs is enough.
    running.cli.ok("dags", "pause", "also")
    running.process.kill()
    running.start()
    flag.touch()
    wait_until("a run after a restart", lambda: ended(running.api, 3))
    running.cli.ok("dags", "pause", "watched")
    wait_until("nobody to run triggers for", lambda: flag.touch() is None and flag.exists() and not _taken(flag))
    assert len(runs(running.api)) >= 3
    assert triggers_processes(running), "its process goes later"


def _taken(flag: Path) -> bool:
    """Whether somebody takes the file away within a second."""
    import time

    until = time.monotonic() + 1
    while time.monotonic() < until:
        if not flag.exists():
            return True
        time.sleep(0.05)
    return False


def test_on_a_broker_the_watchers_of_a_killed_triggerer_run_elsewhere(tmp_path: Path) -> None:
    with Apart(tmp_path, triggerers=1) as apart:
        write_dag(apart.dags, "watched.py", WATCHED)
        wait_until("the DAG", lambda: apart.api.get("/dags/watched"))
        flag = tmp_path / "witness.flag"
        flag.touch()
        wait_until("a run", lambda: ended(apart.api, 1))
        apart.services["triggerer-9"] = apart.service("triggerer-9", apart.env).start()
        apart.services["triggerer-0"].kill()
        flag.touch()
        wait_until("another run", lambda: ended(apart.api, 2), patience=60)
