"""Airflow's DAG as the JSON of our DAG spec.

What Airflow serializes (the schedule, assets) is taken from its serialized DAG, which is the same from 3.1 to
3.3; the rest is read from the tasks themselves, by the names that Airflow documents.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import timedelta
from json import dumps, loads
from typing import Any

from dagbok.exact import expansion, startup, timetables
from dagbok.exceptions import AirflowException
from dagbok.parsing.graph import date_range, effective_weights, own_dates, topological
from dagbok.parsing.notifiers import told_of_failures
from dagbok.timezone import rfc3339

Json = dict[str, Any]
LONGEST = timedelta(days=365_000)
DEFAULT_RETRY_DELAY = timedelta(minutes=5)
UNKNOWN_OWNER = "airflow"
WEIGHT_RULES = ("downstream", "upstream", "absolute")


def dag_spec(dag: Any, serialized: Json, folder: str, file: str) -> Json:
    """Return the spec of a DAG and of what Airflow serialized of it."""
    ordered = topological(dag)
    place = {task.task_id: index for index, task in enumerate(ordered)}
    spec = _settings(dag, serialized)
    owner = spec.get("owner", "")
    weights = effective_weights([_Weighed(task) for task in ordered])  # type: ignore[misc]
    dates = date_range(dag)
    spec["tasks"] = [
        _task(task, place, weight, owner) | own_dates(task, dates)
        for task, weight in zip(ordered, weights, strict=True)
    ]
    if ignored := _not_carried_out(dag):
        spec["not_carried_out"] = ignored
    spec["source"] = {"file": file}
    return dict(loads(dumps(spec, allow_nan=False)))


class _Weighed:
    """A task as far as its priority goes: its rule by name, and a rule of the file's own asked at once."""

    def __init__(self, task: Any) -> None:
        self.task_id, self.priority_weight = task.task_id, task.priority_weight
        self.get_direct_relative_ids = task.get_direct_relative_ids
        rule = task.weight_rule
        self.weight_rule = next((name for name in WEIGHT_RULES if _is_rule(rule, name)), "absolute")
        if self.weight_rule == "absolute" and hasattr(rule, "get_weight"):
            self.priority_weight = int(rule.get_weight(_Untried(task)))


class _Untried:
    """What a rule is asked about: a task of which no try was made."""

    def __init__(self, task: Any) -> None:
        self.task, self.task_id, self.dag_id = task, task.task_id, task.dag_id
        self.priority_weight, self.try_number, self.map_index = task.priority_weight, 0, -1


def _is_rule(rule: Any, name: str) -> bool:
    """Whether a rule is that of a name: by its value, or by Airflow's class of it."""
    if str(getattr(rule, "value", rule)) == name:
        return True
    return type(rule).__name__.strip("_").lower() == f"{name}priorityweightstrategy"


def _settings(dag: Any, serialized: Json) -> Json:
    spec: Json = {"dag_id": dag.dag_id}
    if dag.dag_display_name != dag.dag_id:
        spec["display_name"] = _text(dag.dag_display_name)
    for name in ("description", "doc_md"):
        if getattr(dag, name, None):
            spec[name] = _text(getattr(dag, name))
    if owner := _owner(dag):
        spec["owner"] = owner
    if dag.tags:
        spec["tags"] = sorted(map(_text, dag.tags))
    spec.update(told_of_failures(dag))
    spec["schedule"] = timetables.schedule(serialized["timetable"], serialized.get("timezone", "UTC"))
    if isinstance(dag.schedule, str):
        spec["schedule"]["text"] = dag.schedule
    first, last = date_range(dag)
    if first is not None:
        spec["start_date"] = rfc3339(first)
    if last is not None:
        spec["end_date"] = rfc3339(last)
    condition = serialized["timetable"]["__var"].get("asset_condition")
    if condition is not None:
        spec["asset_condition"] = _condition(condition)
        if watched := _watchers(getattr(dag.timetable, "asset_condition", None)):
            spec["watchers"] = watched
    spec["era"] = 3
    for name in ("on_success_callback", "on_failure_callback"):
        if getattr(dag, name, None):
            spec[name] = True
    spec["catchup"] = bool(dag.catchup)
    spec["max_active_runs"], spec["max_active_tasks"] = int(dag.max_active_runs), int(dag.max_active_tasks)
    if dag.fail_fast:
        spec["fail_fast"] = True
    if dag.max_consecutive_failed_dag_runs:
        spec["max_consecutive_failed_dag_runs"] = int(dag.max_consecutive_failed_dag_runs)
    if dag.dagrun_timeout is not None:
        spec["dagrun_timeout"] = _micros(dag.dagrun_timeout)
    if dag.is_paused_upon_creation is not None:
        spec["is_paused_upon_creation"] = bool(dag.is_paused_upon_creation)
    spec.update(_params(dag))
    return spec


