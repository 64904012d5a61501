"""A try rehearsed before the first fork, so that forked tries find the interpreter's caches warm.

What Python learns of code and types while it runs (caches of attributes, specialised instructions) it
writes into the pages of that code and those types, and each page first written after a fork is copied.
Nobody sees a rehearsal: its supervisor is the other end of a pair of sockets, with the answers in it
before it begins, its DAG is no file's, and what it sets for its task is put back.
"""

from __future__ import annotations

import datetime as dt
import os
import socket
from typing import Any

from dagbok.authoring.dag import DAG
from dagbok.authoring.taskflow import task
from dagbok.masking import masker
from dagbok.runtime import current, interrupts
from dagbok.runtime.frames import FrameStream, encode
from dagbok.runtime.runner import run_try
from dagbok.runtime.supervisor import Supervisor

Json = dict[str, Any]
# As many page faults of a try are saved by three as by twenty (measured), and each takes half a millisecond.
TIMES = 3
# More requests than a rehearsal has.
ANSWERS = 8


def rehearse() -> None:
    """Run a try of nothing, a few times over, and leave nothing of it but what Python learned."""
    before = dict(os.environ)
    with DAG("rehearsal", schedule=None, start_date=dt.datetime(2024, 1, 1, tzinfo=dt.UTC)) as dag:
        nothing = task(_nothing)
        before_it = nothing.override(task_id="before")(0)
        nothing.override(task_id="task")(0, before_it)
        nothing.override(task_id="copy").expand(number=before_it)
    try:
        for _ in range(TIMES):
            _once(dag, "task", -1)
            _once(dag, "copy", 0)
    finally:
        masker.tell = None
        current.set_supervisor(None)
        current.set_context(None)
        for name in os.environ.keys() - before.keys():
            del os.environ[name]
        os.environ.update(before)


def _nothing(number: int, before: int | None = None) -> int:
    return number


def _once(dag: DAG, task_id: str, map_index: int) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        frames = [encode([0, _details(task_id, map_index), None])]
        # To who asks for a value, or for an element of a list; others don't look at what they are answered.
        answer = {"value": 0, "is_there": True, "kind": "list", "len": 1, "element": 0}
        frames += [encode([number, answer, None]) for number in range(1, ANSWERS)]
        ours.sendall(b"".join(frames))
        supervisor = Supervisor(FrameStream(theirs.fileno()))
        try:
            run_try(supervisor, lambda dag_id: dag)
        finally:
            interrupts.reopen()


def _details(task_id: str, map_index: int) -> Json:
    """Return what the executor says first to a try."""
    at = dt.datetime(2024, 1, 1, tzinfo=dt.UTC)
    dates = ("logical_date", "data_interval_start", "data_interval_end", "run_after", "start_date")
    names = {"dag_id": "rehearsal", "run_id": "manual__1"}
    own = {**names, "task_id": task_id, "map_index": map_index}
    run = {
        **names,
        **dict.fromkeys(dates, at),
        "end_date": None,
        "run_type": "manual",
        "state": "running",
        "conf": None,
    }
    return {
        "type": "StartupDetails",
        "ti": {"id": "0", **own, "try_number": 1, "hostname": "here"},
        "dag_rel_path": "rehearsal.py",
        "bundle_info": {"name": "dags", "version": None, "path": None},
        "start_date": at,
        "ti_context": {"dag_run": run, "max_tries": 0, "task_reschedule_count": 0, "should_retry": False},
        "execution_timeout_us": None,
    }
