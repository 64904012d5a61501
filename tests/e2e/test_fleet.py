"""A fleet on a broker: executors are drained and restarted under load, cordoned, refused; who waits for one of them."""

from __future__ import annotations

import json
import time
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
import pytest
from apart import Apart, trigger, wait_all
from harness import BIN, Process, check_history, wait_until

LOAD = """
import os, time
from datetime import datetime
from airflow.sdk import DAG, get_current_context, task

def note(word):
    ti = get_current_context()["ti"]
    with open(os.environ["WITNESS"], "a") as file:
        file.write(f"{word} {ti.run_id} {ti.task_id} {ti.try_number}\\n")

with DAG("load", start_date=datetime(2024, 1, 1), schedule=None, max_active_tasks=100) as dag:
    for n in range(12):
        @task(task_id=f"t{n}")
        def work(n=n):
            note("begin")
            time.sleep(0.2 + n % 3)
            note("end")
        work()
"""

LABELLED = """
from datetime import datetime
from airflow.sdk import DAG, task

with DAG("labelled", start_date=datetime(2024, 1, 1), schedule=None) as dag:
    @task(executor_config={"labels": {"region": "eu"}})
    def here():
        return 1

    @task(executor_config={"labels": {"region": "ap", "tier": "fast"}, "cpu": 1})
    def nowhere():
        return 2

    @task(executor_config={"labels": ["highmem"]})
    def large():
        return 3

    here()
    nowhere()
    large()
"""


def fleet(folder: Path, count: int) -> Apart:
    """Executors with names of their own."""
    it = Apart(folder, executors=count)
    for n, executor in enumerate(it.of("executor")):
        executor.env = {**executor.env, "DAGBOK__EXECUTOR__NAME": f"node-{n}"}
    return it


def listed(it: Apart, *more: str) -> list[dict[str, Any]]:
    """The executors, as the command line has them."""
    found: list[dict[str, Any]] = json.loads(it.cli.ok("--json", "executors", "list", *more))["executors"]
    return found


def known(it: Apart, dag_id: str) -> None:
    """Waits until a DAG is registered."""
    wait_until(f"DAG {dag_id}", lambda: it.api.get(f"/dags/{dag_id}"))


def there(it: Apart, name: str, status: str) -> dict[str, Any]:
    """Waits until one of that name stands so."""

    def found() -> dict[str, Any] | None:
        return next((one for one in listed(it) if one["name"] == name and one["status"] == status), None)

    one = wait_until(f"{name} is {status}", found)
    assert one is not None
    return one


def test_three_executors_are_restarted_one_after_the_other_and_no_try_is_lost_or_doubled(tmp_path: Path) -> None:
    it = fleet(tmp_path, 3)
    (it.dags / "load.py").write_text(LOAD)
    with it:
        known(it, "load")
        accepted: set[tuple[str, str]] = set()
        for n in range(3):
            there(it, f"node-{n}", "alive")
        for n, executor in enumerate(it.of("executor")):
            trigger(it.api, "load", f"r{n}", accepted)
            wait_until("it works", lambda n=n: any(one["running"] for one in listed(it) if one["name"] == f"node-{n}"))
            said = it.cli.ok("executors", "drain", f"node-{n}", "--limit", "1m", "--reason", "a new kernel")
            assert "it ends what it runs, leaves" in said
            assert executor.ends(90) == 0, "it leaves by itself, well"
            executor.start()
            one = there(it, f"node-{n}", "cordoned")
            assert one["cordon"]["reason"] == "a new kernel"
            assert one["cordon"]["drain"]
            it.cli.ok("executors", "uncordon", f"node-{n}")
            there(it, f"node-{n}", "alive")
        wait_all(it.api, accepted, 120)
        records = it.api.events()
        check_history(records, accepted)
        # What had not begun may have been handed back, and then has another number: by run and task it is once.
        told = [line.split() for line in (tmp_path / "witness").read_text().splitlines()]
        lines = Counter((word, run, task) for word, run, task, _ in told)
        assert lines == {(word, f"r{n}", f"t{t}"): 1 for word in ("begin", "end") for n in range(3) for t in range(12)}
        facts = Counter(fact["type"] for record in records for fact in record["facts"])
        assert facts["TryLost"] == 0
        assert facts["ExecutorCordoned"] == facts["ExecutorUncordoned"] == 3
        assert facts["ExecutorLeft"] == 3


