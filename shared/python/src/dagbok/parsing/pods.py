"""What a task says of the pod that its tries run in, as the JSON that Kubernetes is sent.

Airflow's users write it with the models of the Kubernetes client: `{"pod_override": k8s.V1Pod(...)}`.
They are read as the client itself writes them (`sanitize_for_serialization`), without that the client need be
imported here. Plain dicts in the names of the API do as well.

All of it counts only where the installation makes pods, which whoever started this process says by
`DAGBOK_PODS`: elsewhere nothing is read that could be wrong, and nothing is kept.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from datetime import date, datetime
from typing import Any

from dagbok.exceptions import AirflowException

# As in `dagbok_protocol::limits`.
POD_OVERRIDE_BYTES = 64 << 10
# What a task names in `executor=` to have its tries in pods.
KUBERNETES = "KubernetesExecutor"
_WHERE = "executor_config['pod_override']"
# Deeper than any pod; what holds itself has no end.
_DEEPEST = 64
# The queue whose tries run in pods, where there are any. Read before any DAG file can change it.
_QUEUE = os.environ.get("DAGBOK_PODS") or None


def queue_of_pods() -> str | None:
    """Return the queue whose tries run in pods; nothing where the installation makes none."""
    return _QUEUE


def pod_override_of(config: object) -> str | None:
    """Return the pod that a task asks for as JSON text, where it asks for one; raises where it is none."""
    if not isinstance(config, Mapping) or not (pod := config.get("pod_override")):
        return None
    if config.get(KUBERNETES):
        raise AirflowException(f"executor_config has both {KUBERNETES!r} and 'pod_override'")
    told = _plain(pod, _WHERE, 0)
    if not isinstance(told, dict):
        raise AirflowException(f"{_WHERE} must be a V1Pod of the Kubernetes client, not {type(pod).__name__}")
    _check(told)
    try:
        text = json.dumps(told, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
        size = len(text.encode())
    except ValueError as error:
        raise AirflowException(f"{_WHERE} has no JSON form: {error}") from None
    if size > POD_OVERRIDE_BYTES:
        raise AirflowException(f"{_WHERE} is {size} bytes of JSON; it may have {POD_OVERRIDE_BYTES}")
    return text


def kept_once(tasks: list[dict[str, Any]]) -> list[str]:
    """Return all pods of a DAG, each once, and have its tasks name their places: many may share one."""
    places: dict[str, int] = {}
    for task in tasks:
        if (text := task.get("pod_override")) is not None:
            task["pod_override"] = places.setdefault(text, len(places))
    return list(places)


def wants_pod(executor: object) -> bool:
    """Whether a task names the executor that runs each try in a pod."""
    return isinstance(executor, str) and executor.rsplit(".", 1)[-1] == KUBERNETES


def _check(pod: dict[str, Any]) -> None:
    """Find what would be no pod whatever it is put over; the rest is seen where the pod is made."""
    for name in ("metadata", "spec"):
        if pod.get(name) is not None and not isinstance(pod[name], dict):
            raise AirflowException(f"{_WHERE}: `{name}` must be a mapping, not {type(pod[name]).__name__}")
    containers = (pod.get("spec") or {}).get("containers") or []
    if not isinstance(containers, list) or not all(isinstance(one, dict) for one in containers):
        raise AirflowException(f"{_WHERE}: `spec.containers` must be a list of containers")
    for place, one in enumerate(containers):
        # One without has that of the container at its place.
        if not isinstance(one.get("name"), str | None):
            raise AirflowException(f"{_WHERE}: `spec.containers[{place}].name` must be a text")


def _plain(value: Any, where: str, depth: int) -> Any:
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if depth > _DEEPEST:
        raise AirflowException(f"{where[:200]} is too deep, or holds itself")
    if isinstance(value, list | tuple):
        return [_plain(one, f"{where}[{place}]", depth + 1) for place, one in enumerate(value)]
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, Mapping):
        return {str(name): _plain(one, f"{where}.{name}", depth + 1) for name, one in value.items()}
    kind = type(value)
    names, fields = getattr(kind, "attribute_map", None), getattr(kind, "openapi_types", None)
    if isinstance(names, Mapping) and isinstance(fields, Mapping):
        told = ((names[field], getattr(value, field)) for field in fields)
        return {name: _plain(one, f"{where}.{name}", depth + 1) for name, one in told if one is not None}
    raise AirflowException(f"{where} is a {kind.__name__}, which can't be part of a pod")
