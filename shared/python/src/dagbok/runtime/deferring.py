"""A task that waits for a trigger: what is told of it, and how it goes on."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from dagbok.exceptions import AirflowException, AirflowTaskTimeout, TaskDeferred
from dagbok.masking import mask
from dagbok.runtime.resuming import FAIL, TIMEOUT

if TYPE_CHECKING:
    from dagbok.authoring.operator import BaseOperator
    from dagbok.runtime.context import Context

Json = dict[str, Any]


class Deferral(BaseException):
    """A task's wish to wait, put into the words that the supervisor is told."""

    def __init__(self, message: Json) -> None:
        super().__init__()
        self.message = message


def named(wish: TaskDeferred, details: Json, context: Context | None) -> BaseException:
    """Return the wish in the supervisor's words; an error where it can't be carried out."""
    try:
        return Deferral(_message(wish, details, context))
    except BaseException as error:
        return error


def _message(wish: TaskDeferred, details: Json, context: Context | None) -> Json:
    from dagbok.surface.triggers import BaseTrigger

    trigger = wish.trigger
    if not isinstance(trigger, BaseTrigger):
        raise AirflowException(
            f"defer() takes a trigger, an object of a class of BaseTrigger, not {type(trigger).__name__}"
        )
    path, arguments = trigger.serialize()
    kwargs = in_text(arguments, f"an argument of the trigger {path}")
    next_kwargs = in_text(wish.kwargs, "an argument of the next method") if wish.kwargs else None
    ask = getattr(wish, "ask", None)
    # The time that a task may take is not the time that a person may take.
    until = _until(wish.timeout, {} if ask is not None else details, context)
    message = {
        "type": "DeferTask",
        "classpath": path,
        "trigger_kwargs": kwargs,
        "next_method": wish.method_name,
        "next_kwargs": next_kwargs,
        "timeout_at": until,
    }
    if ask is not None:
        in_text(ask, "what is asked")
        message["ask"] = ask
    return message


def in_text(arguments: Json, what: str) -> str:
    """Return arguments as JSON, without a secret in them: they are written down."""
    from dagbok.runtime.values import to_json

    for name, value in arguments.items():
        text = json.dumps(to_json(value, f"{what}, `{name}`,"))
        if mask(text) != text:
            raise AirflowException(
                f"{what}, `{name}`, holds a secret, and would be written down in clear: hand over the id of "
                "the connection or variable, and let the trigger read it"
            )
    return json.dumps(to_json(arguments, what))


def _until(timeout: dt.timedelta | None, details: Json, context: Context | None) -> dt.datetime | None:
    """Return when the trigger's time is up: its own, or the task's where that is sooner."""
    now = dt.datetime.now(dt.UTC)
    ends = [] if timeout is None else [now + timeout]
    micros = details.get("execution_timeout_us")
    if micros is not None and context is not None:
        ends.append(_began(details) + dt.timedelta(microseconds=micros))
    return min(ends) if ends else None


def _began(details: Json) -> dt.datetime:
    began: dt.datetime = details["ti_context"].get("first_started_at") or details["start_date"]
    return began


def time_left(details: Json, seconds: float) -> float:
    """Return what is left of the task's time, which counts from its first start where it was deferred."""
    if not details.get("resume"):
        return seconds
    spent = (dt.datetime.now(dt.UTC) - _began(details)).total_seconds()
    if spent >= seconds:
        raise AirflowTaskTimeout(f"the task took longer than its execution_timeout of {seconds:g} s")
    return seconds - spent


def what_to_call(task: BaseOperator, details: Json, context: Context) -> tuple[Any, ...]:
    """Return what of the task is called now, and with what."""
    resumed = details.get("resume")
    if not resumed:
        return (_first(task), context)
    from dagbok.runtime.values import from_json

    def read(text: str) -> Any:
        return from_json(json.loads(text))

    if resumed.get("failure"):
        if resumed["failure"] == "timeout":
            return (task.resume_execution, FAIL, {"error": TIMEOUT}, context)
        traceback = resumed.get("traceback", "")
        failed = {"error": "Trigger failure", "traceback": traceback.splitlines()}
        return (task.resume_execution, FAIL, failed, context)
    kwargs = read(resumed["next_kwargs"]) if resumed.get("next_kwargs") else {}
    kwargs["event"] = read(resumed["event"])
    return (task.resume_execution, resumed["next_method"], kwargs, context)


def _first(task: BaseOperator) -> Callable[[Any], Any]:
    """Return what begins a task: its own code, or a trigger at once, where it says so."""
    arguments = getattr(task, "start_trigger_args", None)
    if not getattr(task, "start_from_trigger", False) or arguments is None:
        return task.execute

    def begin(context: Any) -> None:
        from dagbok.dotted import find_by_path

        trigger = find_by_path(arguments.trigger_cls)(**(arguments.trigger_kwargs or {}))
        raise TaskDeferred(
            trigger=trigger,
            method_name=arguments.next_method,
            kwargs=arguments.next_kwargs,
            timeout=arguments.timeout,
        )

    return begin
