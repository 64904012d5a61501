"""What tasks ask about other runs, as their supervisor hears it; and the operators that ask."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from conftest import Bench
from fake_supervisor import NOW

BEFORE = {
    "dag_id": "d",
    "run_id": "scheduled__1",
    "run_type": "scheduled",
    "state": "success",
    "logical_date": "2024-02-29T02:00:00Z",
    "data_interval_start": "2024-02-28T02:00:00Z",
    "data_interval_end": "2024-02-29T02:00:00Z",
    "run_after": "2024-02-29T02:00:00Z",
    "start_date": "2024-02-29T02:00:01Z",
    "end_date": "2024-02-29T02:00:02.5Z",
    "conf_json": '{"a": 1}',
}
TASK = {
    "dag_id": "d", "run_id": "scheduled__1", "task_id": "t", "map_index": -1, "try_number": 2, "state": "failed",
    "start_date": "2024-02-29T02:00:01Z", "end_date": None, "logical_date": "2024-02-29T02:00:00Z", "duration": None,
}  # fmt: skip

KEYS = """
def by_name(prev_data_interval_end_success=None, prev_start_date_success=None):
    print(prev_data_interval_end_success is None, prev_start_date_success)
def all_of_it(**context):
    print(context["prev_end_date_success"] is None, context["prev_end_date_success"])
def handed_on(**context):
    show(context)
def show(context):
    found = context["prev_execution_date_success"]
    print(bool(found), isinstance(found, datetime), found and found + timedelta(days=1))
def current():
    print(get_current_context()["prev_data_interval_start_success"] is None)
def unasked(ds, **context):
    print(ds)
with DAG("d", schedule=None):
    for function in (by_name, all_of_it, handed_on, current, unasked):
        PythonOperator(task_id=function.__name__, python_callable=function)
    BashOperator(task_id="template", bash_command=(
        "echo {{ prev_data_interval_start_success is none }} {{ prev_end_date_success | ds }}"))
with DAG("native", schedule=None, render_template_as_native_obj=True):
    PythonOperator(task_id="t", python_callable=print, op_args=["{{ prev_start_date_success }}"])
"""


@pytest.mark.parametrize("is_there", [False, True])
def test_dates_of_the_last_success_are_asked_for_when_they_are_looked_at(
    bench: Bench, is_there: bool
) -> None:
    bench.load(KEYS)
    if is_there:
        bench.supervisor.answers["GetPrevSuccessfulDagRun"] = BEFORE
    start, end = (
        ("2024-02-29 02:00:01+00:00", "2024-02-29 02:00:02.500000+00:00") if is_there else ("None",) * 2
    )
    none, some = str(not is_there), str(is_there)
    printed = {
        "by_name": f"{none} {start}",
        "all_of_it": f"{none} {end}",
        "handed_on": f"{some} {some} {'2024-03-01 02:00:00+00:00' if is_there else None}",
        "current": none,
        "unasked": "2024-03-01",
    }
    for task_id, wanted in printed.items():
        result = bench.run(task_id)
        assert result.stdout == f"{wanted}\n", (task_id, result.requests)
        assert len(result.of("GetPrevSuccessfulDagRun")) == (task_id != "unasked")
    assert bench.run("template").of("SetXCom")[0]["value"] == f"{none} {'2024-02-29' if is_there else None}"
    assert bench.run("t", dag_id="native").stdout == f"{start}\n"


def asked(bench: Bench, body: str, answers: dict[str, Any]) -> tuple[str, list[dict[str, Any]]]:
    """Run a task's body; return what it printed, and what it asked about others."""
    lines = "".join(f"    {line}\n" for line in body.strip().splitlines())
    bench.load(
        f"from airflow.models import DagRun, TaskInstance\nfrom airflow.utils.state import State\n"
        f"def f(ti, dag_run, logical_date):\n{lines}\n"
        "with DAG('d', schedule=None) as d:\n    PythonOperator(task_id='t', python_callable=f)\n"
    )
    bench.supervisor.answers.update(answers)
    result = bench.run("t")
    assert result.state == "success", result.requests
    return result.stdout, [request for request in result.requests if request["type"] in answers]


