"""Tasks that wait for triggers, and the process that runs those."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from conftest import Bench
from dagbok.runtime.frames import FrameStream, encode
from fake_supervisor import SOURCE

DEFERS = """
from datetime import timedelta

from airflow.models import BaseOperator
from airflow.triggers.base import BaseTrigger, StartTriggerArgs, TriggerEvent
from airflow.sensors.base import BaseSensorOperator
from airflow.utils.log.secrets_masker import mask_secret


class Looks(BaseTrigger):
    def __init__(self, what):
        super().__init__()
        self.what = what

    def serialize(self):
        return ("file.Looks", {"what": self.what})

    async def run(self):
        yield TriggerEvent(self.what)


class Defers(BaseOperator):
    def execute(self, context):
        context["ti"].xcom_push("before", 1)
        self.defer(trigger=Looks(("a", {1})), method_name="go_on", kwargs={"n": timedelta(1)},
                   timeout=timedelta(minutes=5))

    def go_on(self, context, event, n):
        return [event, n.days, context["ti"].task_id]


class Senses(BaseSensorOperator):
    def execute(self, context):
        self.defer(trigger=Looks(1), method_name="go_on")


class Tells(BaseOperator):
    def execute(self, context):
        mask_secret("s3cret-password")
        self.defer(trigger=Looks("my s3cret-password here"), method_name="go_on")


class Begins(BaseOperator):
    start_trigger_args = StartTriggerArgs(
        trigger_cls="airflow.triggers.file.FileTrigger", next_method="go_on",
        trigger_kwargs={"filepath": "/x"}, next_kwargs={"n": 1}, timeout=None,
    )
    start_from_trigger = True

    def execute(self, context):
        raise ValueError("never called")


with DAG("d", schedule=None):
    Defers(task_id="t")
    Senses(task_id="s")
    Senses(task_id="soft", soft_fail=True)
    Tells(task_id="tells")
    Begins(task_id="begins")
    PythonOperator(task_id="odd", python_callable=lambda ti: ti.task.defer(trigger=1, method_name="x"))
"""


@pytest.fixture
def loaded(bench: Bench) -> Bench:
    bench.load(DEFERS)
    assert bench.ready["type"] == "Ready", bench.ready
    return bench


def test_what_a_task_waits_for_is_told_with_its_values_kept(loaded: Bench) -> None:
    result = loaded.run("t")
    (told,) = result.of("DeferTask")
    assert told["classpath"] == "file.Looks"
    assert told["next_method"] == "go_on"
    assert told["timeout_at"] is not None
    again = loaded.run(
        "t",
        resume={
            "next_method": "go_on",
            "next_kwargs": told["next_kwargs"],
            "event": json.dumps({"found": [1, 2]}),
            "failure": None,
            "traceback": "",
        },
    )
    assert again.state == "success"
    assert again.of("SetXCom")[0]["value"] == [{"found": [1, 2]}, 1, "t"]


@pytest.mark.parametrize(
    ("task", "failure", "kind"),
    [
        ("t", "timeout", "TaskDeferralTimeout"),
        ("t", "raised", "TaskDeferralError"),
        ("s", "timeout", "AirflowSensorTimeout"),
        ("s", "blocked", "TaskDeferralError"),
    ],
)
def test_a_trigger_that_came_to_nothing_is_raised(loaded: Bench, task: str, failure: str, kind: str) -> None:
    resume = {
        "next_method": "go_on", "next_kwargs": None, "event": None, "failure": failure,
        "traceback": "Traceback\nValueError: three",
    }  # fmt: skip
    result = loaded.run(task, resume=resume)
    (error,) = result.of("TaskError")
    assert error["exception"] == kind
    if failure != "timeout":
        assert any("ValueError: three" in line["event"] for line in result.logs)
    assert loaded.run("soft", resume=resume).state == "skipped"


def test_a_secret_is_not_written_down(loaded: Bench) -> None:
    result = loaded.run("tells")
    (error,) = result.of("TaskError")
    assert "holds a secret" in error["message"]
    assert "s3cret" not in error["message"] + error["traceback"]


def test_what_is_no_trigger_is_said(loaded: Bench) -> None:
    (error,) = loaded.run("odd").of("TaskError")
    assert "BaseTrigger, not int" in error["message"]


def test_a_task_may_begin_with_its_trigger(loaded: Bench) -> None:
    (told,) = loaded.run("begins").of("DeferTask")
    assert told["classpath"] == "airflow.providers.standard.triggers.file.FileTrigger"
    assert json.loads(told["next_kwargs"]) == {"n": 1}


OWN = """
import asyncio, os, time
from airflow.triggers.base import BaseTrigger, TaskSuccessEvent, TriggerEvent


class Mine(BaseTrigger):
    def __init__(self, how):
        super().__init__()
        self.how = how

    def serialize(self):
        return (f"{__name__}.Mine", {"how": self.how})

    async def run(self):
        self.log.info("%s begins", self.how)
        await asyncio.sleep(0)
        if self.how == "raises":
            raise ValueError("on purpose")
        if self.how == "exits":
            raise SystemExit(3)
        if self.how == "blocks":
            time.sleep(2)
        if self.how == "waits":
            await asyncio.sleep(3600)
        if self.how == "ends":
            yield TaskSuccessEvent(xcoms={"k": 7})
        if self.how != "nothing":
            yield TriggerEvent({"how": self.how})

    async def cleanup(self):
        self.log.info("%s cleans up", self.how)
