"""Operators that ask people: what they say of it, and how they go on with an answer."""

from __future__ import annotations

import json
from typing import Any

import pytest

from conftest import Bench, Folder

ASKS = """
from airflow.sdk import DAG, Param, task
from airflow.providers.standard.exceptions import HITLRejectException
from airflow.providers.standard.operators.hitl import (
    ApprovalOperator, HITLBranchOperator, HITLEntryOperator, HITLOperator,
)

with DAG("d", schedule=None):
    HITLOperator(
        task_id="choose", subject="Which of {{ dag.dag_id }}?", options=["a", "b"], defaults="a", multiple=True,
        body="*more*", params={"n": Param(3, type="integer")}, response_timeout=timedelta(minutes=5),
        assigned_users=[{"id": "1", "name": "ann"}],
    )
    ApprovalOperator(task_id="approve", subject="ok?") >> EmptyOperator(task_id="ship")
    ApprovalOperator(task_id="strict", subject="ok?", fail_on_reject=True)
    branch = HITLBranchOperator(task_id="branch", subject="?", options=["left", "r"], options_mapping={"r": "right"})
    branch >> [EmptyOperator(task_id="left"), EmptyOperator(task_id="right")]
    HITLEntryOperator(task_id="entry", subject="fill in", params={"s": "x"})
"""


@pytest.fixture
def loaded(bench: Bench) -> Bench:
    bench.load(ASKS)
    assert bench.ready["type"] == "Ready", bench.ready
    return bench


def resumed(chosen: list[str], fields: dict[str, Any] | None = None) -> dict[str, Any]:
    """An answer as the scheduler hands it on."""
    at = {
        "__classname__": "datetime.datetime",
        "__version__": 1,
        "__data__": ["2024-01-01T00:00:00+00:00", "UTC"],
    }
    event = {
        "chosen_options": chosen, "params_input": fields or {}, "responded_at": at, "timedout": False,
        "responded_by_user": {"id": "1", "name": "ann"},
    }  # fmt: skip
    return {
        "next_method": "execute_complete", "next_kwargs": None, "event": json.dumps(event),
        "failure": None, "traceback": "",
    }  # fmt: skip


def test_what_is_asked_goes_with_the_word_that_it_waits(loaded: Bench) -> None:
    (told,) = loaded.run("choose").of("DeferTask")
    asked = told["ask"]
    assert json.loads(asked.pop("params"))["n"]["value"] == 3
    assert asked == {
        "subject": "Which of d?",
        "body": "*more*",
        "options": ["a", "b"],
        "defaults": ["a"],
        "multiple": True,
        "assigned_users": [{"id": "1", "name": "ann"}],
    }
    assert told["classpath"] == "airflow.providers.standard.triggers.hitl.HITLTrigger"
    assert told["timeout_at"] is not None
    (entry,) = loaded.run("entry").of("DeferTask")
    assert (entry["ask"]["options"], entry["ask"]["defaults"]) == (["OK"], ["OK"])
    assert entry["timeout_at"] is None


def test_an_answer_is_what_the_task_returns(loaded: Bench) -> None:
    again = loaded.run("choose", resume=resumed(["b", "a"], {"n": 4}))
    assert again.state == "success", again.logs
    value = next(one["value"] for one in again.of("SetXCom") if one["key"] == "return_value")
    assert (value["chosen_options"], value["params_input"]) == (["b", "a"], {"n": 4})
    assert value["responded_by_user"] == {"id": "1", "name": "ann"}
    odd = loaded.run("choose", resume=resumed(["b"], {"n": "four"}))
    assert odd.of("TaskError")[0]["exception"] == "ParamValidationError"


def test_a_no_skips_or_fails_and_a_choice_is_followed(loaded: Bench) -> None:
    assert loaded.run("approve", resume=resumed(["Approve"])).of("SkipDownstreamTasks") == []
    (skips,) = loaded.run("approve", resume=resumed(["Reject"])).of("SkipDownstreamTasks")
    assert skips["tasks"] == ["ship"]
    failed = loaded.run("strict", resume=resumed(["Reject"]))
    assert failed.of("TaskError")[0]["exception"] == "HITLRejectException"
    (skips,) = loaded.run("branch", resume=resumed(["r"])).of("SkipDownstreamTasks")
    assert skips["tasks"] == ["left"]


def test_nobody_in_time_fails_as_there(loaded: Bench) -> None:
    event = json.dumps({"error": "too late", "error_type": "timeout"})
    late = loaded.run("approve", resume={**resumed([]), "event": event})
    assert late.of("TaskError")[0]["exception"] == "HITLTimeoutError"


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ("options=[]", '"options" cannot be empty'),
        ("options=['a'], defaults='b'", "should be a subset of options"),
        ("options=['a', 'b'], defaults=['a', 'b']", "More than one defaults given"),
        ("options=['a'], params={'_options': 1}", '"_options" is not allowed'),
    ],
)
def test_a_question_that_is_none_is_its_files_error(folder: Folder, arguments: str, why: str) -> None:
    error = folder.error(
        "from airflow.providers.standard.operators.hitl import HITLOperator\n"
        f"with DAG('d'):\n    HITLOperator(task_id='t', subject='?', {arguments})\n"
    )
    assert why in error["message"], error


def test_the_type_of_a_respondent_is_where_files_import_it(folder: Folder) -> None:
    folder.spec(
        "from airflow.providers.standard.operators.hitl import ApprovalOperator\n"
        "from airflow.providers.standard.triggers.hitl import HITLTriggerEventSuccessPayload\n"
        "from airflow.sdk.execution_time.hitl import HITLUser\n"
        "with DAG('d', schedule=None):\n"
        "    ApprovalOperator(task_id='t', subject='?', assigned_users=[HITLUser(id='1', name='ann')])\n"
    )


def test_options_that_are_no_texts_are_told_in_the_file(folder: Folder) -> None:
    error = folder.error(
        "from airflow.providers.standard.operators.hitl import HITLOperator\n"
        "with DAG('d', schedule=None):\n"
        "    HITLOperator(task_id='t', subject='?', options=[1, 2])\n"
    )
    assert "must be texts" in error["message"]
