"""A DAG as the JSON of the DAG spec. Fields at their defaults are left out, so that the form is canonical."""

from __future__ import annotations

import os
from datetime import timedelta

# By name: a file may put something of its own in the place of the module's functions.
from json import dumps, loads
from typing import Any

from dagbok.authoring.assets import AssetTriggeredTimetable, assets_in
from dagbok.authoring.dag import DAG
from dagbok.authoring.mapping import Mapped
from dagbok.authoring.operator import DEFAULT_POOL, DEFAULT_QUEUE, DEFAULT_RETRY_DELAY, BaseOperator
from dagbok.authoring.timetable_base import form_of
from dagbok.authoring.timetables import CRON_AND_DELTA, NullTimetable
from dagbok.durations import plain
from dagbok.exceptions import AirflowException, ParamValidationError
from dagbok.parsing.deadlines import deadlines, not_watched
from dagbok.parsing.graph import AboutTask, date_range, effective_weights, own_dates, topological
from dagbok.parsing.notifiers import retry_email, told_of_failures
from dagbok.parsing.pods import kept_once
from dagbok.parsing.resources import ignored_arguments_of, ignored_of, of_machine
from dagbok.parsing.watchers import watchers
from dagbok.timezone import rfc3339
from dagbok.tracebacks import safe_text
from dagbok.zones import zone_name

Json = dict[str, Any]
MAX_U32 = 2**32 - 1
# What the rules take of one task in one run.
MAX_COPIES = 100_000
# Besides the first; a DAG made in a loop has thousands of a kind.
REFUSALS_TOLD = 9


class SpecError(AirflowException):
    """A DAG can't be represented; `file` and `line` are where the file says the offending thing."""

    def __init__(self, message: str, file: str = "", line: int = 0) -> None:
        super().__init__(message)
        self.file, self.line = file, line


def dag_spec(dag: DAG, folder: str, file: str) -> Json:
    """Return a DAG's spec, or raise the one error that names what can't be represented.

    Whatever code of the file is run on the way (a `__str__`, a property) may raise what it likes, and be
    no `Exception` either: it is this DAG's error, and the other DAGs of the file stand.
    """
    try:
        _refuse_what_is_refused(dag)
        ordered = topological(dag)
        spec = _settings(dag)
        spec["tasks"] = _tasks(dag, ordered)
        if pods := kept_once(spec["tasks"]):
            spec["pod_overrides"] = pods
        if watched := deadlines(dag):
            spec["deadlines"] = watched
        if ignored := _not_carried_out(dag):
            spec["not_carried_out"] = ignored
        spec["source"] = _source(dag, folder, file)
        # In plain values by now: none of the file's own classes is left in what is handed on.
        return dict(loads(dumps(spec, allow_nan=False)))
    except SpecError:
        raise
    except AboutTask as about:
        raise _task_error(about.task, about.__cause__ or about) from about.__cause__
    except BaseException as error:
        raise SpecError(f"DAG `{name_of(dag)}`: {_said(error)}", *place_of(dag)) from error


def name_of(dag: DAG) -> str:
    """Return a DAG's id for messages, whatever the file made of it."""
    try:
        return _text(dag.__dict__["dag_id"])
    except BaseException:
        return "?"


def place_of(dag: DAG) -> tuple[str, int]:
    """Return where a DAG was made, as far as it is known."""
    return _place(dag.__dict__.get("fileloc"), dag.__dict__.get("line"))


def _place(file: object, line: object) -> tuple[str, int]:
    return (file if type(file) is str else "", line if type(line) is int else 0)


def _said(error: BaseException) -> str:
    text = safe_text(error)
    told = isinstance(error, AirflowException | ValueError | TypeError) and text
    return text if told else f"{type(error).__name__}: {text}"


def _refuse_what_is_refused(dag: DAG) -> None:
    refusals = [*dag.refusals, *(refusal for task in dag.tasks for refusal in task.refusals)]
    if not refusals:
        return
    first, *others = refusals
    told = [
        first.message(),
        *(f"{other.message()} (line {other.line})" for other in others[:REFUSALS_TOLD]),
    ]
    if len(others) > REFUSALS_TOLD:
        told.append(f"and {len(others) - REFUSALS_TOLD} more")
    raise SpecError(f"DAG `{dag.dag_id}`: {'; '.join(told)}", first.file, first.line)


