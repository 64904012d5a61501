"""How a try ends: which terminal message each outcome becomes."""

from __future__ import annotations

import datetime as dt
import logging
from dataclasses import dataclass
from typing import Any

from dagbok.exceptions import (
    AirflowFailException,
    AirflowRescheduleException,
    AirflowSensorTimeout,
    AirflowSkipException,
    AirflowTaskTerminated,
    AirflowTaskTimeout,
)
from dagbok.runtime.supervisor import Supervisor
from dagbok.tracebacks import report

log = logging.getLogger("airflow.task")


@dataclass(frozen=True)
class Outcome:
    """A try's end: `state` is success, skipped, failed, up_for_retry or up_for_reschedule."""

    state: str
    error: BaseException | None = None
    kind: str = ""


def outcome_of(error: BaseException, should_retry: bool, kind: str | None = None) -> Outcome:
    """Return what an exception makes of a try."""
    if isinstance(error, AirflowSkipException):
        return Outcome("skipped", error, "skip")
    if isinstance(error, AirflowRescheduleException) and kind is None:
        return Outcome("up_for_reschedule", error, "reschedule")
    if isinstance(error, AirflowFailException | AirflowSensorTimeout):
        return Outcome("failed", error, "fail_without_retry")
    if kind is None:
        kind = "exception"
        if isinstance(error, AirflowTaskTimeout):
            kind = "timeout"
        elif isinstance(error, AirflowTaskTerminated):
            kind = "terminated"
    return Outcome("up_for_retry" if should_retry else "failed", error, kind)


def tell(supervisor: Supervisor, outcome: Outcome, folder: str | None) -> None:
    """Tell the supervisor how the try ended, an error's details first."""
    now = dt.datetime.now(dt.UTC)
    if outcome.error is not None and outcome.state not in {"skipped", "up_for_reschedule"}:
        _tell_error(supervisor, outcome, folder)
    if outcome.state == "success":
        body: dict[str, Any] = {
            "type": "SucceedTask",
            "end_date": now,
            "task_outlets": [],
            "outlet_events": [],
            "rendered_map_index": None,
        }
    elif outcome.state == "up_for_retry":
        body = {"type": "RetryTask", "end_date": now, "rendered_map_index": None}
    elif isinstance(outcome.error, AirflowRescheduleException):
        body = {"type": "RescheduleTask", "reschedule_date": outcome.error.instant(), "end_date": now}
    else:
        body = {"type": "TaskState", "state": outcome.state, "end_date": now}
    supervisor.ask(body)


def _tell_error(supervisor: Supervisor, outcome: Outcome, folder: str | None) -> None:
    error = outcome.error
    assert error is not None
    seen = report(error, folder)
    message = seen.message
    if isinstance(error, SystemExit):
        message = f"the task called sys.exit({error.code!r})"
    supervisor.tell(
        {
            "type": "TaskError",
            "kind": outcome.kind,
            "exception": seen.exception,
            "message": message,
            "traceback": seen.traceback,
            "file": seen.file,
            "line": seen.line,
        }
    )


def write_to_log(outcome: Outcome) -> None:
    """Say in the task's log how it ended, if not well."""
    error = outcome.error
    if error is None:
        return
    if outcome.state == "skipped":
        log.info("Task skipped: %s", error)
        return
    if isinstance(error, AirflowRescheduleException):
        log.info("Task goes on later, no sooner than %s", error.instant().isoformat())
        return
    exc_info = (type(error), error, error.__traceback__)
    log.error("Task failed with %s", type(error).__name__, exc_info=exc_info)
