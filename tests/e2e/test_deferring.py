"""Tasks that wait for triggers, on the real binary: what they do is told by files that the tasks write themselves."""

import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from apart import Apart
from harness import Standalone, check_history, wait_until, write_dag

HEAD = """
import asyncio, os, time
from datetime import datetime, timedelta

from airflow.models import BaseOperator
from airflow.triggers.base import BaseTrigger, TaskFailedEvent, TaskSkippedEvent, TaskSuccessEvent, TriggerEvent
from airflow.decorators import task
from airflow import DAG

WITNESS = os.environ["WITNESS"]


def tell(word):
    with open(WITNESS, "a") as out:
        out.write(word + "\\n")


class Waits(BaseTrigger):
    def __init__(self, name, how="fires"):
        super().__init__()
        self.name, self.how = name, how

    def serialize(self):
        return (f"{__name__}.Waits", {"name": self.name, "how": self.how})

    async def run(self):
        tell(f"trigger {self.name}")
        self.log.info("waiting for %s", self.name)
        while not os.path.exists(f"{WITNESS}.{self.name}"):
            await asyncio.sleep(0.02)
        if self.how == "raises":
            raise ValueError("the trigger is broken")
        if self.how == "blocks":
            time.sleep(3600)
        if self.how == "harms":
            asyncio.get_running_loop().call_soon(time.sleep, 3600)
            await asyncio.sleep(3600)
        if self.how == "dies":
            os._exit(3)
        if self.how == "nothing":
            return
        ends = {"succeeds": TaskSuccessEvent(xcoms={"return_value": 7}), "fails": TaskFailedEvent(),
                "skips": TaskSkippedEvent()}
        yield ends.get(self.how) or TriggerEvent({"told": self.name, "at": time.time()})

    async def cleanup(self):
        tell(f"cleanup {self.name}")


class Deferring(BaseOperator):
    def __init__(self, name, how="fires", timeout=None, **kwargs):
        super().__init__(**kwargs)
        self.name, self.how, self.wait = name, how, timeout

    def execute(self, context):
        tell(f"execute {self.name} {context['ti'].try_number}")
        self.defer(
            trigger=Waits(self.name, self.how), method_name="execute_complete", kwargs={"more": (1, 2)},
            timeout=None if self.wait is None else timedelta(seconds=self.wait),
        )

    def execute_complete(self, context, event, more):
        tell(f"complete {self.name} {event['told']} {more} {time.time() - event['at']:.3f}")
        return "came back"

"""


def deferring(running: Standalone, dags: Path, *body: str, args: str = "") -> None:
    """The DAG `waiting` with these lines in it."""
    lines = "\n".join(f"    {line}" for line in body)
    opened = f"with DAG('waiting', schedule=None, start_date=datetime(2024, 1, 1){args}):\n"
    write_dag(dags, "waiting.py", HEAD + opened + lines + "\n")
    running.wait_dag("waiting")


def told(tmp_path: Path) -> list[str]:
    """What tasks and triggers wrote."""
    witness = tmp_path / "witness"
    return witness.read_text().splitlines() if witness.exists() else []


def fire(tmp_path: Path, name: str) -> None:
    """Lets a trigger see what it waits for."""
    (tmp_path / f"witness.{name}").touch()


def begin(running: Standalone) -> str:
    """Triggers a run; returns its id."""
    assert running.trigger("waiting", "r1").status_code == 200
    return "r1"


def states(running: Standalone, run: str) -> dict[str, Any]:
    """The states of a run's tasks."""
    answer = running.api.get(f"/dags/waiting/dagRuns/{run}/taskInstances")
    return {one["task_id"]: one["state"] for one in answer["task_instances"]}


def is_deferred(running: Standalone, run: str, task_id: str) -> bool:
    """Whether that task waits for its trigger."""
    return states(running, run).get(task_id) == "deferred"


def facts(running: Standalone, run: str) -> list[tuple[str, dict[str, Any]]]:
    """The facts of a run, in order."""
    records = [record for record in running.api.events() if record.get("run_id") == run]
    return [(fact["type"], fact) for record in records for fact in record["facts"]]