def test_runs_are_found_by_all_that_is_said_of_them(bench: Bench) -> None:
    body = """
found = DagRun.find(dag_id="d", execution_date=logical_date, state=State.SUCCESS)
print(found[0].run_id, found[0].state == "success", found[0].conf, found[0].logical_date.add(days=1), found[0].get_state())
print(DagRun.find(["a", "b"], external_trigger=True, no_backfills=True, execution_start_date=logical_date))
"""
    printed, (first, *others) = asked(bench, body, {"FindDagRuns": {"dag_runs": [BEFORE]}})
    assert printed == "scheduled__1 True {'a': 1} 2024-03-01 02:00:00+00:00 success\n[]\n"
    assert first == {"type": "FindDagRuns", "dag_id": "d", "logical_dates": [NOW], "states": ["success"]}
    assert [(other["dag_id"], other["from"]) for other in others] == [("a", NOW), ("b", NOW)]


def test_earlier_runs_and_tasks(bench: Bench) -> None:
    body = """
before = dag_run.get_previous_dagrun(state="success")
print(before.run_id, ti.get_previous_dagrun().data_interval_end)
print(ti.get_previous_ti(State.FAILED).state, ti.get_previous_start_date(), ti.previous_ti.try_number)
print([one.task_id for one in dag_run.get_task_instances(state=["failed"])], dag_run.get_task_instance("t").end_date)
"""
    answers = {
        "GetPreviousDagRun": {"dag_run": BEFORE},
        "GetPreviousTI": {"task_instance": TASK},
        "GetTaskInstances": {"task_instances": [TASK]},
    }
    printed, asked_for = asked(bench, body, answers)
    assert printed.splitlines() == [
        "scheduled__1 2024-02-29 02:00:00+00:00",
        "failed 2024-02-29 02:00:01+00:00 2",
        "['t'] None",
    ]
    assert asked_for[0] == {
        "type": "GetPreviousDagRun",
        "dag_id": "d",
        "logical_date": NOW,
        "state": "success",
    }
    assert asked_for[2]["map_index"] == -1
    assert asked_for[2]["state"] == "failed"
    assert asked_for[-1]["task_ids"] == ["t"]


def test_counts_and_states_of_other_dags(bench: Bench) -> None:
    body = """
print(ti.get_ti_count(dag_id="o", task_ids=["a"], logical_dates=[logical_date], states=["success"]))
print(TaskInstance.get_dr_count("o", states=["failed"]), ti.get_task_states(dag_id="o", run_ids=["r"]))
print(ti.get_dagrun_state(dag_id="o", run_id="r"))
"""
    answers = {
        "GetTICount": {"count": 3},
        "GetDRCount": {"count": 4},
        "GetTaskStates": {"task_states": {"r": {"a_0": "success"}}},
        "GetDagRunState": {"state": "running"},
    }
    printed, asked_for = asked(bench, body, answers)
    assert printed == "3\n4 {'r': {'a_0': 'success'}}\nrunning\n"
    assert asked_for[0] == {
        "type": "GetTICount", "dag_id": "o", "task_ids": ["a"], "logical_dates": [NOW], "states": ["success"],
    }  # fmt: skip


OTHERS = """
from airflow.sensors.external_task import ExternalTaskMarker, ExternalTaskSensor
from airflow.operators.trigger_dagrun import TriggerDagRunOperator
with DAG("d", schedule=None):
    ExternalTaskSensor(task_id="run", external_dag_id="o", execution_delta=timedelta(hours=1), timeout=0)
    ExternalTaskSensor(task_id="tasks", external_dag_id="{{ dag.dag_id }}x", external_task_ids=["a", "b"], timeout=0,
                       failed_states=["failed"], execution_date_fn=lambda date, ds: [date, date - timedelta(days=1)])
    ExternalTaskSensor(task_id="group", external_dag_id="o", external_task_group_id="g", timeout=0)
    ExternalTaskSensor(task_id="missing", external_dag_id="o", external_task_id="z", check_existence=True, timeout=0)
    ExternalTaskMarker(task_id="mark", external_dag_id="o", external_task_id="z")
    TriggerDagRunOperator(task_id="trigger", trigger_dag_id="o", conf={"at": "{{ ds }}"}, poke_interval=0,
                          wait_for_completion=True, trigger_run_id="r-{{ ds_nodash }}", execution_date="{{ ts }}")
    TriggerDagRunOperator(task_id="again", trigger_dag_id="o", skip_when_already_exists=True)
"""