def test_a_cordon_holds_over_restarts_and_why_and_the_queue_tell_of_it(tmp_path: Path) -> None:
    it = fleet(tmp_path, 1)
    (it.dags / "load.py").write_text(LOAD)
    with it:
        known(it, "load")
        there(it, "node-0", "alive")
        said = it.cli.ok("executors", "cordon", "node-0", "--reason", "its disk is odd")
        assert "nobody else takes work now from: default" in said
        assert "takes nothing new already" in it.cli.ok("executors", "cordon", "node-0", "--reason", "its disk is odd")
        for name in ("executor-0", "scheduler-0"):
            assert it.services[name].stop() == 0
            it.services[name].start()
        there(it, "node-0", "cordoned")
        accepted: set[tuple[str, str]] = set()
        wait_until("a scheduler decides", lambda: trigger(it.api, "load", "r1", accepted) or accepted)
        queue = wait_until("the tries are on offer", lambda: waiting(it, 12))
        # One that is cordoned is no room, and yet is counted by whoever counts executors.
        assert queue["slots_wanted"] == 12 + 8
        assert queue["slots"] == 0
        assert queue["cordoned"] == {"": 8}
        why = it.cli.ok("why", "load", "r1", "t0")
        assert "is cordoned since" in why
        assert "its disk is odd" in why
        # As long as an executor's look, twice: nothing begins.
        time.sleep(3)
        assert not (tmp_path / "witness").exists()
        shown = it.cli.ok("executors", "show", there(it, "node-0", "cordoned")["executor"])
        assert "node-0 is cordoned since" in shown
        it.cli.ok("executors", "uncordon", "node-0")
        wait_all(it.api, accepted, 60)
        assert waiting(it, 0)["oldest_wait_seconds"] == 0
        unknown = it.cli.run("executors", "cordon", "nobody")
        assert unknown.returncode == 3
        assert "no executor that is there has the id or the name `nobody`" in unknown.stderr


def waiting(it: Apart, count: int) -> dict[str, Any]:
    """What a scaler is told of the default queue, once so many wait there."""
    told: dict[str, Any] = it.api.get("/dagbok/queues/default")
    return told if told.get("queued") == count else {}


def test_labels_are_matched_and_what_nobody_has_is_said_at_once(tmp_path: Path) -> None:
    it = fleet(tmp_path, 2)
    for executor, label in zip(it.of("executor"), ("region=eu", "highmem"), strict=True):
        executor.argv += ["--label", label]
    (it.dags / "labelled.py").write_text(LABELLED)
    with it:
        known(it, "labelled")
        there(it, "node-0", "alive")
        there(it, "node-1", "alive")
        trigger(it.api, "labelled", "r1", set())
        why = wait_until(
            "it says what is lacking", lambda: "the label" in (w := it.cli.ok("why", "labelled", "r1", "nowhere")) and w
        )
        assert "the label `region` to be `ap`, where there is `eu`" in why
        assert "the label `tier` to be `fast`, where there is nothing" in why

        def ran_by() -> dict[str, str]:
            records = it.api.events()
            starts = [(r["by"], f) for r in records for f in r["facts"] if f["type"] == "TryStarted"]
            names = {one["executor"]: one["name"] for one in listed(it)}
            return {fact["task_id"]: names[fact["executor"]] for _, fact in starts}

        ran = wait_until("both run", lambda: len(found := ran_by()) == 2 and found)
        assert ran == {"here": "node-0", "large": "node-1"}
        signal = it.api.get("/dagbok/queues/default", labels="region=ap,tier=fast")
        assert signal["slots_wanted"] == 1
        assert signal["wanted"][0]["cpus"] == 1.0
        assert it.api.get("/dagbok/queues/default", labels="region=us")["slots_wanted"] == 0
        assert it.api.get("/dagbok/queues/nobody-named-it")["slots_wanted"] == 0
        metrics = httpx.get(f"{it.api.url}/metrics").text
        line = 'dagbok_queue_wanted{queue="default",labels="region=ap,tier=fast",resource="cpus"} 1.000'
        assert line in metrics


def test_an_executor_of_a_version_too_far_is_refused_and_both_sides_say_why(tmp_path: Path) -> None:
    """Whoever leads says by the keyed state what it speaks; the fleet's own are refused by that word."""
    pytest.importorskip("nats")
    import asyncio
    from concurrent.futures import ThreadPoolExecutor

    import nats

    it = fleet(tmp_path, 1)
    with it:
        there(it, "node-0", "alive")

        async def say(version: bytes) -> None:
            from harness import password

            client = await nats.connect(it.nats.url, user="rogue", password=password("rogue"))
            await client.jetstream().publish("$KV.dagbok_default_state.protocol", version)
            await client.close()

        # On a thread of its own: a browser's test before this one may have left a loop that runs.
        with ThreadPoolExecutor(1) as apart:
            apart.submit(lambda: asyncio.run(say(b"3"))).result()
        assert it.services["executor-0"].stop() == 0
        it.services["executor-0"].start()
        there(it, "node-0", "alive")
        with ThreadPoolExecutor(1) as apart:
            apart.submit(lambda: asyncio.run(say(b"9"))).result()
        executor: Process = it.services["executor-0"]
        assert executor.ends(60) != 0, "it leaves by itself"
        assert "speaks version 2 of the protocol and the scheduler version 9" in executor.log.read_text()


def test_the_help_names_what_can_be_done() -> None:
    """The commands of the issue are there."""
    import subprocess

    said = subprocess.run([str(BIN), "executors", "--help"], capture_output=True, text=True, check=True).stdout
    assert all(f"  {word}" in said for word in ("list", "show", "drain", "cordon", "uncordon"))