def triggers_processes(running: Standalone) -> list[int]:
    """The processes that run triggers, children of that installation."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0")
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
        if b"dagbok.runtime.triggerer" in words and parent == running.process.child.pid:
            found.append(int(entry.name))
    return found


def test_a_task_gives_its_slot_up_and_goes_on_when_its_trigger_fires(
    running: Standalone, dags: Path, tmp_path: Path
) -> None:
    """The trigger is of the DAG's own file; what it says reaches the method that was named."""
    deferring(running, dags, "Deferring(task_id='one', name='one')")
    run = begin(running)
    wait_until("the trigger", lambda: "trigger one" in told(tmp_path))
    wait_until("deferred", lambda: is_deferred(running, run, "one"))
    pool = running.api.get("/pools/default_pool")
    assert (pool["deferred_slots"], pool["occupied_slots"]) == (1, 0)
    why = running.cli.ok("tasks", "why", "waiting", run, "one")
    assert "waits for the trigger" in why, why
    assert "Waits" in why, why
    fire(tmp_path, "one")
    assert running.api.wait_run("waiting", run) == "success"
    lines = told(tmp_path)
    assert lines[:2] == ["execute one 1", "trigger one"]
    complete = next(line for line in lines if line.startswith("complete"))
    assert complete.startswith("complete one one (1, 2)"), lines
    names = [name for name, _ in facts(running, run)]
    assert names.count("TryDeferred") == 1
    assert names.count("TriggerFired") == 1
    assert names.index("TryDeferred") < names.index("TriggerFired") < names.index("TrySucceeded")
    log = running.cli.ok("tasks", "logs", "waiting", run, "one")
    assert "waiting for one" in log, log
    assert "waits for the trigger" in log, log
    check_history(running.api.events(), {("waiting", run)})


@pytest.mark.parametrize(("how", "why"), [("raises", "the trigger is broken"), ("nothing", "without an event")])
def test_a_trigger_that_comes_to_nothing_fails_its_task_with_the_trace(
    running: Standalone, dags: Path, tmp_path: Path, how: str, why: str
) -> None:
    """By the task's own rules: it is tried again first."""
    deferring(running, dags, f"Deferring(task_id='one', name='one', how='{how}', retries=1, retry_delay=0.1)")
    fire(tmp_path, "one")
    run = begin(running)
    assert running.api.wait_run("waiting", run) == "failed"
    assert [line for line in told(tmp_path) if line.startswith("execute")] == ["execute one 1", "execute one 2"]
    log = running.cli.ok("tasks", "logs", "waiting", run, "one")
    assert why in log, log
    failed = [fact for name, fact in facts(running, run) if name == "TryFailed"]
    assert {fact["failure"]["exception"] for fact in failed} == {"TaskDeferralError"}


def test_events_that_end_the_task(running: Standalone, dags: Path, tmp_path: Path) -> None:
    """Nothing of the task runs any more; a failure is for good, as in Airflow."""
    deferring(
        running,
        dags,
        "good, bad, no = (Deferring(task_id=name, name=name, how=name, retries=2) "
        "for name in ('succeeds', 'fails', 'skips'))",
        "@task(trigger_rule='all_done')",
        "def after(ti=None):",
        "    tell(f\"pulled {ti.xcom_pull('succeeds')}\")",
        "[good, bad, no] >> after()",
    )
    for name in ("succeeds", "fails", "skips"):
        fire(tmp_path, name)
    run = begin(running)
    running.api.wait_run("waiting", run)
    assert states(running, run) == {"succeeds": "success", "fails": "failed", "skips": "skipped", "after": "success"}
    lines = told(tmp_path)
    assert "pulled 7" in lines
    assert not [line for line in lines if line.startswith("complete")]


