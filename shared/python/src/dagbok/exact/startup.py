"""The executor's first frame, in the words of Airflow's task runner.

Airflow's classes refuse what they do not know, and require what this version came to know: each is filled
by its own list of fields.
"""

from __future__ import annotations

import datetime as dt
import json
import uuid
from typing import Any

from dagbok.exact import part

Json = dict[str, Any]
MODELS = "airflow.sdk.api.datamodels._generated"
# As Airflow's own scheduler puts them into what a deferred task goes on with.
FAIL, TIMEOUT, FAILURE = "__fail__", "Trigger timeout", "Trigger failure"
# Where a task handed its arguments over in Airflow's own form.
ENCODED = "__airflow__"


def details(body: Json, folder: str) -> Any:
    """Return Airflow's StartupDetails of a frame's body."""
    comms, models = part("airflow.sdk.execution_time.comms"), part(MODELS)
    ti, context = body["ti"], body["ti_context"]
    more: Json = {
        "dag_run": run(context["dag_run"]),
        "variables": [],
        "connections": [],
        **_resumed(body.get("resume")),
        "start_date": context.get("first_started_at") or body["start_date"],
        "upstream_map_indexes": {},
        "xcom_keys_to_clear": [],
    }
    return comms.StartupDetails(
        ti=fill(models.TaskInstance, {**ti, "dag_version_id": _version(body)}),
        dag_rel_path=body["dag_rel_path"],
        bundle_info=models.BundleInfo(name=body["bundle_info"]["name"], version=None),
        start_date=body["start_date"],
        ti_context=fill(models.TIRunContext, {**context, **more}),
        **({"sentry_integration": ""} if "sentry_integration" in comms.StartupDetails.model_fields else {}),
    )


def fill(model: Any, values: Json) -> Any:
    """Make one of Airflow's objects of what we have, as far as its fields go; others it requires are none."""
    fields = {}
    for name, field in model.model_fields.items():
        alias = field.alias or name
        if name in values or alias in values:
            fields[alias] = values.get(name, values.get(alias))
        elif field.is_required():
            fields[alias] = None
    return model.model_validate(fields)


def run(body: Json) -> Any:
    """Return Airflow's DagRun of ours."""
    conf = json.loads(body["conf_json"]) if body.get("conf_json") else {}
    state = body.get("state") or "running"
    values = {
        **body,
        "conf": conf,
        "state": state,
        # Airflow's runs know only their own kinds of beginning.
        "run_type": body["run_type"],
        "consumed_asset_events": [_event(event) for event in body.get("consumed_asset_events") or ()],
    }
    if not values.get("start_date"):
        values["start_date"] = values["run_after"]
    return fill(part(MODELS).DagRun, values)


def _event(event: Json) -> Json:
    """Return an event of those that made the run."""
    known = part(MODELS).AssetEventDagRunReference.model_fields
    said = {
        "asset": {"name": event["name"], "uri": event["uri"], "extra": {}},
        "extra": event.get("extra") or {},
        "source_task_id": event.get("source_task_id"),
        "source_dag_id": event.get("source_dag_id"),
        "source_run_id": event.get("source_run_id"),
        "source_map_index": event.get("source_map_index"),
        "source_aliases": [{"name": name} for name in event.get("aliases") or ()],
        "timestamp": event["timestamp"],
        "partition_key": None,
    }
    return {name: value for name, value in said.items() if name in known}


def _version(body: Json) -> str:
    """Return a stable id for the DAG's version: Airflow wants one, and we have the bundle's digest."""
    bundle = body["bundle_info"].get("version") or ""
    return str(uuid.uuid5(uuid.NAMESPACE_OID, f"{bundle}/{body['ti']['dag_id']}"))


def _resumed(resume: Json | None) -> Json:
    """Return how a try goes on after its trigger, as Airflow's scheduler would have put it."""
    if not resume:
        return {"next_method": None, "next_kwargs": None}
    if resume.get("failure"):
        if resume["failure"] == "timeout":
            return {"next_method": FAIL, "next_kwargs": _encoded({"error": TIMEOUT})}
        lines = resume.get("traceback", "").splitlines()
        return {"next_method": FAIL, "next_kwargs": _encoded({"error": FAILURE, "traceback": lines})}
    kwargs = _decoded(resume["next_kwargs"]) if resume.get("next_kwargs") else {}
    return {
        "next_method": resume["next_method"],
        "next_kwargs": _encoded({**kwargs, "event": _decoded(resume["event"])}),
    }


def encoded_text(value: Any) -> str:
    """Return what Airflow serialized as the text that stands in facts, marked as Airflow's."""
    return json.dumps({ENCODED: value})


def _decoded(text: str) -> Any:
    """Return a value of a fact's text, by Airflow's own serialization where it is of that."""
    found = json.loads(text)
    if isinstance(found, dict) and found.keys() == {ENCODED}:
        return deserialized(found[ENCODED])
    from dagbok.runtime.values import from_json

    return from_json(found)


def _encoded(values: Json) -> Any:
    return serialized(values)


def serde() -> Any:
    """Return the module by which the task runner of this version writes and reads the values of tasks."""
    try:
        return part("airflow.sdk.serde")
    except ImportError:
        return part("airflow.serialization.serde")


def _serialization() -> tuple[Any, Any]:
    """Return how the task runner of this version writes and reads the arguments of triggers and methods."""
    try:
        serde = part("airflow.sdk.serde")
    except ImportError:
        base = part("airflow.serialization.serialized_objects").BaseSerialization
        return base.serialize, base.deserialize
    return serde.serialize, serde.deserialize


def serialized(value: Any) -> Any:
    """Return a value in the form of this version's task runner."""
    return _serialization()[0](value)


def deserialized(value: Any) -> Any:
    """Return the value of a form of some version's task runner."""
    if isinstance(value, dict) and "__type" in value:
        return part("airflow.serialization.serialized_objects").BaseSerialization.deserialize(value)
    return _serialization()[1](value)


def instant(value: Any) -> Any:
    """Return a time of the API's text."""
    return dt.datetime.fromisoformat(value) if isinstance(value, str) else value