def test_a_sensor_waits_for_runs_tasks_and_groups_of_another_dag(bench: Bench) -> None:
    bench.load(OTHERS)
    answers = bench.supervisor.answers
    answers["GetDRCount"] = {"count": 1}
    result = bench.run("run")
    assert result.state == "success"
    (request,) = result.of("GetDRCount")
    assert request["logical_dates"] == [NOW - dt.timedelta(hours=1)]
    assert request["states"] == ["success"]
    answers["GetTICount"] = lambda body: {"count": 4 if body["states"] == ["success"] else 0}
    assert bench.run("tasks").state == "success"
    answers["GetTICount"] = lambda body: {"count": 1}
    result = bench.run("tasks")
    assert result.error["message"].endswith("in DAG dx failed.")
    for states, wanted in (
        ({"a": "success", "b": None}, "failed"),
        ({"a": "success", "b": "success"}, "success"),
    ):
        answers["GetTaskStates"] = {"task_states": {"r": states}}
        assert bench.run("group").state == wanted
    answers["GetDagTasks"] = {"task_ids": ["a"]}
    assert bench.run("missing").error["message"] == "The external task z in DAG o does not exist."
    answers["GetDagTasks"] = "NOT_FOUND"
    assert bench.run("missing").error["message"] == "The external DAG o does not exist."
    assert bench.run("mark").state == "success"


def test_a_run_of_another_dag_is_triggered_and_waited_for(bench: Bench) -> None:
    bench.load(OTHERS)
    answers, states = bench.supervisor.answers, iter(["running", "success"])
    answers["TriggerDagRun"] = {"ok": True}
    answers["GetDagRunState"] = lambda body: {"state": next(states)}
    result = bench.run("trigger")
    assert result.state == "success"
    (request,) = result.of("TriggerDagRun")
    assert request == {
        "type": "TriggerDagRun", "dag_id": "o", "run_id": "r-20240301", "logical_date": NOW,
        "conf": {"at": "2024-03-01"}, "reset_dag_run": False,
    }  # fmt: skip
    assert result.of("SetXCom")[0]["value"] == "r-20240301"
    answers["GetDagRunState"] = {"state": "failed"}
    assert bench.run("trigger").error["message"] == "o failed with failed state failed"
    answers["TriggerDagRun"] = "DAGRUN_ALREADY_EXISTS"
    assert bench.run("again").state == "skipped"
    assert "can't be triggered" in bench.run("trigger").error["message"]


def test_values_of_other_runs_are_asked_for_as_those_of_the_own(bench: Bench) -> None:
    body = """
from airflow.models import XCom
from airflow.models.taskinstancekey import TaskInstanceKey
print(XCom.get_one(task_id="a", include_prior_dates=True), XCom.get_one(task_id="a", dag_id="o", run_id="r", key="k"))
print(XCom.get_value(ti_key=TaskInstanceKey("o", "a", "r", map_index=2), key="k"))
print(ti.xcom_pull(task_ids="a", dag_id="o", run_id="r", key="k"), ti.xcom_pull("a", include_prior_dates=True))
"""
    printed, asked_for = asked(bench, body, {"GetXCom": {"value": 1}})
    assert printed == "1 1\n1\n1 1\n"
    of = ("dag_id", "run_id", "task_id", "key", "map_index", "include_prior_dates")
    assert [tuple(one[name] for name in of) for one in asked_for] == [
        ("d", "manual__1", "a", "return_value", None, True),
        ("o", "r", "a", "k", None, False),
        ("o", "r", "a", "k", 2, False),
        ("o", "r", "a", "k", -1, False),
        ("d", "manual__1", "a", "return_value", -1, True),
    ]
