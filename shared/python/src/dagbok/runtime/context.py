"""The context: what a task's function gets as keywords and a template can name, in both eras.

Absent, because the supervisor can't be asked for it yet: 3.3's `task_state_store`.
Airflow's own keys, recorded, are in `tests/oracle`.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from dagbok.authoring.assets import assets_in
from dagbok.authoring.params import ParamsDict
from dagbok.authoring.timetables import DeltaDataIntervalTimetable
from dagbok.models.configuration import conf
from dagbok.models.connection import ConnectionAccessor
from dagbok.models.variable import VariableAccessor
from dagbok.runtime.asset_events import InletEvents, OutletEvents, TriggeringEvents
from dagbok.runtime.later import Context, Later
from dagbok.templating import macros

if TYPE_CHECKING:
    from dagbok.authoring.operator import BaseOperator
    from dagbok.datetimes import DateTime
    from dagbok.runtime.dag_run import DagRun
    from dagbok.runtime.task_instance import TaskInstance

_DAY = dt.timedelta(days=1)
__all__ = ["Context", "environment", "make_context"]


class _Variables:
    """`{{ var.value.x }}` and `{{ var.json.x }}`."""

    value = VariableAccessor(deserialize_json=False)
    json = VariableAccessor(deserialize_json=True)


def make_context(task: BaseOperator, ti: TaskInstance, run: DagRun) -> Context:
    """Return the context of a try. Names that have no value in this run are absent."""
    context = Context({
        "dag": task.dag,
        "dag_run": run,
        "inlets": task.inlets,
        "inlet_events": InletEvents(assets_in(task.inlets)),
        "map_index_template": task.map_index_template,
        "outlets": task.outlets,
        "outlet_events": OutletEvents(assets_in(task.outlets)),
        "macros": macros,
        "params": _params(task, run),
        **_last_success(task),
        "run_id": run.run_id,
        "task": task,
        "task_instance": ti,
        "ti": ti,
        "task_instance_key_str": f"{task.dag_id}__{task.task_id}__{_date_key(run)}",
        "var": _Variables,
        "conn": ConnectionAccessor(),
    })  # fmt: skip
    if run.logical_date is not None:
        context.update(_dated(run.logical_date))
    if run.data_interval_start is not None:
        context["data_interval_start"] = run.data_interval_start
        context["data_interval_end"] = run.data_interval_end
    if task.dag.era == 2:
        context.update(_older_names(task, run))
    else:
        context["partition_key"] = run.partition_key
        context["partition_date"] = run.partition_date
        context["task_reschedule_count"] = ti.task_reschedule_count
        context["triggering_asset_events"] = TriggeringEvents(run.consumed_asset_events, older=False)
    return context


def _last_success(task: BaseOperator) -> dict[str, Later]:
    """Return dates of the newest earlier run that succeeded; None each where none did."""
    answers: list[dict[str, Any]] = []

    def date(name: str) -> Later:
        def look() -> Any:
            from dagbok.runtime.past import ask, instant

            if not answers:
                answers.append(ask("GetPrevSuccessfulDagRun"))
            return instant(answers[0].get(name))

        return Later(look)

    names = {
        "prev_data_interval_start_success": date("data_interval_start"),
        "prev_data_interval_end_success": date("data_interval_end"),
        "prev_start_date_success": date("start_date"),
        "prev_end_date_success": date("end_date"),
    }
    if task.dag.era == 2:
        names["prev_execution_date_success"] = date("logical_date")
    return names


def _params(task: BaseOperator, run: DagRun) -> dict[str, Any]:
    if not (run.conf or task.task_params or task.dag.params):
        return {}
    params: ParamsDict = task.params
    return params.overlaid(run.conf).validate()


def _date_key(run: DagRun) -> str:
    return _day(run.logical_date).replace("-", "") if run.logical_date is not None else run.run_id


def _day(date: dt.datetime) -> str:
    return date.isoformat()[:10]


def _dated(date: DateTime) -> dict[str, Any]:
    # No strftime here: it costs a fresh process dozens of page faults.
    ds, ts = _day(date), date.isoformat()
    bare = ts.replace("-", "").replace(":", "")
    second = date.replace(microsecond=0, tzinfo=None).isoformat()
    return {
        "logical_date": date,
        "ds": ds,
        "ds_nodash": ds.replace("-", ""),
        "ts": ts,
        "ts_nodash": second.replace("-", "").replace(":", ""),
        "ts_nodash_with_tz": bare,
    }


def _older_names(task: BaseOperator, run: DagRun) -> dict[str, Any]:
    """Names that Airflow 3 dropped and files of the older era expect."""
    names: dict[str, Any] = {
        "conf": conf,
        "expanded_ti_count": None,
        "test_mode": False,
        "triggering_dataset_events": TriggeringEvents(run.consumed_asset_events, older=True),
    }
    date = run.logical_date
    if date is None:
        return names
    names["execution_date"] = date
    names["yesterday_ds"] = _day(date - _DAY)
    names["tomorrow_ds"] = _day(date + _DAY)
    following = _next(run)
    before = _previous(task, run)
    if following is not None:
        names["next_execution_date"] = following
        names["next_ds"] = _day(following)
    if before is not None:
        names["prev_execution_date"] = before
        names["prev_ds"] = _day(before)
    for name in ("yesterday_ds", "tomorrow_ds", "next_ds", "prev_ds"):
        if name in names:
            names[f"{name}_nodash"] = names[name].replace("-", "")
    return names


def _next(run: DagRun) -> DateTime | None:
    """Return the next run's date; of a run that somebody asked for, its own, as in Airflow 2."""
    return run.logical_date if run.external_trigger else run.data_interval_end