"""


class Process:
    """A process of a triggerer, driven by the test."""

    def __init__(self, folder: Path) -> None:
        ours, theirs = socket.socketpair()
        env = {**os.environ, "PYTHONPATH": str(SOURCE)}
        argv = [sys.executable, "-P", "-m", "dagbok.runtime.triggerer"]
        self.child = subprocess.Popen(argv, stdin=theirs, env=env)
        theirs.close()
        self._socket, self._stream = ours, FrameStream(ours.fileno())
        self.send({"type": "Begin", "folder": str(folder)})
        self.lines: list[str] = []

    def send(self, body: dict[str, Any], number: int = 0) -> None:
        self._stream.send(encode([number, body, None]))

    def run(self, number: int, path: str, **kwargs: Any) -> None:
        names = {"dag_id": "d", "run_id": "r", "task_id": "t", "map_index": -1, "try_number": 1}
        body = {"number": number, "classpath": path, "kwargs": json.dumps(kwargs), "file": "own.py", **names}
        self.send({"type": "RunTrigger", "logical_date": None, **body})

    def until(self, kind: str, check: Callable[[dict[str, Any]], bool] = lambda _: True) -> dict[str, Any]:
        """Return the next word of a kind; lines of triggers are kept."""
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            _, body = self._stream.receive()
            if body["type"] == "TriggerLine":
                self.lines.append(json.loads(body["line"])["event"])
            if body["type"] == kind and check(body):
                return dict(body)
        raise AssertionError(f"no {kind} came")

    def close(self) -> None:
        self._socket.close()
        self.child.wait(10)


@pytest.fixture
def process(tmp_path: Path) -> Iterator[Process]:
    (tmp_path / "own.py").write_text(OWN)
    it = Process(tmp_path)
    yield it
    it.close()


def test_triggers_of_a_file_fire_raise_and_end(process: Process) -> None:
    process.run(1, "own.Mine", how="fires")
    fired = process.until("TriggerFired")
    assert (fired["number"], json.loads(fired["event"]), fired["ends"]) == (1, {"how": "fires"}, None)
    process.run(2, "own.Mine", how="raises")
    failed = process.until("TriggerFailed")
    assert failed["why"] == "raised"
    assert "on purpose" in failed["traceback"]
    assert "triggerer.py" not in failed["traceback"]
    process.run(3, "own.Mine", how="exits")
    assert process.until("TriggerFailed")["why"] == "raised"
    process.run(4, "own.Mine", how="nothing")
    assert process.until("TriggerFailed")["why"] == "no_event"
    process.run(5, "own.Missing", how="")
    assert process.until("TriggerFailed")["why"] == "not_made"
    process.run(6, "dagbok_dag_0badcafe_own.Mine", how="ends")
    ended = process.until("TriggerFired")
    assert (ended["ends"], ended["xcoms"]) == ("success", {"k": 7})
    assert {"fires begins", "fires cleans up", "raises cleans up"} <= set(process.lines)


def test_a_watcher_goes_on_after_an_event_and_is_made_anew_at_its_end(
    process: Process, tmp_path: Path
) -> None:
    flag = tmp_path / "flag"
    path = "airflow.providers.standard.triggers.file.FileDeleteTrigger"
    names = {"dag_id": "d", "run_id": "r", "task_id": "t", "map_index": 0, "try_number": 1, "file": "own.py"}
    kwargs = json.dumps({"filepath": str(flag), "poke_interval": 0.05})
    body = {"number": 9, "classpath": path, "kwargs": kwargs, "logical_date": None, "watches": True, **names}
    process.send({"type": "RunTrigger", **body})
    for _ in range(2):
        flag.touch()
        assert process.until("TriggerFired")["number"] == 9
        assert not flag.exists()


def test_one_that_is_cancelled_cleans_up(process: Process) -> None:
    process.run(1, "own.Mine", how="waits")
    process.until("TriggerLine")
    process.send({"type": "CancelTrigger", "number": 1})
    process.until("TriggerLine", lambda body: "waits cleans up" in body["line"])


def test_one_that_blocks_is_named_with_its_stack(process: Process) -> None:
    process.run(7, "own.Mine", how="blocks")
    said = process.until("TriggerBlocks")
    assert said["number"] == 7
    assert said["seconds"] >= 1
    assert "time.sleep(2)" in said["stack"]
    assert process.until("TriggerFired")["number"] == 7


def test_what_a_trigger_asks_is_answered_in_its_thread(process: Process) -> None:
    path = "airflow.triggers.external_task.DagStateTrigger"
    process.run(9, path, dag_id="other", states=["success"], run_ids=["r9"], poll_interval=0.01)
    for state_count in (0, 1):
        while True:
            number, body = process._stream.receive()
            if body["type"] == "GetDRCount":
                break
        assert (body["dag_id"], body["trigger_number"]) == ("other", 9)
        process.send({"type": "DRCount", "count": state_count}, number)
    while True:
        number, body = process._stream.receive()
        if body["type"] == "GetDagRunState":
            break
    process.send({"type": "DagRunStateResult", "state": "success"}, number)
    fired = process.until("TriggerFired")
    assert '"r9": "success"' in fired["event"]


def test_only_the_callback_of_a_try_whose_process_is_gone(bench: Bench) -> None:
    """Nothing else of the task runs; the exception says what became of it."""
    bench.load(
        """
def tell(context):
    print(context["ti"].state, context["exception"], context["ti"].try_number)

def never():
    print("never")

with DAG("d", schedule=None):
    PythonOperator(task_id="t", python_callable=never, on_failure_callback=tell, on_retry_callback=[tell])
"""
    )
    for retries, state in ((False, "failed"), (True, "up_for_retry")):
        result = bench.run("t", callback={"message": "killed by SIGKILL", "retries": retries}, try_number=2)
        assert result.stdout == f"{state} killed by SIGKILL 2\n"