def _source(dag: DAG, folder: str, file: str) -> Json:
    inside = os.path.join(folder, *file.split("/")) == dag.fileloc
    # A DAG made by a helper's function stands, for people, in the file that was parsed.
    return {"file": file, "line": dag.line} if inside and dag.line else {"file": file}


def _settings(dag: DAG) -> Json:
    zone = dag.timetable.timezone_name or zone_name(dag.timezone)
    schedule: Json = {"timetable": form_of(dag.timetable), "timezone": zone}
    if dag.timetable.summary is not None:
        schedule["text"] = _text(dag.timetable.summary)
    spec: Json = {"dag_id": dag.dag_id}
    if dag.dag_display_name != dag.dag_id:
        spec["display_name"] = _text(dag.dag_display_name)
    for name in ("description", "doc_md"):
        if getattr(dag, name):
            spec[name] = _text(getattr(dag, name))
    if owner := _owner(dag):
        spec["owner"] = owner
    if dag.tags:
        spec["tags"] = sorted(map(_text, dag.tags))
    spec.update(told_of_failures(dag))
    spec["schedule"] = schedule
    first, last = date_range(dag)
    if first is None and dag.catchup and dag.tasks and isinstance(dag.timetable, CRON_AND_DELTA):
        raise AirflowException(
            "it has a schedule and catchup, and start_date is missing, from which runs are made up for; "
            "give it one, or catchup=False"
        )
    timed = schedule["timetable"] not in ("Manual", "PartitionedAtRuntime")
    if timed and first is not None and last is not None and last < first:
        raise AirflowException(
            f"its end_date, {rfc3339(last)}, lies before its start_date, {rfc3339(first)}: its schedule "
            "would never make a run; change one of them, or take the schedule out"
        )
    if first is not None:
        spec["start_date"] = rfc3339(first)
    if last is not None:
        spec["end_date"] = rfc3339(last)
    if isinstance(dag.timetable, AssetTriggeredTimetable):
        spec["asset_condition"] = dag.timetable.assets_spec()
        if watched := watchers(dag.timetable.asset_condition):
            spec["watchers"] = watched
    if dag.era != 2:
        spec["era"] = dag.era
    spec.update(_callbacks(dag))
    spec["catchup"] = bool(dag.catchup)
    spec["max_active_runs"] = _count("max_active_runs", dag.max_active_runs)
    spec["max_active_tasks"] = _count("max_active_tasks", dag.max_active_tasks)
    if dag.fail_fast:
        spec["fail_fast"] = True
    if dag.max_consecutive_failed_dag_runs:
        name = "max_consecutive_failed_dag_runs"
        spec[name] = _count(name, dag.max_consecutive_failed_dag_runs)
    if dag.dagrun_timeout is not None:
        spec["dagrun_timeout"] = _micros(dag.dagrun_timeout)
    if dag.is_paused_upon_creation is not None:
        spec["is_paused_upon_creation"] = bool(dag.is_paused_upon_creation)
    if dag.params:
        spec.update(_about_params(dag))
    return spec


def _about_params(dag: DAG) -> Json:
    told: Json = {"params": _params(dag)}
    # What a value is for stands with its schema, where JSON Schema has it, too: forms show it.
    said = {
        name: {"description": param.description} for name, param in dag.params.items() if param.description
    }
    schemas = {
        name: {**said.get(name, {}), **param.schema}
        for name, param in dag.params.items()
        if name in said or param.schema
    }
    if schemas:
        # Twice, since keys that are no texts (None beside numbers) can't be sorted before they are.
        told["param_schemas"] = dumps(loads(dumps(schemas, default=str)), sort_keys=True)
    missing = sorted(name for name, param in dag.params.items() if not param.has_value)
    if missing:
        told["required_params"] = missing
    return told


