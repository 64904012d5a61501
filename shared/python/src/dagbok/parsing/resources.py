"""What a task asks of the machine that it runs on, in each of the forms that Airflow's users write it in.

`executor_config` plainly (`{"memory": "2Gi", "cpu": 1}`), as the Kubernetes executor's `pod_override` or its
older `{"KubernetesExecutor": {"request_memory": ...}}`, and `resources=`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from dagbok.authoring.operator import DEFAULT_QUEUE
from dagbok.authoring.operator_args import EXECUTOR_IGNORED
from dagbok.exceptions import AirflowException
from dagbok.parsing.pods import KUBERNETES, pod_override_of, queue_of_pods, wants_pod

if TYPE_CHECKING:
    from dagbok.authoring.operator import BaseOperator

Json = dict[str, Any]
_UNITS = {
    "": 1, "B": 1, "k": 10**3, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "P": 10**15, "E": 10**18,
    "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40, "Pi": 2**50, "Ei": 2**60,
    "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12, "PB": 10**15, "EB": 10**18,
    "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40, "PiB": 2**50, "EiB": 2**60,
    # Kubernetes' own: thousandths of a byte.
    "m": 0.001,
}  # fmt: skip
# Thousandths of a CPU.
_CPUS = {"m": 1.0, "u": 0.001, "n": 0.000_001}
_GPU_NAMES = ("nvidia.com/gpu", "amd.com/gpu")
_PLAIN = {
    "memory",
    "cpu",
    "cpus",
    "gpu",
    "gpus",
    "processes",
    "resources",
    "labels",
    "memory_limit",
    "cpu_limit",
}
_OLD = ("KubernetesExecutor", "CeleryKubernetesExecutor")
_BASE = "base"
_MOST = 2**63 - 1


class Asked:
    """What one task asks for and is held to."""

    def __init__(self) -> None:
        self.resources: Json = {}
        self.limits: Json = {}
        # What of it has no effect, for people.
        self.ignored: list[str] = []

    def ask(self, name: str, value: int) -> None:
        """Ask for so much of something."""
        if name in {"memory", "cpu_milli", "gpus"}:
            self.resources[name] = value
        elif value:
            self.resources.setdefault("custom", {})[name] = value

    def spec(self) -> Json:
        """As fields of the task's spec."""
        both = {"resources": self.resources, "limits": self.limits}
        return {name: fields for name, fields in both.items() if fields}


def asked_for(config: object, resources: object) -> Asked:
    """Read `executor_config` and `resources`; raises where a figure can't be understood."""
    asked = Asked()
    if resources:
        _read_resources(_mapping("resources", resources), asked)
    if config:
        _read_config(_mapping("executor_config", config), asked)
    return asked


def of_machine(task: BaseOperator) -> Json:
    """Return what a task asks of the machine that it runs on, as fields of its spec."""
    told = asked_for(task.executor_config, task.resources)
    pods = queue_of_pods()
    if pods and wants_pod(task.executor):
        # Who runs tries in pods says so by this label: nobody else has it, whatever its labels say.
        told.resources.setdefault("labels", {})["executor"] = KUBERNETES
    asked = told.spec()
    if pods and wants_pod(task.executor) and task.queue == DEFAULT_QUEUE:
        asked["queue"] = pods
    if pods and (pod := pod_override_of(task.executor_config)):
        asked["pod_override"] = pod
    user = task.run_as_user
    if not user:
        return asked
    if not isinstance(user, str):
        raise AirflowException(f"run_as_user must be a user's name, not {type(user).__name__}")
    return {**asked, "run_as_user": user}


def ignored_arguments_of(task: BaseOperator) -> list[str]:
    """Return a task's arguments that have no effect here: who is asked for by `executor` may be there."""
    heeded = queue_of_pods() and wants_pod(task.executor)
    return [what for what in task.ignored_arguments if not (heeded and what == EXECUTOR_IGNORED)]


def ignored_of(task: BaseOperator) -> list[str]:
    """Return what a task asks for in vain; nothing where it can't be read, which is its error already."""
    try:
        return asked_for(task.executor_config, task.resources).ignored
    except AirflowException:
        return []


def _mapping(name: str, value: object) -> Mapping[str, Any]:
    if isinstance(value, Mapping):
        return value
    # Airflow's own class of `resources`, and the models of the Kubernetes client.
    if callable(to_dict := getattr(value, "to_dict", None)) and isinstance(made := to_dict(), Mapping):
        return made
    raise AirflowException(f"{name} must be a dict, not {type(value).__name__}")


def _read_config(config: Mapping[str, Any], asked: Asked) -> None:
    for name, value in config.items():
        if name == "pod_override":
            _read_pod(value, asked)
        elif name in _OLD:
            _read_old(_mapping(f"executor_config[{name!r}]", value), asked)
        elif name in {"memory", "memory_limit"}:
            _memory(name, value, asked, both=name == "memory")
        elif name in {"cpu", "cpus", "cpu_limit"}:
            _cpu(name, value, asked, both=name != "cpu_limit")
        elif name in {"gpu", "gpus"}:
            asked.ask("gpus", _count(name, value))
        elif name == "processes":
            if most := _count(name, value):
                asked.limits["processes"] = most
        elif name == "labels":
            _read_labels(value, asked)
        elif name == "resources":
            for one, count in _mapping("executor_config['resources']", value).items():
                asked.ask(str(one), _count(str(one), count))
        else:
            asked.ignored.append(f"executor_config: `{name}` is ignored")