def test_the_trigger_has_so_much_time(running: Standalone, dags: Path, tmp_path: Path) -> None:
    """Where it has not fired by then, the task fails of that; execution_timeout counts from its first start."""
    deferring(
        running,
        dags,
        "Deferring(task_id='one', name='one', timeout=0.5)",
        "Deferring(task_id='two', name='two', execution_timeout=timedelta(seconds=1))",
    )
    run = begin(running)
    assert running.api.wait_run("waiting", run) == "failed"
    failed = {fact["task_id"]: fact["failure"] for name, fact in facts(running, run) if name == "TryFailed"}
    assert failed["one"]["exception"] == "TaskDeferralTimeout"
    # Its time is up as the trigger's is: whichever is seen first.
    assert failed["two"]["exception"] in ("TaskDeferralTimeout", "AirflowTaskTimeout")
    wait_until("both to be cancelled", lambda: {"cleanup one", "cleanup two"} <= set(told(tmp_path)))


@pytest.mark.parametrize("how", ["mark", "clear", "cancel"])
def test_what_people_do_to_a_deferred_task_ends_its_trigger(
    running: Standalone, dags: Path, tmp_path: Path, how: str
) -> None:
    """Its cleanup runs; a task that was cleared runs anew, with a trigger of its own."""
    deferring(running, dags, "Deferring(task_id='one', name='one')")
    run = begin(running)
    wait_until("the trigger", lambda: "trigger one" in told(tmp_path))
    wait_until("deferred", lambda: is_deferred(running, run, "one"))
    place = f"/dags/waiting/dagRuns/{run}"
    if how == "mark":
        answer = running.api.patch(f"{place}/taskInstances/one", {"new_state": "success"})
    elif how == "clear":
        body = {"dry_run": False, "task_ids": ["one"], "dag_run_id": run, "only_failed": False}
        answer = running.api.post("/dags/waiting/clearTaskInstances", body)
    else:
        answer = running.api.patch(place, {"state": "failed"})
    assert answer.status_code == 200, answer.text
    wait_until("the trigger's end", lambda: "cleanup one" in told(tmp_path))
    if how == "clear":
        wait_until("another trigger", lambda: told(tmp_path).count("trigger one") == 2)
        fire(tmp_path, "one")
    ended = running.api.wait_run("waiting", run)
    assert ended == ("failed" if how == "cancel" else "success")
    assert len([line for line in told(tmp_path) if line.startswith("complete")]) == (1 if how == "clear" else 0)


def test_a_pool_may_count_what_is_deferred(running: Standalone, dags: Path, tmp_path: Path) -> None:
    """One slot: where deferred tasks are counted, the second task waits for the first one's trigger."""
    made = running.cli.run("pools", "set", "narrow", "1", "one slot", "--include-deferred")
    assert made.returncode == 0, made.stderr
    deferring(running, dags, "for name in ('one', 'two'): Deferring(task_id=name, name=name, pool='narrow')")
    run = begin(running)
    wait_until("one to be deferred", lambda: "deferred" in states(running, run).values())
    pool = running.api.get("/pools/narrow")
    assert (pool["occupied_slots"], pool["open_slots"], pool["deferred_slots"]) == (1, 0, 1)
    first = told(tmp_path)[0].split()[1]
    other = "two" if first == "one" else "one"
    assert not [line for line in told(tmp_path) if line.startswith(f"execute {other}")]
    fire(tmp_path, first)
    wait_until("the other's turn", lambda: f"execute {other} 1" in told(tmp_path))
    fire(tmp_path, other)
    assert running.api.wait_run("waiting", run) == "success"


def test_triggers_outlive_every_kill(running: Standalone, dags: Path, tmp_path: Path) -> None:
    """Of the process that runs them, and of all services; the task goes on once."""
    deferring(running, dags, *(f"Deferring(task_id='t{n}', name='t{n}')" for n in range(3)))
    run = begin(running)
    wait_until("deferred", lambda: list(states(running, run).values()) == ["deferred"] * 3)
    wait_until("the triggers", lambda: len([line for line in told(tmp_path) if line.startswith("trigger")]) == 3)
    for pid in triggers_processes(running):
        os.kill(pid, signal.SIGKILL)
    wait_until("them again", lambda: len([line for line in told(tmp_path) if line.startswith("trigger")]) == 6)
    running.process.kill()
    running.start()
    wait_until("and again", lambda: len([line for line in told(tmp_path) if line.startswith("trigger")]) == 9)
    for n in range(3):
        fire(tmp_path, f"t{n}")
    assert running.api.wait_run("waiting", run) == "success"
    assert len([line for line in told(tmp_path) if line.startswith("complete")]) == 3
    assert len([line for line in told(tmp_path) if line.startswith("execute")]) == 3
    check_history(running.api.events(), {("waiting", run)})


