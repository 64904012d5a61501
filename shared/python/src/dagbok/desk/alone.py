"""One task by itself: no scheduler, no log, no state. What others would have handed on is not there."""

from __future__ import annotations

import datetime as dt
import os
import sys
import tempfile
from typing import Any

from dagbok.authoring.dag import DAG
from dagbok.authoring.operator import BaseOperator
from dagbok.datetimes import DateTime
from dagbok.exceptions import (
    AirflowException,
    AirflowRescheduleException,
    AirflowSkipException,
    DownstreamTasksSkipped,
    SupervisorError,
    TaskDeferred,
)
from dagbok.loading import load_file
from dagbok.runtime import current
from dagbok.runtime.context import environment, make_context
from dagbok.runtime.dag_run import DagRun
from dagbok.runtime.rendered import presentable
from dagbok.runtime.task_instance import TaskInstance
from dagbok.zones import parse_timezone

Json = dict[str, Any]


class NobodyElse:
    """Answers what a task asks its supervisor, where there is none: given values, and no other runs.

    `values` are what others have handed on: by task, a copy's index behind it in brackets, and key.
    """

    def __init__(self, values: dict[str, Json] | None = None) -> None:
        self.values = values or {}
        self.pushed: dict[str, Any] = {}
        self.skips: list[str] = []
        self._checkpoint: tempfile.TemporaryDirectory[str] | None = None

    def tell(self, body: Json) -> None:
        """Take what a task says."""

    def ask(self, body: Json) -> Any:
        """Keep what the task hands on; give back that, and nothing else."""
        kind = body.get("type")
        if kind == "SetXCom":
            self.pushed[body["key"]] = body["value"]
            return {}
        if kind == "SkipDownstreamTasks":
            self.skips += body["tasks"]
            return {}
        if kind in {"MaskSecret", "DeleteXCom", "SetProgress"}:
            return {}
        if kind in {"GetCheckpoint", "SaveCheckpoint", "SetCheckpointValue"}:
            return self._kept()
        if kind in {"GetXCom", "GetXComCount", "GetXComSequenceSlice"}:
            return self._value(kind, body)
        raise SupervisorError("NOT_FOUND", {"message": f"a task that runs alone can't ask for {kind}"})

    def _kept(self) -> Json:
        """Answer about a checkpoint as for a first try: an empty directory, which goes with this process."""
        if self._checkpoint is None:
            self._checkpoint = tempfile.TemporaryDirectory(prefix="dagbok-checkpoint-")
        return {"path": self._checkpoint.name, "values": {}, "kept": True}

    def _value(self, kind: str, body: Json) -> Json:
        task_id, key = body["task_id"], body["key"]
        copies = (self.values.get(f"{task_id}[{index}]", {}) for index in range(len(self.values)))
        of_copies = [pushed[key] for pushed in copies if key in pushed]
        if kind == "GetXComCount":
            return {"len": len(of_copies)}
        if kind == "GetXComSequenceSlice":
            return {"root": of_copies[body["start"] : body["stop"]]}
        index = body.get("map_index")
        name = task_id if index in {None, -1} else f"{task_id}[{index}]"
        if key not in self.values.get(name, {}):
            raise SupervisorError("XCOM_NOT_FOUND")
        return {"value": self.values[name][key]}


def find(folder: str, file: str, dag_id: str | None, task_id: str) -> BaseOperator:
    """Import a file, and find the task."""
    loaded = load_file(folder, file)
    dags: list[DAG] = [dag for dag in loaded.dags if dag_id in {None, dag.dag_id}]
    having = [dag for dag in dags if dag.has_task(task_id)]
    if not having:
        known = ", ".join(f"`{task.task_id}`" for dag in dags for task in dag.tasks[:20])
        raise AirflowException(f"{file} has no task `{task_id}`; there are {known or 'no DAGs'}")
    if len(having) > 1:
        raise AirflowException(
            f"{file} has `{task_id}` in {', '.join(dag.dag_id for dag in having)}; say which"
        )
    return having[0].get_task(task_id)


