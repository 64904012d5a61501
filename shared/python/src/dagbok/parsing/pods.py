"""What a task says of the pod that its tries run in, as the JSON that Kubernetes is sent.

Airflow's users write it with the models of the Kubernetes client: `{"pod_override": k8s.V1Pod(...)}`.
They are read as the client itself writes them (`sanitize_for_serialization`), without that the client need be
imported here. Plain dicts in the names of the API do as well.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import date, datetime
from typing import Any

from dagbok.exceptions import AirflowException

# As in `dagbok_protocol::limits`.
POD_OVERRIDE_BYTES = 64 << 10
# What a task names in `executor=` to have its tries in pods.
KUBERNETES = "KubernetesExecutor"
_WHERE = "executor_config['pod_override']"


def pod_override_of(config: object) -> str | None:
    """Return the pod that a task asks for as JSON text, where it asks for one; raises where it is none."""
    if not isinstance(config, Mapping) or not (pod := config.get("pod_override")):
        return None
    if config.get(KUBERNETES):
        raise AirflowException(f"executor_config has both {KUBERNETES!r} and 'pod_override'")
    told = _plain(pod, _WHERE)
    if not isinstance(told, dict):
        raise AirflowException(f"{_WHERE} must be a V1Pod of the Kubernetes client, not {type(pod).__name__}")
    _check(told)
    text = json.dumps(told, ensure_ascii=False, separators=(",", ":"))
    if (size := len(text.encode())) > POD_OVERRIDE_BYTES:
        raise AirflowException(f"{_WHERE} is {size} bytes of JSON; it may have {POD_OVERRIDE_BYTES}")
    return text


def wants_pod(executor: object) -> bool:
    """Whether a task names the executor that runs each try in a pod."""
    return isinstance(executor, str) and executor.rsplit(".", 1)[-1] == KUBERNETES


def _check(pod: dict[str, Any]) -> None:
    """Find what would be no pod whatever it is put over; the rest is seen where the pod is made."""
    for name in ("metadata", "spec"):
        if name in pod and not isinstance(pod[name], dict):
            raise AirflowException(f"{_WHERE}: `{name}` must be a mapping, not {type(pod[name]).__name__}")
    containers = pod.get("spec", {}).get("containers", [])
    if not isinstance(containers, list) or not all(isinstance(one, dict) for one in containers):
        raise AirflowException(f"{_WHERE}: `spec.containers` must be a list of containers")
    for place, one in enumerate(containers):
        if not isinstance(one.get("name"), str):
            raise AirflowException(f"{_WHERE}: `spec.containers[{place}].name` must be a text")


def _plain(value: Any, where: str) -> Any:
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list | tuple):
        return [_plain(one, f"{where}[{place}]") for place, one in enumerate(value)]
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, Mapping):
        return {str(name): _plain(one, f"{where}.{name}") for name, one in value.items()}
    kind = type(value)
    names, fields = getattr(kind, "attribute_map", None), getattr(kind, "openapi_types", None)
    if isinstance(names, Mapping) and isinstance(fields, Mapping):
        told = ((names[field], getattr(value, field)) for field in fields)
        return {name: _plain(one, f"{where}.{name}") for name, one in told if one is not None}
    raise AirflowException(f"{where} is a {kind.__name__}, which can't be part of a pod")
