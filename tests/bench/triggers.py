"""What deferred tasks cost, and how soon one goes on: a part of `run.py`."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path

from harness import standalone, wait_until, write_dag

MANY = 2_000
WAITING = f"""
import asyncio, os, time
from datetime import datetime, timedelta

from airflow import DAG
from airflow.models import BaseOperator
from airflow.triggers.base import BaseTrigger, TriggerEvent
from airflow.triggers.temporal import TimeDeltaTrigger

OUT = os.environ["BENCH_OUT"]


class Waits(BaseOperator):
    def __init__(self, number, **kwargs):
        super().__init__(**kwargs)
        self.number = number

    def execute(self, context):
        self.defer(trigger=TimeDeltaTrigger(timedelta(hours=8)), method_name="go_on")


class Soon(BaseTrigger):
    def serialize(self):
        return (f"{{__name__}}.Soon", {{}})

    async def run(self):
        await asyncio.sleep(0.3)
        yield TriggerEvent(time.time())


class GoesOn(BaseOperator):
    def execute(self, context):
        self.defer(trigger=Soon(), method_name="go_on")

    def go_on(self, context, event):
        with open(OUT, "a") as out:
            out.write(f"{{time.time() - event}}\\n")


with DAG("many", schedule=None, start_date=datetime(2024, 1, 1), max_active_tasks=64):
    Waits.partial(task_id="waits").expand(number=list(range({MANY})))
with DAG("soon", schedule=None, start_date=datetime(2024, 1, 1)):
    before = None
    for n in range(40):
        one = GoesOn(task_id=f"t{{n}}")
        if before is not None:
            before >> one
        before = one
"""


def processes() -> list[int]:
    """The Python processes that run triggers on this machine."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and b"dagbok.runtime.triggerer" in (entry / "cmdline").read_bytes().split(b"\0"):
                found.append(int(entry.name))
        except OSError:
            continue
    return found


def cpu_seconds(pid: int) -> float:
    """CPU time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def megabytes(pid: int) -> float:
    """Memory of a process."""
    line = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) / 1024


def triggers(folder: Path, row: Callable[[str, str, str, bool | None], None]) -> None:
    """Two thousand that wait, and forty that go on one after the other."""
    dags, out = folder / "dags", folder / "out"
    dags.mkdir()
    write_dag(dags, "waiting.py", WAITING)
    others = set(processes())
    with standalone(folder, dags, env={"BENCH_OUT": str(out)}) as it:
        it.wait_dag("soon")
        it.trigger("soon", "r1")
        it.api.wait_run("soon", "r1", patience=120)
        took = sorted(float(line) for line in out.read_text().splitlines())
        p50, p99 = statistics.median(took) * 1e3, took[int(len(took) * 0.99)] * 1e3
        row(
            "a trigger's event to the first line of what goes on, embedded durable",
            f"p50 {p50:.1f} ms, p99 {p99:.1f} ms",
            "50 ms",
            p50 <= 50,
        )
        it.trigger("many", "r1")
        place = "/dags/many/dagRuns/r1/taskInstances"
        wait_until(
            "all to be deferred",
            lambda: it.api.get(place, state="deferred", limit=1)["total_entries"] == MANY,
            patience=300,
        )
        time.sleep(5)
        (pid,) = max([[pid] for pid in set(processes()) - others], key=lambda one: megabytes(one[0]))
        before, began = cpu_seconds(pid), time.monotonic()
        time.sleep(30)
        share = 100 * (cpu_seconds(pid) - before) / (time.monotonic() - began)
        memory = megabytes(pid)
        row(
            f"{MANY:,} deferred triggers in one process",
            f"{share:.1f} % of a core, {memory:.0f} MB",
            "5 % and 150 MB",
            share <= 5 and memory <= 150,
        )