def _interval(dag: DAG, date: dt.datetime) -> tuple[dt.datetime, dt.datetime]:
    """Return the data interval of a manual run; an empty one of a cron that is neither daily nor hourly."""
    timetable: Any = dag.timetable
    kind = type(timetable).__name__
    if kind == "DeltaDataIntervalTimetable" and not timetable.by_steps and not timetable.months:
        return date - timetable.every, date
    if kind == "CronDataIntervalTimetable":
        minute, hour, *rest = timetable.expression.split()
        if rest == ["*", "*", "*"] and minute.isdigit() and (hour.isdigit() or hour == "*"):
            period = dt.timedelta(hours=1) if hour == "*" else dt.timedelta(days=1)
            here = date.astimezone(parse_timezone(timetable.timezone_name or "UTC"))
            here_at = here.replace(minute=int(minute), second=0, microsecond=0)
            end = here_at if hour == "*" else here_at.replace(hour=int(hour))
            end = end if end <= here else end - period
            return (end - period).astimezone(dt.UTC), end.astimezone(dt.UTC)
    try:
        interval = timetable.infer_manual_data_interval(run_after=DateTime.instance(date))
    except NotImplementedError:
        return date, date
    return interval.start, interval.end


def context_of(task: BaseOperator, date: dt.datetime, conf: Json | None, supervisor: Any) -> Any:
    """Return the context of a first try in a run of that logical date, made by hand."""
    dag = task.dag
    start, end = _interval(dag, date)
    run = {"dag_id": dag.dag_id, "run_id": f"manual__{date.isoformat()}", "run_type": "manual",
           "state": "running", "logical_date": date, "data_interval_start": start, "data_interval_end": end,
           "run_after": date, "start_date": date, "end_date": None, "conf": conf}  # fmt: skip
    own = {"id": "0", "dag_id": dag.dag_id, "run_id": run["run_id"], "task_id": task.task_id, "map_index": -1}
    details = {
        "ti": {**own, "try_number": 1, "hostname": os.uname().nodename},
        "dag_rel_path": dag.fileloc,
        "start_date": dt.datetime.now(dt.UTC),
        "ti_context": {"dag_run": run, "max_tries": task.retries, "task_reschedule_count": 0},
    }
    dag_run = DagRun(run)
    ti = TaskInstance(details, task, dag_run, supervisor)
    context = make_context(task, ti, dag_run)
    ti._context = context
    return context


def render(
    task: BaseOperator, date: dt.datetime, conf: Json | None, values: dict[str, Json] | None = None
) -> Json:
    """Render a task's templates as a run of that date would, with these values of other tasks."""
    supervisor: Any = NobodyElse(values)
    current.set_supervisor(supervisor)
    context = context_of(task, date, conf, supervisor)
    os.environ.update(environment(context))
    current.set_context(context)
    task._graph_is_done()
    task.render_template_fields(context)
    return {name: presentable(getattr(task, name, None)) for name in task.template_fields}


def run(task: BaseOperator, date: dt.datetime, conf: Json | None) -> Json:
    """Run a task in this process, so that a debugger stops in it; return its state and what it handed on."""
    supervisor: Any = NobodyElse()
    current.set_supervisor(supervisor)
    context = context_of(task, date, conf, supervisor)
    os.environ.update(environment(context))
    current.set_context(context)
    task._graph_is_done()
    task.render_template_fields(context)
    told: Json = {"state": "success"}
    result = None
    try:
        task.pre_execute(context)
        result = task.execute(context)
        task.post_execute(context, result)
    except AirflowSkipException as skip:
        told = {"state": "skipped", "message": str(skip)}
    except DownstreamTasksSkipped as decided:
        context["ti"].skip_downstream(decided.tasks)
    except AirflowRescheduleException as later:
        told = {"state": "up_for_reschedule", "message": f"it looks again at {later.instant().isoformat()}"}
    except TaskDeferred as deferred:
        trigger = type(deferred.trigger).__name__
        told = {"state": "deferred", "message": f"it waits for {trigger}, which nobody runs here"}
    if supervisor.skips:
        told["skips"] = supervisor.skips
    sys.stdout.flush()
    pushed = dict(supervisor.pushed)
    if result is not None and task.do_xcom_push:
        pushed["return_value"] = result
    return {**told, "xcoms": {key: presentable(value) for key, value in pushed.items()}}