@pytest.mark.parametrize("how", ["blocks", "dies", "harms"])
def test_a_trigger_that_harms_the_others_is_found(running: Standalone, dags: Path, tmp_path: Path, how: str) -> None:
    """It alone fails, by name; those beside it go on. Where code that it left in the loop blocks it, nobody tells whose
    that is: it is found by taking them apart, as one that kills its process is."""
    deferring(
        running,
        dags,
        "for name in ('one', 'two', 'three'): Deferring(task_id=name, name=name)",
        f"Deferring(task_id='bad', name='bad', how='{how}')",
    )
    run = begin(running)
    wait_until("deferred", lambda: list(states(running, run).values()) == ["deferred"] * 4)
    fire(tmp_path, "bad")
    wait_until("the bad one to fail", lambda: states(running, run)["bad"] == "failed", patience=120)
    why = next(fact["why"] for name, fact in facts(running, run) if name == "TriggerFailed")
    assert why == {"blocks": "blocked", "dies": "died", "harms": "blocked"}[how]
    for name in ("one", "two", "three"):
        fire(tmp_path, name)
    assert running.api.wait_run("waiting", run) == "failed"
    assert sorted(line.split()[1] for line in told(tmp_path) if line.startswith("complete")) == ["one", "three", "two"]


@pytest.mark.alone
def test_resuming_is_quick(running: Standalone, dags: Path, tmp_path: Path) -> None:
    """From the event to the first line of the method: judged here with patience, measured in tests/bench."""
    deferring(running, dags, "for n in range(5): Deferring(task_id=f't{n}', name=f't{n}')")
    run = begin(running)
    wait_until("deferred", lambda: list(states(running, run).values()) == ["deferred"] * 5)
    for n in range(5):
        fire(tmp_path, f"t{n}")
        time.sleep(0.2)
    assert running.api.wait_run("waiting", run) == "success"
    took = sorted(float(line.split()[-1]) for line in told(tmp_path) if line.startswith("complete"))
    assert took[2] < 0.5, took


def test_on_a_broker_a_killed_triggerers_triggers_run_elsewhere(tmp_path: Path) -> None:
    """Each service as its own user; the task goes on once, whoever fires."""
    with Apart(tmp_path, triggerers=2) as it:
        body = "with DAG('waiting', schedule=None, start_date=datetime(2024, 1, 1)):\n"
        body += "".join(f"    Deferring(task_id='t{n}', name='t{n}')\n" for n in range(4))
        write_dag(it.dags, "waiting.py", HEAD + body)
        wait_until("the DAG", lambda: it.api.get("/dags/waiting"))
        answer = it.api.post("/dags/waiting/dagRuns", {"dag_run_id": "r1", "logical_date": None})
        assert answer.status_code == 200, answer.text

        def seen() -> int:
            return len([line for line in told(tmp_path) if line.startswith("trigger")])

        wait_until("the triggers", lambda: seen() == 4)
        it.services["triggerer-0"].kill()
        fire(tmp_path, "t0")
        fire(tmp_path, "t1")
        it.services["triggerer-1"].kill()
        it.services["triggerer-1"].start()
        for n in range(4):
            fire(tmp_path, f"t{n}")
        assert it.api.wait_run("waiting", "r1", patience=90) == "success"
        assert sorted(line.split()[1] for line in told(tmp_path) if line.startswith("complete")) == [
            "t0",
            "t1",
            "t2",
            "t3",
        ]
        check_history(it.api.events(), {("waiting", "r1")})
