"""Answers of the executor as the objects of Airflow's task runner."""

from __future__ import annotations

from typing import Any

from dagbok.exact import part, startup

Json = dict[str, Any]
COMMS = "airflow.sdk.execution_time.comms"


def read(body: Any) -> Any:
    """Return Airflow's object of an answer, by the name that the answer has; None for none."""
    if not isinstance(body, dict) or "type" not in body:
        return None
    kind = body["type"]
    model = getattr(part(COMMS), kind, None)
    if model is None:
        raise TypeError(
            f"this Airflow's task runner does not know the answer {kind}: nothing it asks should get it"
        )
    special = SPECIAL.get(kind)
    return special(model, body) if special is not None else startup.fill(model, body)


def _run(model: Any, body: Json) -> Any:
    return model.model_validate({**_run_values(body), "type": body["type"]})


def _run_values(body: Json) -> Json:
    values: Json = startup.run(body).model_dump()
    return values


def _previous_run(model: Any, body: Json) -> Any:
    found = body.get("dag_run")
    return model(dag_run=None if found is None else startup.run(found))


def _previous_ti(model: Any, body: Json) -> Any:
    found = body.get("task_instance")
    if found is None:
        return model(task_instance=None)
    return model(task_instance=startup.fill(part(startup.MODELS).PreviousTIResponse, found))


def _events(model: Any, body: Json) -> Any:
    """Return events of assets, of which ours have less around them."""
    kind = part(startup.MODELS).AssetEventResponse
    events = []
    for event in body["asset_events"]:
        asset = {
            "name": event["name"],
            "uri": event["uri"],
            "group": event.get("group") or "asset",
            "extra": None,
        }
        known = {**event, "asset": asset, "created_dagruns": [], "extra": event.get("extra") or {}}
        events.append(startup.fill(kind, known).model_dump())
    return model.model_validate({"asset_events": events, "type": "AssetEventsResult"})


def _dag(model: Any, body: Json) -> Any:
    tags = [tag["name"] if isinstance(tag, dict) else tag for tag in body.get("tags") or ()]
    owners = body.get("owners")
    owner = ", ".join(owners) if isinstance(owners, list) else owners
    return startup.fill(
        model, {**body, "tags": tags, "owners": owner, "next_dagrun": body.get("next_dagrun_logical_date")}
    )


SPECIAL = {
    "AssetEventsResult": _events,
    "DagResult": _dag,
    "DagRunResult": _run,
    "PreviousDagRunResult": _previous_run,
    "PreviousTIResult": _previous_ti,
}
