"""Callbacks: functions of the file's author that are told how a task or a run ended.

What one raises changes nothing of the end that it is told of; it is logged, and told to the supervisor.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from dagbok.exceptions import AirflowException, AirflowTaskTerminated, AirflowTaskTimeout
from dagbok.runtime import current, driving, interrupts, results
from dagbok.runtime.mapped import become_copy
from dagbok.runtime.results import Outcome

if TYPE_CHECKING:
    from dagbok.authoring.operator import BaseOperator
    from dagbok.runtime.context import Context
    from dagbok.runtime.supervisor import Supervisor

Json = dict[str, Any]
Prepare = Callable[[], "Context"]
_BY_STATE = {
    "success": "on_success_callback",
    "skipped": "on_skipped_callback",
    "failed": "on_failure_callback",
    "up_for_retry": "on_retry_callback",
}


class CallbacksFailed(AirflowException):
    """Some of a DAG's callbacks raised; what each raised is in the log."""


def each(callbacks: Any) -> Sequence[Any]:
    """Return one callback or several as several."""
    if callbacks is None or callbacks == []:
        return ()
    return callbacks if isinstance(callbacks, list | tuple) else [callbacks]


def call_each(name: str, callbacks: Any, context: Context) -> None:
    """Call one or several callbacks of a task; what they raise is logged and told, and changes nothing."""
    several = each(callbacks)
    if not several:
        return
    supervisor = current.supervisor()
    # Whoever hears no word of the end knows that it did not come to it.
    supervisor.tell({"type": "CallbackBegun", "callback": name})
    for callback in several:
        try:
            driving.call(callback, context)
        except Exception as error:
            results.log.exception("the %s failed", name)
            supervisor.tell({"type": "CallbackFailed", "callback": name, "message": _words(callback, error)})
    # An answer to this one is awaited: what was told before would be lost with the process.
    supervisor.ask({"type": "CallbackEnded"})


def follow(context: Context | None, outcome: Outcome) -> bool:
    """Whether a task has callbacks for how its try ended."""
    return context is not None and bool(each(getattr(context["task"], _BY_STATE[outcome.state])))


def call_back(context: Context, outcome: Outcome) -> None:
    """Call the callbacks of a task for how its try ended."""
    task: BaseOperator = context["task"]
    name = _BY_STATE[outcome.state]
    context["ti"].state = outcome.state
    if outcome.error is not None:
        context["exception"] = outcome.error
    call_each(name, getattr(task, name), context)


def only_call_back(said: Json, supervisor: Supervisor, prepare: Prepare) -> None:
    """Call the callback of a try whose own process is gone; its end is told by whoever saw it."""
    state = "up_for_retry" if said["retries"] else "failed"
    try:
        context = prepare()
        become_copy(context)
        call_back(context, Outcome(state, AirflowException(said["message"])))
    except Exception as error:
        results.log.exception("the callback could not be called")
        words = f"it could not be called: {type(error).__name__}: {error}"
        supervisor.tell({"type": "CallbackFailed", "callback": _BY_STATE[state], "message": words})
    supervisor.ask({"type": "TaskState", "state": "failed"})


def call_dag_back(details: Json, supervisor: Supervisor, prepare: Prepare) -> None:
    """Call the callbacks of a DAG for how its run ended, and tell how that went."""
    kind: str | None = "import_error"
    try:
        context = prepare()
        kind = None
        _call_all(details, context)
        outcome = Outcome("success")
    except BaseException as error:
        outcome = results.outcome_of(error, False, kind)
        if outcome.state != "failed":  # to skip, or to wait, is nothing that it can ask for
            outcome = Outcome("failed", error, "exception")
    interrupts.shut()
    failed = outcome.error
    if failed is not None and not isinstance(failed, CallbacksFailed):
        results.log.error("%s: %s", type(failed).__name__, failed, exc_info=failed)
    results.tell(supervisor, outcome, details.get("bundle_info", {}).get("path"))


def _call_all(details: Json, context: Context) -> None:
    said = details["dag_callback"]
    name: str = said["callback"]
    become_copy(context)
    context["ti"].state = said["state"]
    context["reason"] = said["reason"]
    callbacks = each(getattr(context["dag"], name))
    failed: list[str] = []
    seconds = (details.get("execution_timeout_us") or 0) / 1_000_000
    if seconds:
        interrupts.arm_timeout(seconds)
    try:
        for callback in callbacks:
            results.log.info("calling %s of the DAG: %s", name, _name(callback))
            try:
                driving.call(callback, context)
            except (AirflowTaskTimeout, AirflowTaskTerminated):
                raise
            except Exception as error:
                results.log.exception("%s of the DAG failed", name)
                failed.append(_words(callback, error))
    finally:
        interrupts.disarm_timeout()
    if failed:
        of = f" ({len(failed)} of {len(callbacks)})" if len(callbacks) > 1 else ""
        raise CallbacksFailed(f"{name} failed{of}: {'; '.join(failed)}")


def _name(callback: Any) -> str:
    if isinstance(callback, functools.partial):
        callback = callback.func
    return str(getattr(callback, "__qualname__", None) or type(callback).__name__)


def _words(callback: Any, error: BaseException) -> str:
    return f"{_name(callback)} raised {type(error).__name__}: {error}"