def _params(dag: Any) -> Json:
    """Return what is told of params: defaults, schemas, and those that a run's conf must give."""
    values, schemas, missing = {}, {}, []
    for name, param in (
        dag.params.items_unresolved() if hasattr(dag.params, "items_unresolved") else _raw(dag.params)
    ):
        if param.has_value:
            values[name] = param.resolve()
        else:
            missing.append(name)
        said = {"description": param.description} if getattr(param, "description", None) else {}
        if said or param.schema:
            schemas[name] = {**said, **param.schema}
    if not (values or missing):
        return {}
    told: Json = {"params": dumps(loads(dumps(values, allow_nan=False)), sort_keys=True)}
    if schemas:
        told["param_schemas"] = dumps(loads(dumps(schemas, default=str)), sort_keys=True)
    if missing:
        told["required_params"] = sorted(missing)
    return told


def _raw(params: Any) -> list[tuple[str, Any]]:
    return [(name, params.get_param(name)) for name in params]


def _owner(dag: Any) -> str:
    said = {str(task.owner) for task in dag.tasks if task.owner and task.owner != UNKNOWN_OWNER}
    if not said and isinstance(dag.default_args.get("owner"), str):
        said = {dag.default_args["owner"]}
    return _text(", ".join(sorted(said)))


def _not_carried_out(dag: Any) -> list[Json]:
    """Return what the DAG and its tasks ask for and nobody does, each with the first that asks."""
    told: list[Json] = []
    if getattr(dag, "deadline", None):
        told.append({"what": "a deadline is not watched in exact mode"})
    by_tasks: dict[str, Json] = {}
    for task in dag.tasks:
        for what in _ignored(task):
            if what in by_tasks:
                by_tasks[what]["more"] = by_tasks[what].get("more", 0) + 1
            else:
                by_tasks[what] = {"what": what, "task_id": task.task_id}
    return [*told, *by_tasks.values()]


def _ignored(task: Any) -> list[str]:
    asked = {
        "run_as_user is refused in exact mode": getattr(task, "run_as_user", None),
        "executor is ignored in exact mode": getattr(task, "executor", None),
        "executor_config is ignored in exact mode": getattr(task, "executor_config", None),
        "a task that waits for a person's answer fails in exact mode": _waits_for_a_person(task),
    }
    return [what for what, is_asked in asked.items() if is_asked]


def _waits_for_a_person(task: Any) -> bool:
    kind = getattr(task, "operator_class", type(task))
    return any(one.__name__ == "HITLOperator" for one in getattr(kind, "__mro__", ()))


def _condition(said: Json) -> Json:
    """Return an asset condition of Airflow's serialized form."""
    kind = said["__type"]
    if kind in {"asset_all", "asset_any"}:
        name = "All" if kind == "asset_all" else "Any"
        return {name: {"of": [_condition(one) for one in said["objects"]]}}
    return {"One": {"of": _leaf(kind, said)}}


def _leaf(kind: str, said: Json) -> Json:
    if kind == "asset_ref":
        by_name = "name" in said
        return {"Name": {"name": said["name"]}} if by_name else {"Uri": {"uri": said["uri"]}}
    if kind == "asset_alias":
        return {"Alias": {"name": said["name"]}}
    return {"Asset": _asset(said["name"], said["uri"], said.get("group"), said.get("extra"))}


def _assets(condition: Any) -> Iterator[Any]:
    """Yield each asset that a condition names itself."""
    if hasattr(condition, "watchers"):
        yield condition
    for one in getattr(condition, "objects", ()):
        yield from _assets(one)


def _watchers(condition: Any) -> list[Json]:
    """Return what watches the assets of a condition, each once; its arguments are in Airflow's form."""
    found: list[Json] = []
    for asset in _assets(condition):
        for watcher in asset.watchers:
            path, arguments = watcher.trigger.serialize()
            kwargs = startup.encoded_text(startup.serialized(arguments))
            one: Json = {
                "name": watcher.name,
                "asset": {"name": asset.name, "uri": asset.uri},
                "trigger": {"class_path": path, "kwargs": {"Inline": kwargs}},
            }
            if one not in found:
                found.append(one)
    return found


def _asset(name: str, uri: str, group: Any, extra: Any) -> Json:
    form: Json = {"name": name, "uri": uri}
    if group and group != "asset":
        form["group"] = str(group)
    if extra:
        form["extra"] = dumps(extra, sort_keys=True)
    return form


