"""Runs one try in this process, from the first frame to the terminal message."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import TYPE_CHECKING, Any

from dagbok.authoring.dag import DAG
from dagbok.exceptions import (
    AirflowException,
    AirflowTaskTerminated,
    AirflowTaskTimeout,
    DownstreamTasksSkipped,
    TaskDeferred,
)
from dagbok.masking import masked, masker
from dagbok.runtime import callbacks, current, deferring, driving, interrupts, marked, parting, results
from dagbok.runtime.asset_events import told
from dagbok.runtime.callbacks import call_back, call_each
from dagbok.runtime.context import Context, environment, make_context
from dagbok.runtime.dag_run import DagRun
from dagbok.runtime.mapped import become_copy, length_to_map, tell_name
from dagbok.runtime.rendered import presentable
from dagbok.runtime.results import Outcome
from dagbok.runtime.supervisor import Supervisor
from dagbok.runtime.task_instance import TaskInstance

if TYPE_CHECKING:
    from dagbok.authoring.operator import BaseOperator

Json = dict[str, Any]
FindDag = Callable[[str], DAG]
# Airflow's, where the executor says none.
MAX_MAP_LENGTH = 1024


class DagMissing(AirflowException):
    """The file does not have the DAG or task that the try is of."""


def run_try(supervisor: Supervisor, find_dag: FindDag, leave: Callable[[], object] = parting.leave) -> None:
    """Run the try that the supervisor names, and tell it the result; `leave` where nothing is left to run."""
    details = supervisor.startup()
    folder = details.get("bundle_info", {}).get("path")
    should_retry = bool(details["ti_context"].get("should_retry"))
    current.set_supervisor(supervisor)
    # Answered before anything can print it: the executor masks what goes past Python, too.
    masker.tell = lambda forms: supervisor.ask({"type": "MaskSecret", "forms": forms})
    if details.get("callback") or details.get("dag_callback"):
        _call_apart(details, supervisor, find_dag)
        return
    if marked.is_marked(details):
        results.tell(supervisor, Outcome("success"), folder)
        return
    context: Context | None = None
    kind: str | None = "import_error"
    lineage = _lineage(details)
    try:
        task = _find_task(details, find_dag)
        kind = None
        context = _prepare(details, task, supervisor)
        become_copy(context)
        outcome = _run(details, context, supervisor)
    except BaseException as error:
        if kind is None and isinstance(error, TaskDeferred):
            error = deferring.named(error, details, context)
        outcome = results.outcome_of(error, should_retry, kind)
        if context is not None:
            outcome = results.by_policy(outcome, context["task"], context)
    interrupts.shut()
    if context is not None:
        context["ti"].end_progress()
    results.write_to_log(outcome)
    is_all = outcome.state == "success" and lineage is None and not callbacks.follow(context, outcome)
    used = parting.used() if is_all else None
    results.tell(supervisor, outcome, folder, used)
    if used is not None:
        leave()
    if context is not None and outcome.state not in {"up_for_reschedule", "deferred"}:
        call_back(context, outcome)
        if lineage is not None:
            lineage.tell(context, outcome, supervisor)


def _lineage(details: Json) -> ModuleType | None:
    """Return the module that asks for lineage, where somebody wants it; who does not never reads it."""
    if not details.get("lineage"):
        return None
    from dagbok.runtime import lineage

    lineage.begin()
    return lineage


def _call_apart(details: Json, supervisor: Supervisor, find_dag: FindDag) -> None:
    """Call a callback in a process of its own, in which no task runs."""

    def prepare() -> Context:
        return _prepare(details, _find_task(details, find_dag), supervisor)

    if details.get("dag_callback"):
        callbacks.call_dag_back(details, supervisor, prepare)
    else:
        callbacks.only_call_back(details["callback"], supervisor, prepare)


def _find_task(details: Json, find_dag: FindDag) -> BaseOperator:
    names = details["ti"]
    dag = find_dag(names["dag_id"])
    if not dag.has_task(names["task_id"]):
        raise DagMissing(
            f"DAG `{dag.dag_id}` in {details.get('dag_rel_path')} has no task `{names['task_id']}`"
        )
    return dag.get_task(names["task_id"])


def _prepare(details: Json, task: BaseOperator, supervisor: Supervisor) -> Context:
    run = DagRun(details["ti_context"]["dag_run"])
    ti = TaskInstance(details, task, run, supervisor)
    context = make_context(task, ti, run)
    ti._context = context
    for name, value in environment(context).items():
        os.environ[name] = value
    current.set_context(context)
    return context


def _run(details: Json, context: Context, supervisor: Supervisor) -> Outcome:
    task: BaseOperator = context["task"]
    task._graph_is_done()
    task.render_template_fields(context)
    fields = _rendered_fields(task)
    if fields:
        supervisor.tell({"type": "SetRenderedFields", "rendered_fields": fields})
    call_each("on_execute_callback", task.on_execute_callback, context)
    tell_name(context, supervisor, strict=False)
    driving.call(task.pre_execute, context)
    try:
        result = _execute(details, task, context)
    except DownstreamTasksSkipped as decided:
        context["ti"].skip_downstream(decided.tasks)
        return Outcome("success", outlets=tuple(told(task, context["outlet_events"])))
    except Exception:
        tell_name(context, supervisor, strict=False)
        raise
    driving.call(task.post_execute, context, result)
    tell_name(context, supervisor, strict=True)
    _push(task, context, result, details.get("max_map_length") or MAX_MAP_LENGTH)
    return Outcome("success", outlets=tuple(told(task, context["outlet_events"])))


def _execute(details: Json, task: BaseOperator, context: Context) -> Any:
    micros = details.get("execution_timeout_us")
    call, *with_it = deferring.what_to_call(task, details, context)
    try:
        if micros is None:
            return driving.call(call, *with_it)
        interrupts.arm_timeout(deferring.time_left(details, micros / 1_000_000))
        try:
            return driving.call(call, *with_it)
        finally:
            interrupts.disarm_timeout()
    except (AirflowTaskTimeout, AirflowTaskTerminated):
        interrupts.shut()
        task.on_kill()  # it has until the executor's SIGKILL
        raise
    except SystemExit as end:
        if task.dag.era == 2 and end.code in {None, 0}:
            return None  # an end like any other, since Airflow 2.9; in Airflow 3 a failure
        raise


def _push(task: BaseOperator, context: Context, result: Any, max_map_length: int) -> None:
    mapped_length = length_to_map(task, result if task.do_xcom_push else None, max_map_length)
    if result is None or not task.do_xcom_push:
        return
    ti: TaskInstance = context["ti"]
    if task.multiple_outputs:
        if not isinstance(result, Mapping):
            raise TypeError(
                f"task `{task.task_id}` has multiple outputs, so it must return a dict, "
                f"not {type(result).__name__}"
            )
        for key, value in result.items():
            if not isinstance(key, str):
                raise TypeError(
                    f"with multiple outputs the keys of the returned dict must be text, not {key!r}"
                )
            ti.xcom_push(key, value)
    ti.push_result(result, mapped_length)


def _rendered_fields(task: BaseOperator) -> Json:
    fields = {name: getattr(task, name, None) for name in task.template_fields}
    return {name: masked(presentable(value), name) for name, value in fields.items() if value}
