"""What stands where Airflow's task runner has its line to the supervisor: each message becomes our frame.

The last word of a try is kept back, not sent: how it failed is told with it, which Airflow's runner says
only once it has sent the word.
"""

from __future__ import annotations

import asyncio
import json
import signal
import threading
from collections.abc import Callable
from typing import Any

from dagbok.exact import answers, crossing, part
from dagbok.exceptions import SupervisorError
from dagbok.masking import masker

Json = dict[str, Any]
LAST_WORDS = frozenset(
    ["SucceedTask", "RetryTask", "TaskState", "RescheduleTask", "DeferTask", "AwaitInputTask"]
)
# What is only answered with `no such thing`, and is no error there.
MISSING = frozenset(["CONNECTION_NOT_FOUND", "VARIABLE_NOT_FOUND", "XCOM_NOT_FOUND", "DAGRUN_ALREADY_EXISTS"])
# What runs on Airflow's own API server, and has no counterpart here: what is said of it.
NOT_HERE = {
    "AwaitInputTask": "tasks that wait for a person's answer (human in the loop)",
    "CreateHITLDetailPayload": "tasks that wait for a person's answer (human in the loop)",
    "GetHITLDetailResponse": "tasks that wait for a person's answer (human in the loop)",
    "UpdateHITLDetail": "tasks that wait for a person's answer (human in the loop)",
    "GetVariableKeys": "a list of the variables' names",
    "GetTaskBreadcrumbs": "the breadcrumbs that Sentry is told of",
    "ResendLoggingFD": "the supervisor's line for a process that the task starts (`run_as_user`, and "
    "variables or connections in a virtual environment's own process)",
}
# What is answered in the task's own process.
HERE = frozenset(["MaskSecret", "ValidateInletsAndOutlets"])
STORES = ("TaskStateStore", "AssetStateStore")
IN_OUR_OWN = "run this DAG without exact mode, or change what asks for it"


class Comms:
    """Airflow's `CommsDecoder` for a try of ours: `send`, `asend`, and nothing that reads a socket."""

    socket = None

    def __init__(self, ask: Callable[[Json], Any]) -> None:
        self._ask = ask
        self._one_at_a_time = threading.RLock()
        self.last_word: Any = None

    def send(self, msg: Any) -> Any:
        """Say a message and return its answer as Airflow's own object; None where it has none."""
        with self._one_at_a_time, _Unbroken():
            return self._answer(msg)

    async def asend(self, msg: Any) -> Any:
        """Say a message from an event loop, without holding the loop up."""
        return await asyncio.to_thread(self.send, msg)

    def copies(self, dag_id: str, run_id: str, task_id: str) -> int:
        """Return how many copies a mapped task has in a run."""
        asked = {"dag_id": dag_id, "run_ids": [run_id], "task_ids": [task_id]}
        return int(self._ask({"type": "GetTICount", **asked})["count"])

    def _answer(self, msg: Any) -> Any:
        kind = type(msg).__name__
        if kind in NOT_HERE or any(store in kind for store in STORES):
            what = NOT_HERE.get(kind, "values that tasks keep between their tries")
            raise _error("GENERIC_ERROR", f"Dagbok has no {what} ({kind}); {IN_OUR_OWN}")
        if kind in LAST_WORDS:
            self.last_word = msg
            return None
        if kind == "MaskSecret":
            masker.add(msg.value, msg.name)
            return None
        if kind == "ValidateInletsAndOutlets":
            # No asset is inactive here: each that a DAG of the log names counts.
            return part(answers.COMMS).InactiveAssetsResult(inactive_assets=[])
        shape = SHAPES.get(kind, _as_it_is)
        try:
            return shape(self._ask, msg.model_dump(mode="json"))
        except SupervisorError as error:
            if error.code in MISSING:
                return _missing(kind, msg, error)
            raise _error(error.code, error) from None


class _Unbroken:
    """Holds an alarm back in the main thread: an exception of Airflow's timeout would leave a frame torn.

    The alarm may reach any thread of the process; what Python calls for it is called in the main one.
    """

    def __init__(self) -> None:
        self._handler: Any = None
        self._came: list[tuple[int, Any]] = []

    def __enter__(self) -> None:
        if threading.current_thread() is threading.main_thread():
            handler = signal.getsignal(signal.SIGALRM)
            if callable(handler):
                self._handler = handler
                signal.signal(signal.SIGALRM, lambda *about: self._came.append(about))

    def __exit__(self, *_: object) -> None:
        if self._handler is not None:
            signal.signal(signal.SIGALRM, self._handler)
            if self._came:
                self._handler(*self._came[0])


def _error(code: str, why: object) -> Exception:
    """Return what Airflow's code raises where its supervisor answers with an error."""
    response = _response(code, str(why))
    error: Exception = part("airflow.sdk.exceptions").AirflowRuntimeError(error=response)
    return error


def _response(code: str, why: str) -> Any:
    comms, kinds = part(answers.COMMS), part("airflow.sdk.exceptions").ErrorType
    known = kinds.__members__.get(code, kinds.GENERIC_ERROR)
    return comms.ErrorResponse(error=known, detail={"message": why})