def _previous(task: BaseOperator, run: DagRun) -> DateTime | None:
    """Return the previous run's date, where it follows from the schedule alone; else the names are absent."""
    if run.external_trigger:
        return run.logical_date
    date, timetable = run.logical_date, task.dag.timetable
    if date is None:
        return None
    if isinstance(timetable, DeltaDataIntervalTimetable):
        return date.subtract(months=timetable.months) - timetable.every
    period = _even_period(getattr(timetable, "expression", ""))
    if period is None:
        return None
    if period < _DAY:
        return date - period
    # The same time on the clock of the schedule's zone, whatever its offset was then.
    zone = task.dag.timezone
    wall = date.astimezone(zone).replace(tzinfo=None) - period
    return type(date).instance(wall.replace(tzinfo=zone).astimezone(dt.UTC))


def _even_period(expression: str) -> dt.timedelta | None:
    """Return the period of a cron expression that comes every hour, day or week at the same time."""
    fields = expression.split()
    if len(fields) != 5 or not fields[0].isdigit():
        return None
    hour, *days = fields[1:]
    if [hour, *days] == ["*"] * 4:
        return dt.timedelta(hours=1)
    if not hour.isdigit() or days[:2] != ["*", "*"]:
        return None
    if days[2] == "*":
        return _DAY
    return dt.timedelta(days=7) if days[2].isdigit() else None


def environment(context: Mapping[str, Any]) -> dict[str, str]:
    """Return the AIRFLOW_CTX_… variables of a try."""
    task, ti, run = context["task"], context["ti"], context["dag_run"]
    names = {
        "AIRFLOW_CTX_DAG_OWNER": task.owner,
        "AIRFLOW_CTX_DAG_ID": ti.dag_id,
        "AIRFLOW_CTX_TASK_ID": ti.task_id,
        "AIRFLOW_CTX_DAG_RUN_ID": ti.run_id,
        "AIRFLOW_CTX_TRY_NUMBER": str(ti.try_number),
    }
    if run.logical_date is not None:
        older = "AIRFLOW_CTX_EXECUTION_DATE" if task.dag.era == 2 else "AIRFLOW_CTX_LOGICAL_DATE"
        names[older] = run.logical_date.isoformat()
    return names