def _read_labels(value: object, asked: Asked) -> None:
    """Read what the executor is to be or where: names with values, or names alone, which are to be true."""
    if isinstance(value, str):
        value = [value]
    if isinstance(value, list | tuple | set | frozenset):
        value = dict.fromkeys(value, True)
    for one, said in _mapping("executor_config['labels']", value).items():
        if not one or not isinstance(said, str | int | float):
            kind = type(said).__name__
            raise AirflowException(
                f"executor_config['labels']: {one!r} must have a name and a text, not {kind}"
            )
        text = str(said).lower() if isinstance(said, bool) else str(said)
        asked.resources.setdefault("labels", {})[str(one)] = text


def _memory(name: str, value: object, asked: Asked, both: bool) -> None:
    # 0 is no limit, as in Kubernetes.
    if not (limit := memory_of(name, value)):
        return
    asked.limits["memory"] = limit
    if both:
        asked.ask("memory", limit)


def _cpu(name: str, value: object, asked: Asked, both: bool) -> None:
    if not (limit := cpu_of(name, value)):
        return
    asked.limits["cpu_milli"] = limit
    if both:
        asked.ask("cpu_milli", limit)


def _read_old(config: Mapping[str, Any], asked: Asked) -> None:
    for name, value in config.items():
        if value is None:
            continue
        match name:
            case "request_memory":
                asked.ask("memory", memory_of(name, value))
            case "limit_memory":
                _memory(name, value, asked, both=False)
            case "request_cpu":
                asked.ask("cpu_milli", cpu_of(name, value))
            case "limit_cpu":
                _cpu(name, value, asked, both=False)
            case "limit_gpu":
                asked.ask("gpus", _count(name, value))
            case _:
                asked.ignored.append(f"executor_config: `{name}` of KubernetesExecutor is ignored")


def _read_pod(pod: object, asked: Asked) -> None:
    """Read the figures of the pod's container that runs the task: `base`, or the first."""
    containers = [one for one in _of(_of(pod, "spec"), "containers") or () if one is not None]
    base = next((one for one in containers if _of(one, "name") == _BASE), next(iter(containers), None))
    if not queue_of_pods():
        asked.ignored.append("executor_config: of pod_override only the resources of its container are read")
    told = _of(base, "resources")
    for name, value in _items(_of(told, "requests")):
        if name == "memory":
            asked.ask("memory", memory_of(name, value))
        elif name == "cpu":
            asked.ask("cpu_milli", cpu_of(name, value))
        elif name in _GPU_NAMES:
            asked.ask("gpus", _count(name, value))
    for name, value in _items(_of(told, "limits")):
        if name == "memory":
            _memory(name, value, asked, both="memory" not in asked.resources)
        elif name == "cpu":
            _cpu(name, value, asked, both="cpu_milli" not in asked.resources)
        elif name in _GPU_NAMES:
            asked.ask("gpus", _count(name, value))


def _of(thing: object, name: str) -> Any:
    return thing.get(name) if isinstance(thing, Mapping) else getattr(thing, name, None)


def _items(thing: object) -> Iterable[tuple[str, Any]]:
    return thing.items() if isinstance(thing, Mapping) else ()


def _read_resources(told: Mapping[str, Any], asked: Asked) -> None:
    """Read Airflow's `resources`: `cpus`, `ram` and `disk` in MiB, `gpus`."""
    for name, value in told.items():
        # What its class makes of each: name, quantity and unit.
        amount = value.get("qty", value.get("_qty")) if isinstance(value, Mapping) else value
        if not amount:
            continue
        if name == "cpus":
            _cpu(name, amount, asked, both=True)
        elif name == "ram":
            megabytes = amount if isinstance(amount, str) else f"{amount}MiB"
            _memory(name, megabytes, asked, both=True)
        elif name == "gpus":
            asked.ask("gpus", _count(name, amount))
        else:
            asked.ignored.append(f"resources: `{name}` is ignored")


def memory_of(name: str, value: object) -> int:
    """Return bytes of `2Gi`, `512M`, `1.5G` or a number of them."""
    text = str(value).strip() if isinstance(value, str | int | float) and not isinstance(value, bool) else ""
    number = text.rstrip("KMGTPEkiBm")
    unit = text[len(number) :]
    if unit in _UNITS and (figure := _figure(number)) is not None and figure * _UNITS[unit] <= _MOST:
        return int(figure * _UNITS[unit])
    raise AirflowException(f"{name} is {value!r}, which is no amount of memory such as 512Mi, 2Gi or 1.5G")


def cpu_of(name: str, value: object) -> int:
    """Return thousandths of CPUs of `500m`, `1.5` or a number of them."""
    text = str(value).strip() if isinstance(value, str | int | float) and not isinstance(value, bool) else ""
    number, factor = (text[:-1], _CPUS[text[-1]]) if text[-1:] in _CPUS else (text, 1000.0)
    if (figure := _figure(number)) is not None and figure * factor <= _MOST:
        return round(figure * factor)
    raise AirflowException(f"{name} is {value!r}, which is no number of CPUs such as 2, 0.5 or 500m")


def _count(name: str, value: object) -> int:
    text = str(value).strip() if isinstance(value, str | int) and not isinstance(value, bool) else ""
    if text.isdecimal() and int(text) < 2**32:
        return int(text)
    raise AirflowException(f"{name} is {value!r}, which is no whole number from 0 on")


def _figure(text: str) -> float | None:
    try:
        figure = float(text)
    except ValueError:
        return None
    return figure if math.isfinite(figure) and figure >= 0 else None