def _callbacks(dag: DAG) -> Json:
    # By what they are: a callback of the file's own kind is not asked whether it is true.
    names = ("on_success_callback", "on_failure_callback")
    return {name: True for name in names if getattr(dag, name) is not None and getattr(dag, name) != []}


def _owner(dag: DAG) -> str:
    said = {task._said_owner for task in dag.tasks if task._said_owner}
    if not said and isinstance(dag.default_args.get("owner"), str):
        said = {dag.default_args["owner"]}
    return _text(", ".join(sorted(said)))


def _not_carried_out(dag: DAG) -> list[Json]:
    """Return what the DAG and its tasks ask for and nobody does, each with the first that asks."""
    line = place_of(dag)[1]
    told = [{"what": _text(what), **_line(line)} for what in [*dag.ignored_arguments, *not_watched(dag)]]
    by_tasks: dict[str, Json] = {}
    for task in dag.tasks:
        ignored = [*ignored_arguments_of(task), *ignored_of(task)]
        for what in ignored:
            if what in by_tasks:
                by_tasks[what]["more"] = by_tasks[what].get("more", 0) + 1
            else:
                site = _place(*task._site)[1]
                by_tasks[what] = {"what": _text(what), "task_id": task.task_id, **_line(site)}
    return [*told, *by_tasks.values()]


def _line(line: int) -> Json:
    return {"line": line} if line > 0 else {}


def _params(dag: DAG) -> str:
    values = {}
    for name, param in dag.params.items():
        if not param.has_value:
            if not isinstance(dag.timetable, NullTimetable):
                raise ParamValidationError(
                    f"param `{name}` has no default, and a DAG with a schedule needs one for each param: "
                    "nobody is there to give a value to a scheduled run"
                )
            continue
        try:
            values[name] = param.resolve()
        except ParamValidationError as error:
            raise ParamValidationError(f"the default of param `{name}`: {error}") from error
    try:
        return dumps(loads(dumps(values, allow_nan=False)), sort_keys=True)
    except (TypeError, ValueError) as error:
        raise AirflowException(f"a param's default has no JSON form: {error}") from None


def _tasks(dag: DAG, ordered: list[BaseOperator]) -> list[Json]:
    place = {task.task_id: index for index, task in enumerate(ordered)}
    owner, dates = _owner(dag), date_range(dag)
    return [
        _placed(task, place, weight, owner) | own_dates(task, dates)
        for task, weight in zip(ordered, effective_weights(ordered), strict=True)
    ]


def _placed(task: BaseOperator, place: dict[str, int], weight: int, dag_owner: str) -> Json:
    """Return a task's spec; what can't be said of it has its own line."""
    try:
        return _task(task, place, weight, dag_owner)
    except BaseException as error:
        raise _task_error(task, error) from error


def _task_error(task: BaseOperator, error: BaseException) -> SpecError:
    text = f"task `{_text(task.task_id)}`: {_said(error)}"
    return SpecError(f"DAG `{name_of(task.dag)}`: {text}", *_place(*task._site))


