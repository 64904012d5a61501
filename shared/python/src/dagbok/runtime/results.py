"""How a try ends: which terminal message each outcome becomes."""

from __future__ import annotations

import datetime as dt
import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from dagbok.exceptions import (
    AirflowFailException,
    AirflowRescheduleException,
    AirflowSensorTimeout,
    AirflowSkipException,
    AirflowTaskTerminated,
    AirflowTaskTimeout,
)
from dagbok.runtime import driving
from dagbok.runtime.deferring import Deferral
from dagbok.runtime.supervisor import Supervisor
from dagbok.tracebacks import report

if TYPE_CHECKING:
    from dagbok.authoring.operator import BaseOperator
    from dagbok.runtime.context import Context

log = logging.getLogger("airflow.task")


@dataclass(frozen=True)
class Outcome:
    """A try's end: `state` is success, skipped, failed, up_for_retry, up_for_reschedule or deferred."""

    state: str
    error: BaseException | None = None
    kind: str = ""
    # What a retry policy said of the next try.
    retry_delay: dt.timedelta | None = None
    retry_reason: str | None = None
    outlets: tuple[dict[str, Any], ...] = ()


def outcome_of(error: BaseException, should_retry: bool, kind: str | None = None) -> Outcome:
    """Return what an exception makes of a try."""
    if isinstance(error, Deferral):
        return Outcome("deferred", error, "defer")
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


def by_policy(outcome: Outcome, task: BaseOperator, context: Context) -> Outcome:
    """Return the outcome as the task's retry policy has it; what one raises is logged and changes nothing."""
    error, policy = outcome.error, getattr(task, "retry_policy", None)
    asked = outcome.kind not in {"skip", "reschedule", "defer", "fail_without_retry", "terminated"}
    if policy is None or error is None or not asked:
        return outcome
    ti = context["ti"]
    try:
        decision = driving.call(
            policy.evaluate,
            exception=error,
            try_number=ti.try_number,
            max_tries=ti.max_tries,
            context=context,
        )
        action = decision.action.value
        delay, reason = decision.retry_delay, decision.reason
        if reason:
            log.info("Retry policy decision: %s: %s", action, reason)
    except BaseException:
        # Whatever its code raises: how the try ended is told all the same.
        log.exception("Retry policy evaluation failed, falling back to default behaviour")
        return outcome
    if action == "fail":
        return replace(outcome, state="failed", kind="fail_without_retry", retry_reason=reason)
    if action == "retry":
        return replace(outcome, retry_delay=delay, retry_reason=reason)
    return outcome


def tell(
    supervisor: Supervisor, outcome: Outcome, folder: str | None, used: dict[str, int] | None = None
) -> None:
    """Tell the supervisor how the try ended, an error's details first.

    `used` is what the process has used in all, where nothing of it is left to run.
    """
    now = dt.datetime.now(dt.UTC)
    if outcome.error is not None and outcome.state not in {"skipped", "up_for_reschedule", "deferred"}:
        _tell_error(supervisor, outcome, folder)
    if outcome.state == "success":
        body: dict[str, Any] = {
            "type": "SucceedTask",
            "end_date": now,
            "task_outlets": [],
            "outlet_events": list(outcome.outlets),
            "rendered_map_index": None,
            **({} if used is None else {"used": used}),
        }
    elif outcome.state == "up_for_retry":
        body = {"type": "RetryTask", "end_date": now, "rendered_map_index": None}
    elif isinstance(outcome.error, Deferral):
        body = outcome.error.message
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
            **_retry(outcome),
        }
    )


def _retry(outcome: Outcome) -> dict[str, Any]:
    """Return what a retry policy said of the next try."""
    told: dict[str, Any] = {}
    if outcome.retry_delay is not None:
        told["retry_delay_us"] = round(outcome.retry_delay / dt.timedelta(microseconds=1))
    if outcome.retry_reason is not None:
        told["retry_reason"] = str(outcome.retry_reason)
    return told


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
    if isinstance(error, Deferral):
        log.info("Task waits for the trigger %s", error.message["classpath"])
        return
    exc_info = (type(error), error, error.__traceback__)
    log.error("Task failed with %s", type(error).__name__, exc_info=exc_info)
