"""Setups and teardowns: the graph that each way of writing them makes, as real Airflow 2.11 and 3.3 make it."""

from __future__ import annotations

from typing import Any

import pytest

from conftest import Folder

MARKS = ("is_setup", "is_teardown", "on_failure_fail_dagrun")
HEAD = {
    2: "from airflow.decorators import setup, teardown\n",
    3: "from airflow.sdk import DAG, TaskGroup, setup, task, teardown\n",
}
BODY = """
Op = lambda name, **how: EmptyOperator(task_id=name, **how)
{before}
with DAG('d', schedule=None, start_date=datetime(2024, 1, 1)) as d:
{body}
"""

DECORATED = """
@setup
def s(): return 1
@teardown(on_failure_fail_dagrun=True)
def t(x): pass
@task
def w(x): pass
"""

# What stands in the file, and the edges out of each task.
WAYS: dict[str, tuple[str, dict[str, str]]] = {
    "by hand": (
        "s, t = Op('s'), Op('t'); w1, w2 = Op('w1'), Op('w2')\ns >> w1 >> w2 >> t.as_teardown(setups=s)",
        {"s": "t w1", "w1": "w2", "w2": "t", "t": ""},
    ),
    "with both": (
        "s, t = Op('s').as_setup(), Op('t').as_teardown()\nwith s >> t:\n    Op('w1') >> Op('w2')\n    Op('w3')",
        {"s": "t w1 w3", "w1": "w2", "w2": "t", "w3": "t", "t": ""},
    ),
    "with the setup": (
        "s, t = Op('s').as_setup(), Op('t').as_teardown()\ns >> t\nwith s:\n    Op('w1') >> Op('w2')",
        {"s": "t w1", "w1": "w2", "w2": "t", "t": ""},
    ),
    "with the teardown": (
        "s, t = Op('s'), Op('t')\nwith t.as_teardown(setups=s):\n    Op('w1') >> Op('w2')",
        {"s": "t w1", "w1": "w2", "w2": "t", "t": ""},
    ),
    "one in another": (
        "s, t = Op('s').as_setup(), Op('t').as_teardown()\n"
        "s2, t2 = Op('s2').as_setup(), Op('t2').as_teardown()\n"
        "with s >> t:\n    Op('w0')\n    with s2 >> t2:\n        Op('w1') >> Op('w2')\n    Op('w3')",
        {"s": "s2 t w0", "s2": "t2 w1", "w0": "t", "w1": "w2", "w2": "t2", "t2": "t", "w3": "", "t": ""},
    ),
    "with two setups": (
        "s1, s2, t = Op('s1').as_setup(), Op('s2').as_setup(), Op('t').as_teardown()\n"
        "with [s1, s2] >> t:\n    Op('w1') >> Op('w2')",
        {"s1": "t w1", "s2": "t w1", "w1": "w2", "w2": "t", "t": ""},
    ),
    "a task from before": (
        "w = Op('w')\ns, t = Op('s').as_setup(), Op('t').as_teardown()\n"
        "with s >> t as scope:\n    scope.add_task(w)",
        {"s": "t w", "w": "t", "t": ""},
    ),
    "an edge out of a group passes teardowns over": (
        "with TaskGroup('g') as g:\n    s, w, t = Op('s').as_setup(), Op('w'), Op('t').as_teardown()\n"
        "    s >> w >> t\n    s >> t\ng >> Op('after')",
        {"g.s": "g.t g.w", "g.w": "after g.t", "g.t": "", "after": ""},
    ),
    "decorated": (
        "a = s()\nwith t(a) as scope:\n    w(a)\n    w(2)",
        {"s": "t w w__1", "w": "t", "w__1": "t", "t": ""},
    ),
}


def made(folder: Folder, era: int, body: str) -> dict[str, Any]:
    """The tasks of a file by their ids."""
    before = DECORATED if "t(a)" in body else ""
    indented = "\n".join(f"    {line}" for line in body.splitlines())
    spec = folder.spec(HEAD[era] + BODY.format(before=before, body=indented))
    return {task["task_id"]: task for task in spec["tasks"]}


@pytest.mark.parametrize("era", [2, 3])
@pytest.mark.parametrize("way", list(WAYS))
def test_the_graph_is_what_airflow_makes_of_it(folder: Folder, way: str, era: int) -> None:
    body, edges = WAYS[way]
    tasks = made(folder, era, body)
    names = list(tasks)
    out = {name: [] for name in names}
    for name, task in tasks.items():
        for above in task.get("upstream", []):
            out[names[above]].append(name)
    assert {name: " ".join(sorted(below)) for name, below in out.items()} == edges
    kinds = {name: [mark for mark in MARKS if task.get(mark)] for name, task in tasks.items()}
    for name, kind in kinds.items():
        short = name.rpartition(".")[2]
        of_teardown = ["is_teardown", *(["on_failure_fail_dagrun"] if way == "decorated" else [])]
        assert kind == (["is_setup"] if short[0] == "s" else of_teardown if short[0] == "t" else []), name
        assert ("trigger_rule" in tasks[name]) == (short[0] == "t")


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("Op('t').as_teardown().as_setup()", "Cannot mark task 't' as setup; task is already a teardown."),
        ("with Op('t'):\n    pass", "Only setup/teardown tasks can be used as context managers."),
        (
            "Op('s').as_setup() >> Op('w', trigger_rule='all_done')",
            "Setup tasks must be followed with trigger rule ALL_SUCCESS: it comes right after `s`",
        ),
    ],
)
def test_what_airflow_refuses_is_refused(folder: Folder, body: str, words: str) -> None:
    indented = "\n".join(f"    {line}" for line in body.splitlines())
    assert words in folder.error(HEAD[2] + BODY.format(before="", body=indented))["message"]


@pytest.mark.parametrize("name", ["fail_stop", "fail_fast"])
def test_a_dag_may_stop_at_its_first_failure(folder: Folder, name: str) -> None:
    head = f"with DAG('d', schedule=None, {name}=True) as d:\n    EmptyOperator(task_id='a'"
    assert folder.spec(head + ")")["fail_fast"] is True
    error = folder.error(head + ", trigger_rule='all_done')")
    assert "in a DAG with fail_fast (fail_stop) every task must have all_success" in error["message"]


def test_a_dag_may_be_paused_after_so_many_failed_runs(folder: Folder) -> None:
    head = "with DAG('d', schedule=None, max_consecutive_failed_dag_runs={}) as d:\n    EmptyOperator(task_id='a')"
    assert folder.spec(head.format(3))["max_consecutive_failed_dag_runs"] == 3
    for none in ("0", "None"):
        assert "max_consecutive_failed_dag_runs" not in folder.spec(head.format(none))
    for wrong in ("-1", "'3'", "True"):
        error = folder.error(head.format(wrong))
        assert "max_consecutive_failed_dag_runs must be an integer of 0 or more" in error["message"]