def _task(task: BaseOperator, place: dict[str, int], weight: int, dag_owner: str) -> Json:
    spec: Json = {"task_id": task.task_id, "operator": task.task_type}
    if task.upstream_task_ids:
        spec["upstream"] = sorted(place[above] for above in task.upstream_task_ids)
    _check_rules(task)
    if task.trigger_rule != "all_success":
        spec["trigger_rule"] = task.trigger_rule.value
    if task.retries:
        spec["retries"] = task.retries
        if mails := retry_email(task):
            spec["retry_email"] = mails
    if task.retry_delay != DEFAULT_RETRY_DELAY:
        spec["retry_delay"] = _micros(task.retry_delay)
    backoff = task.retry_exponential_backoff
    if backoff:
        milli = _count(
            "retry_exponential_backoff in thousandths", 2000 if backoff is True else round(backoff * 1000)
        )
        # Airflow 2 doubles, whatever number says so; in Airflow 3 the number is the multiplier.
        spec["retry_backoff_milli"] = 2000 if task.dag.era == 2 else milli
    if task.max_retry_delay is not None:
        spec["max_retry_delay"] = _micros(task.max_retry_delay)
    if task.execution_timeout is not None:
        spec["execution_timeout"] = _micros(task.execution_timeout)
    if task.pool != DEFAULT_POOL:
        spec["pool"] = _text(task.pool)
    if task.pool_slots != 1:
        spec["pool_slots"] = _count("pool_slots", task.pool_slots, least=1)
    for name in ("max_active_tis_per_dag", "max_active_tis_per_dagrun"):
        if (most := getattr(task, name)) is not None:
            spec[name] = _count(name, most, least=1)
    if task.queue != DEFAULT_QUEUE:
        spec["queue"] = _text(task.queue)
    spec.update(_past(task) | of_machine(task))
    if weight != 1:
        spec["priority_weight"] = weight
    if task._said_owner and task._said_owner != dag_owner:
        spec["owner"] = _text(task._said_owner)
    group = task.task_group.path if task.task_group is not None else None
    if group is not None:
        spec["group"] = group
    if task.mapped is not None:
        spec["is_mapped"] = True
    if task.expansion is not None:
        spec["expand"] = _expand(task.expansion, place)
    if task.mapped_group is not None:
        spec["mapped_group"] = task.mapped_group.group_id
    for name in ("is_setup", "is_teardown", "on_failure_fail_dagrun"):
        if getattr(task, name):
            spec[name] = True
    for name in ("inlets", "outlets"):
        if found := assets_in(getattr(task, name)):
            spec[name] = [one.spec() for one in found]
    if (task.mapped.operator_class if task.mapped else type(task))._wants_next_interval:
        spec["wants_next_interval"] = True
    if task.doc_md:
        spec["doc_md"] = _text(task.doc_md)
    return spec


def _expand(mapped: Mapped, place: dict[str, int]) -> Json:
    expand = mapped.spec(place)
    length = expand.get("Literal", {}).get("length", 0)
    if length > MAX_COPIES:
        raise AirflowException(
            f"it is mapped over {length} elements; at most {MAX_COPIES} are taken: "
            "let each copy work on several of them"
        )
    return expand


def _past(task: BaseOperator) -> Json:
    """Return what a task waits for of the run before."""
    if not task.depends_on_past:
        return {}
    said: Json = {"depends_on_past": True}
    if task.wait_for_downstream:
        said["wait_for_downstream"] = True
    if not task.ignore_first_depends_on_past:
        said["ignore_first_depends_on_past"] = False
    if task.wait_for_past_depends_before_skipping:
        said["wait_for_past_depends_before_skipping"] = True
    return said


def _check_rules(task: BaseOperator) -> None:
    """Refuse trigger rules that setups and `fail_fast` don't go with, as Airflow does."""
    if task.is_teardown or task.trigger_rule == "all_success":
        return
    if task.dag.fail_fast:
        raise AirflowException(
            f"its trigger rule is {task.trigger_rule.value}; in a DAG with fail_fast (fail_stop) "
            "every task must have all_success"
        )
    setups = [above.task_id for above in task.upstream_list if above.is_setup]
    if setups:
        raise AirflowException(
            f"Setup tasks must be followed with trigger rule ALL_SUCCESS: it comes right after `{setups[0]}` "
            f"and has {task.trigger_rule.value}"
        )


def _text(value: object) -> str:
    """Return text that UTF-8 can say."""
    return str(value).encode("utf-8", "replace").decode()


LONGEST_DELAY = timedelta(days=365_000)


def _micros(value: timedelta) -> int:
    if not isinstance(value, timedelta):
        raise AirflowException(
            f"a delay or timeout must be a timedelta, not {type(value).__name__}: {value!r}"
        )
    # `timedelta.max` is said for `never`, and more than the log can count.
    return min(plain(value), LONGEST_DELAY) // timedelta(microseconds=1)


def _count(name: str, value: Any, least: int = 0) -> int:
    if not isinstance(value, int) and hasattr(value, "__index__"):  # numpy's whole numbers
        value = value.__index__()
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= MAX_U32:
        raise AirflowException(f"{name} must be a whole number from {least} up, not {value!r}")
    return value
