"""One try by Airflow's own task runner: its `startup`, `run` and `finalize`, in the order of its `main`."""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import signal
import sys
from collections.abc import Callable, Iterator
from typing import Any

from dagbok.exact import part, startup
from dagbok.exact.beginning import RUNNER, begin, tell_error
from dagbok.exact.comms import Comms
from dagbok.masking import masker
from dagbok.runtime import marked, results
from dagbok.runtime.frames import FrameError
from dagbok.runtime.supervisor import Supervisor

Json = dict[str, Any]
# Airflow's exceptions after which no retry follows, and those that have a kind of their own.
NO_RETRY = ("AirflowFailException", "AirflowSensorTimeout")
# As many characters of a reason as Airflow itself sends.
LONGEST_REASON = 500


def run_try(supervisor: Supervisor, find_dag: Callable[[str], Any]) -> None:
    """Run the try that the supervisor names, and tell it the result."""
    details = supervisor.startup()
    folder = details.get("bundle_info", {}).get("path") or ""
    masker.tell = lambda forms: supervisor.ask({"type": "MaskSecret", "forms": forms})
    comms = Comms(supervisor.ask)
    runner = part(RUNNER)
    runner.SUPERVISOR_COMMS = comms
    part("airflow.sdk.execution_time.supervisor").block_orm_access()
    if details.get("callback") or details.get("dag_callback"):
        _call_back(supervisor, details, find_dag)
        return
    if marked.is_marked(details):
        results.tell(supervisor, results.Outcome("success"), folder)
        return
    try:
        ti, context, log = begin(runner, details, folder, find_dag)
    except BaseException as error:
        tell_error(supervisor, error, "import_error", folder)
        word = "RetryTask" if details["ti_context"].get("should_retry") else "TaskState"
        supervisor.ask({"type": word, "state": "failed", "end_date": dt.datetime.now(dt.UTC)})
        return
    with _signals() as came:
        reasons = _reasons_of(runner)
        state, _, raised = runner.run(ti, context, log)
        tell(supervisor, comms.last_word, raised, folder, details, signal.SIGTERM in came(), reasons)
    context["exception"] = raised
    runner.finalize(ti, state, context, log, raised)


def _reasons_of(runner: Any) -> list[str]:
    """Return a list to which the retry policy's reasons are added: Airflow sends none of a FAIL."""
    reasons: list[str] = []
    evaluate = getattr(runner, "_evaluate_retry_policy", None)
    if evaluate is not None:

        def noted(*args: Any, **kwargs: Any) -> Any:
            decision = evaluate(*args, **kwargs)
            if getattr(decision, "reason", None):
                reasons.append(str(decision.reason))
            return decision

        runner._evaluate_retry_policy = noted
    return reasons


@contextlib.contextmanager
def _signals() -> Iterator[Callable[[], set[int]]]:
    """Note which signals come: Airflow's runner takes SIGTERM for itself, and tells nobody of it."""
    reader, writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    before = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)

    def came() -> set[int]:
        try:
            return set(os.read(reader, 4096))
        except BlockingIOError:
            return set()

    try:
        yield came
    finally:
        signal.set_wakeup_fd(before)
        os.close(reader)
        os.close(writer)


def tell(
    supervisor: Supervisor,
    word: Any,
    error: BaseException | None,
    folder: str,
    details: Json,
    terminated: bool,
    reasons: list[str],
) -> None:
    """Say the last word of Airflow's runner, an error's details first."""
    if word is None:
        raise FrameError("Airflow's task runner ended without a last word")
    kind = type(word).__name__
    body = word.model_dump(mode="json")
    if error is not None or kind == "RetryTask" or body.get("state") == "failed":
        failed = error if error is not None else RuntimeError("the task failed; its log says why")
        more = {}
        if body.get("retry_delay_seconds") is not None:
            more["retry_delay_us"] = round(body["retry_delay_seconds"] * 1_000_000)
        if reason := body.get("retry_reason") or "".join(reasons[-1:]):
            more["retry_reason"] = reason[:LONGEST_REASON]
        how = "terminated" if terminated else _kind(failed)
        # Airflow's word is the last: it says `failed` although a retry was left, as where a policy does.
        if how != "terminated" and kind != "RetryTask" and details["ti_context"].get("should_retry"):
            how = "fail_without_retry"
        tell_error(supervisor, failed, how, folder, more)
    if body.get("rendered_map_index"):
        supervisor.ask({"type": "SetRenderedMapIndex", "rendered_map_index": body["rendered_map_index"]})
    supervisor.ask(LAST[kind](body, details) if kind in LAST else body)


def _kind(error: BaseException) -> str:
    names = {kind.__name__ for kind in type(error).__mro__}
    if names & set(NO_RETRY):
        return "fail_without_retry"
    if "AirflowTaskTimeout" in names:
        return "timeout"
    return "exception"


def _succeed(body: Json, details: Json) -> Json:
    """Return a success with the events of assets in our words: one of each outlet, and aliases'."""
    said = {}
    events: list[Json] = []
    for event in body.get("outlet_events") or ():
        key = event["dest_asset_key"]
        if "source_alias_name" in event:
            extra = json_text(event.get("extra"))
            events.append({**key, "extra": extra, "aliases": [event["source_alias_name"]]})
        else:
            said[key["name"], key["uri"]] = event.get("extra")
    for outlet in body.get("task_outlets") or ():
        name, uri = outlet.get("name"), outlet.get("uri")
        told = next((extra for (n, u), extra in said.items() if name in (None, n) and uri in (None, u)), None)
        if outlet["type"] == "Asset":
            events.append({"name": name, "uri": uri, "extra": json_text(told)})
        elif outlet["type"] == "AssetNameRef":
            events.append({"ref": {"Name": {"name": name}}, "extra": json_text(told)})
        elif outlet["type"] == "AssetUriRef":
            events.append({"ref": {"Uri": {"uri": uri}}, "extra": json_text(told)})
    return {"type": "SucceedTask", "end_date": body["end_date"], "task_outlets": [], "outlet_events": events}


def json_text(extra: Any) -> str | None:
    """Return an event's extra as it stands in facts; none for none."""
    import json

    return json.dumps(extra) if extra else None


def _defer(body: Json, details: Json) -> Json:
    timeout = body.get("trigger_timeout")
    now = dt.datetime.now(dt.UTC)
    ends = [] if timeout is None else [now + _span(timeout)]
    micros = details.get("execution_timeout_us")
    if micros is not None:
        began = details["ti_context"].get("first_started_at") or details["start_date"]
        ends.append(began + dt.timedelta(microseconds=micros))
    kwargs, following = body.get("trigger_kwargs"), body.get("next_kwargs")
    return {
        "type": "DeferTask",
        "classpath": body["classpath"],
        "trigger_kwargs": startup.encoded_text(kwargs or {}),
        "next_method": body["next_method"],
        "next_kwargs": startup.encoded_text(following) if following else None,
        "timeout_at": min(ends) if ends else None,
    }


def _span(value: Any) -> dt.timedelta:
    """Return a length of time of pydantic's JSON: ISO 8601, or seconds."""
    adapter = part("pydantic").TypeAdapter(dt.timedelta)
    span: dt.timedelta = adapter.validate_python(value)
    return span


LAST: dict[str, Callable[[Json, Json], Json]] = {"SucceedTask": _succeed, "DeferTask": _defer}


def _call_back(supervisor: Supervisor, details: Json, find_dag: Callable[[str], Any]) -> None:
    from dagbok.exact.callbacks import call_back

    call_back(supervisor, details, find_dag)
    sys.stdout.flush()