def _missing(kind: str, msg: Any, error: SupervisorError) -> Any:
    if kind == "GetXCom":
        return part(answers.COMMS).XComResult(key=msg.key, value=None)
    return _response(error.code, str(error))


# Of each kind of message how it is said, and its answer read.


def _as_it_is(ask: Callable[[Json], Any], body: Json) -> Any:
    """Say it in the same words: Airflow's fields, and its names for the answer."""
    return answers.read(ask(body))


def _xcom(ask: Callable[[Json], Any], body: Json) -> Any:
    """Answer with a value that perhaps a task of the other runtime handed on."""
    found = ask(body)
    return answers.read({**found, "value": crossing.read(found["value"])})


def _set_xcom(ask: Callable[[Json], Any], body: Json) -> Any:
    try:
        json.dumps(body["value"], allow_nan=False)
    except ValueError as error:
        raise ValueError(f"the XCom `{body['key']}` has no form in JSON: {error}") from None
    said = {name: value for name, value in body.items() if name != "dag_result"}
    return _as_it_is(ask, {**said, "value": crossing.fitted(body["value"])})


def _item(ask: Callable[[Json], Any], body: Json) -> Any:
    place = body["offset"]
    if place < 0:
        place += _count(ask, body)
    found = [] if place < 0 else _slice(ask, body, place, place + 1)
    if not found:
        raise SupervisorError("XCOM_NOT_FOUND", f"there is no value {body['offset']}")
    return part(answers.COMMS).XComSequenceIndexResult(root=crossing.read(found[0]))


def _sequence(ask: Callable[[Json], Any], body: Json) -> Any:
    """Answer with the values of a mapped task's copies, or with the one of a task that is not mapped."""
    if body.get("include_prior_dates"):
        found = _one(ask, body)
    else:
        count = _count(ask, body)
        found = _slice(ask, body, 0, count) if count else _one(ask, body)
    found = found[slice(body.get("start"), body.get("stop"), body.get("step"))]
    return part(answers.COMMS).XComSequenceSliceResult(root=crossing.read(found))


def _count(ask: Callable[[Json], Any], body: Json) -> int:
    return int(ask({**_named(body), "type": "GetXComCount"})["len"])


def _named(body: Json) -> Json:
    return {name: body[name] for name in ("key", "dag_id", "run_id", "task_id")}


def _slice(ask: Callable[[Json], Any], body: Json, start: int, stop: int) -> list[Any]:
    """Return values one answer after another: each holds as many as it may."""
    found: list[Any] = []
    while start < stop:
        root = ask({**_named(body), "type": "GetXComSequenceSlice", "start": start, "stop": stop})["root"]
        if not root:
            break
        found += root
        start += len(root)
    return found


def _one(ask: Callable[[Json], Any], body: Json) -> list[Any]:
    asked = {**_named(body), "include_prior_dates": bool(body.get("include_prior_dates"))}
    try:
        return [ask({"type": "GetXCom", "map_index": None, **asked})["value"]]
    except SupervisorError as error:
        if error.code == "XCOM_NOT_FOUND":
            return []
        raise


def _rendered(ask: Callable[[Json], Any], body: Json) -> Any:
    from dagbok.masking import masked

    fields = {name: masked(value, name) for name, value in body["rendered_fields"].items()}
    ask({"type": "SetRenderedFields", "rendered_fields": crossing.fitted(fields)})


def _connection(ask: Callable[[Json], Any], body: Json) -> Any:
    from dagbok.models import connection
    from dagbok.models.secrets import CONNECTIONS

    text = CONNECTIONS.in_folder(body["conn_id"])
    if text and text.strip():
        found = connection.read(body["conn_id"], text)
        names = ("conn_type", "host", "schema", "login", "password", "port", "extra")
        said: Json = {name: getattr(found, name, None) for name in names}
        answer = {"type": "ConnectionResult", "conn_id": body["conn_id"], **said}
    else:
        answer = ask(body)
    masker.add(answer.get("password"))
    _mask_extra(answer.get("extra"))
    return answers.read({"conn_id": body["conn_id"], **answer, "conn_type": answer.get("conn_type") or ""})


def _mask_extra(extra: Any) -> None:
    if isinstance(extra, str) and extra:
        try:
            extra = json.loads(extra)
        except ValueError:
            return
    if isinstance(extra, dict):
        masker.add(extra)


def _variable(ask: Callable[[Json], Any], body: Json) -> Any:
    from dagbok.models.secrets import VARIABLES

    key = body["key"]
    text = VARIABLES.in_folder(key)
    answer = ask(body) if text is None else {"type": "VariableResult", "value": text}
    if answer.get("value"):
        masker.add(answer["value"], key)
    return answers.read({**answer, "key": key})


SHAPES: dict[str, Callable[[Callable[[Json], Any], Json], Any]] = {
    "GetConnection": _connection,
    "GetVariable": _variable,
    "GetXCom": _xcom,
    "GetXComSequenceItem": _item,
    "GetXComSequenceSlice": _sequence,
    "SetRenderedFields": _rendered,
    "SetXCom": _set_xcom,
}
