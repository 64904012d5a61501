"""What every try of Airflow's task runner begins with, and how an error is told."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable
from typing import Any

from dagbok.exact import part, startup
from dagbok.exact.comms import NOT_HERE, Comms
from dagbok.runtime.supervisor import Supervisor
from dagbok.tracebacks import report

Json = dict[str, Any]
RUNNER = "airflow.sdk.execution_time.task_runner"


def begin(runner: Any, details: Json, folder: str, find_dag: Callable[[str], Any]) -> tuple[Any, Any, Any]:
    """Return Airflow's task instance, context and log, of a DAG that is loaded already."""
    message = startup.details(details, folder)

    def parse(what: Any, log: Any) -> Any:
        return _instance(runner, what, log, folder, find_dag)

    runner.parse = parse
    _begin_figures(runner)
    if inspect.signature(runner.startup).parameters:
        ti, context, log = runner.startup(message)
    else:  # 3.1 reads it from the line itself
        runner.SUPERVISOR_COMMS._get_response = lambda: message
        ti, context, log = runner.startup()
    _check_user(ti)
    return ti, context, log


def _begin_figures(runner: Any) -> None:
    tools = getattr(runner, "stats_utils", None)
    if tools is None:
        return
    if hasattr(runner, "Stats"):  # 3.2: a class that is begun itself
        runner.Stats.initialize(factory=tools.get_stats_factory(runner.Stats))
    else:
        legacy = runner.conf.getboolean("metrics", "legacy_names_on")
        runner.stats.initialize(factory=tools.get_stats_factory(), export_legacy_names=legacy)


def _check_user(ti: Any) -> None:
    user = getattr(ti.task, "run_as_user", None)
    if user and os.environ.get("_AIRFLOW__REEXECUTED_PROCESS") == "1":
        raise RuntimeError(f"run_as_user={user!r}: {NOT_HERE['ResendLoggingFD']} is not had in exact mode")


def _instance(runner: Any, what: Any, log: Any, folder: str, find_dag: Callable[[str], Any]) -> Any:
    """Return the task instance that Airflow's own `parse` makes, without reading the file again."""
    dag = find_dag(what.ti.dag_id)
    if what.ti.task_id not in dag.task_dict:
        raise LookupError(f"DAG `{dag.dag_id}` in {what.dag_rel_path} has no task `{what.ti.task_id}`")
    task = dag.task_dict[what.ti.task_id]
    user = getattr(task, "run_as_user", None)
    if user:
        raise RuntimeError(
            f"task `{task.task_id}` has run_as_user={user!r}: exact mode runs each try as the executor's own "
            "user; take it away, or run an executor as that user for a queue of its own"
        )
    register = getattr(runner, "_register_deserialization_allowed_classes", None)
    if register is not None:
        register(dag, log)
    fields = {
        **what.ti.model_dump(exclude_unset=True),
        "task": task,
        "bundle_instance": _bundle(folder),
        "_ti_context_from_server": what.ti_context,
        "max_tries": what.ti_context.max_tries,
        "start_date": what.start_date,
        "state": runner.TaskInstanceState.RUNNING,
    }
    if hasattr(what, "sentry_integration"):
        fields["sentry_integration"] = what.sentry_integration
    _upstream_copies(runner.SUPERVISOR_COMMS, what, task)
    return runner.RuntimeTaskInstance.model_construct(**fields)


def _upstream_copies(comms: Comms, what: Any, task: Any) -> None:
    """Say which copies of a mapped group are read: 3.1 is told, later versions work it out."""
    if "upstream_map_indexes" not in type(what.ti_context).model_fields:
        return
    own = task.get_closest_mapped_task_group()
    found: Json = {}
    for above in task.upstream_list:
        group = above.get_closest_mapped_task_group()
        if group is None:
            found[above.task_id] = None
        elif group is own:
            found[above.task_id] = what.ti.map_index
        else:
            found[above.task_id] = list(range(comms.copies(what.ti.dag_id, what.ti.run_id, above.task_id)))
    what.ti_context.upstream_map_indexes = found


def _bundle(folder: str) -> Any:
    bundle = part("airflow.dag_processing.bundles.local").LocalDagBundle(name="dags", path=folder)
    bundle.version = None
    return bundle


def tell_error(
    supervisor: Supervisor, error: BaseException, kind: str, folder: str, more: Json | None = None
) -> None:
    """Say what was raised, and where."""
    seen = report(error, folder)
    message = seen.message
    if isinstance(error, SystemExit):
        message = f"the task called sys.exit({error.code!r})"
    supervisor.tell(
        {
            "type": "TaskError",
            "kind": kind,
            "exception": seen.exception,
            "message": message,
            "traceback": seen.traceback,
            "file": seen.file,
            "line": seen.line,
            **(more or {}),
        }
    )
