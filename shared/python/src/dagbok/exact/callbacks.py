"""Callbacks called apart from a try: of one whose process is gone, and of a DAG for how its run ended."""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Callable
from typing import Any

from dagbok.exact import beginning, part
from dagbok.runtime.callbacks import CallbacksFailed, each
from dagbok.runtime.supervisor import Supervisor

Json = dict[str, Any]
log = logging.getLogger("airflow.task")


def call_back(supervisor: Supervisor, details: Json, find_dag: Callable[[str], Any]) -> None:
    """Call what the frame asks for, and tell how that went."""
    folder = details.get("bundle_info", {}).get("path") or ""
    tool = part(beginning.RUNNER)
    try:
        ti, context, task_log = beginning.begin(tool, details, folder, find_dag)
        ti.task = context["task"] = ti.task.prepare_for_execution()
        if details.get("dag_callback"):
            _of_dag(details["dag_callback"], ti, context)
        else:
            _of_task(tool, details["callback"], ti, context, task_log)
    except BaseException as error:
        log.exception("the callback could not be called")
        beginning.tell_error(supervisor, error, "exception", folder)
        supervisor.ask({"type": "TaskState", "state": "failed"})
        return
    if details.get("dag_callback"):
        now = dt.datetime.now(dt.UTC)
        supervisor.ask({"type": "SucceedTask", "end_date": now, "task_outlets": [], "outlet_events": []})
    else:
        supervisor.ask({"type": "TaskState", "state": "failed"})


def _of_task(tool: Any, said: Json, ti: Any, context: Any, task_log: Any) -> None:
    """Have Airflow's runner do all that it does once a try has failed: callbacks, mails, listeners."""
    states = tool.TaskInstanceState
    ti.state = states.UP_FOR_RETRY if said["retries"] else states.FAILED
    error = part("airflow.sdk.exceptions").AirflowException(said["message"])
    context["exception"] = error
    tool.finalize(ti, ti.state, context, task_log, error)


def _of_dag(said: Json, ti: Any, context: Any) -> None:
    name = said["callback"]
    ti.state, context["reason"] = said["state"], said["reason"]
    failed = []
    for callback in each(getattr(ti.task.dag, name)):
        log.info(
            "calling %s of the DAG: %s", name, getattr(callback, "__qualname__", type(callback).__name__)
        )
        try:
            callback(context)
        except Exception as error:
            log.exception("%s of the DAG failed", name)
            failed.append(f"{type(error).__name__}: {error}")
    if failed:
        raise CallbacksFailed(f"{name} failed: {'; '.join(failed)}")