def _lineage(objects: Any) -> list[Json]:
    """Return the assets among what a task names as its inlets or outlets."""
    found: list[Json] = []
    for one in objects or ():
        names = {kind.__name__ for kind in type(one).__mro__}
        if "Asset" in names:
            found.append({"Asset": _asset(one.name, one.uri, one.group, one.extra)})
        elif "AssetAlias" in names:
            found.append({"Alias": {"name": one.name}})
        elif "AssetNameRef" in names:
            found.append({"Name": {"name": one.name}})
        elif "AssetUriRef" in names:
            found.append({"Uri": {"uri": one.uri}})
    return found


def _task(task: Any, place: dict[str, int], weight: int, dag_owner: str) -> Json:
    """Return a task's spec; what can't be said of it names it."""
    try:
        return {**_told(task, place, weight, dag_owner), **_copies(task, place)}
    except AirflowException as error:
        raise AirflowException(f"task `{task.task_id}`: {error}") from error


def _told(task: Any, place: dict[str, int], weight: int, dag_owner: str) -> Json:
    spec: Json = {"task_id": task.task_id, "operator": str(task.task_type)}
    if task.upstream_task_ids:
        spec["upstream"] = sorted(place[above] for above in task.upstream_task_ids)
    rule = str(getattr(task.trigger_rule, "value", task.trigger_rule))
    if rule != "all_success":
        spec["trigger_rule"] = rule
    spec.update(_retries(task))
    if task.execution_timeout is not None:
        spec["execution_timeout"] = _micros(task.execution_timeout)
    for name, usual in (("pool", "default_pool"), ("queue", "default")):
        if (said := getattr(task, name)) not in (None, usual):
            spec[name] = _text(said)
    if task.pool_slots != 1:
        spec["pool_slots"] = int(task.pool_slots)
    for name in ("max_active_tis_per_dag", "max_active_tis_per_dagrun"):
        if (most := getattr(task, name, None)) is not None:
            spec[name] = int(most)
    if task.depends_on_past:
        spec["depends_on_past"] = True
        if task.wait_for_downstream:
            spec["wait_for_downstream"] = True
        if not task.ignore_first_depends_on_past:
            spec["ignore_first_depends_on_past"] = False
        if task.wait_for_past_depends_before_skipping:
            spec["wait_for_past_depends_before_skipping"] = True
    if weight != 1:
        spec["priority_weight"] = weight
    if task.owner and task.owner not in (UNKNOWN_OWNER, dag_owner):
        spec["owner"] = _text(task.owner)
    for name in ("is_setup", "is_teardown", "on_failure_fail_dagrun"):
        if getattr(task, name):
            spec[name] = True
    for name in ("inlets", "outlets"):
        if found := _lineage(getattr(task, name, None)):
            spec[name] = found
    if task.doc_md:
        spec["doc_md"] = _text(task.doc_md)
    return spec


def _retries(task: Any) -> Json:
    spec: Json = {}
    if task.retries:
        spec["retries"] = int(task.retries)
    if task.retry_delay != DEFAULT_RETRY_DELAY:
        spec["retry_delay"] = _micros(task.retry_delay)
    backoff = task.retry_exponential_backoff
    if backoff:
        spec["retry_backoff_milli"] = 2000 if backoff is True else round(backoff * 1000)
    if task.max_retry_delay is not None:
        spec["max_retry_delay"] = _micros(task.max_retry_delay)
    return spec


def _copies(task: Any, place: dict[str, int]) -> Json:
    spec: Json = {}
    if path := _path(task.task_group):
        spec["group"] = path
    if getattr(task, "is_mapped", False):
        spec["is_mapped"] = True
    group = task.get_closest_mapped_task_group()
    expand = expansion.expand_of(task, group, place)
    if expand is not None:
        spec["expand"] = expand
    if group is not None:
        spec["mapped_group"] = str(group.group_id)
    return spec


def _path(group: Any) -> str:
    """Return a group's own and the outer groups' labels, joined by dots."""
    labels: list[str] = []
    while group is not None and group.group_id is not None:
        labels.append(str(group.label))
        group = group.parent_group
    return ".".join(reversed(labels))


def _micros(value: Any) -> int:
    if not isinstance(value, timedelta):
        raise AirflowException(
            f"a delay or timeout must be a timedelta, not {type(value).__name__}: {value!r}"
        )
    return min(value, LONGEST) // timedelta(microseconds=1)


def _text(value: object) -> str:
    return str(value).encode("utf-8", "replace").decode()


def place_in(folder: str, file: str, text: str) -> int | None:
    """Return the last line of a file that a traceback's text names."""
    import re

    path = os.path.join(folder, *file.split("/"))
    lines = re.findall(rf'File "{re.escape(path)}", line (\d+)', text)
    return int(lines[-1]) if lines else None
