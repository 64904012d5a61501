"""Priority weights as two versions of real Airflow compute them, rules of a file's own among them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from conftest import Folder

RECORDED = Path(__file__).resolve().parent / "oracle"
STRATEGY = """
from airflow.task.priority_strategy import PriorityWeightStrategy

class Heavy(PriorityWeightStrategy):
    def get_weight(self, ti):
        return ti.task.priority_weight * 10 + len(ti.task.upstream_task_ids) - ti.try_number
"""


def drawn(name: str, tasks: list[Any]) -> str:
    """A DAG as the recorder drew it."""
    lines = [f"with DAG({name!r}, schedule=None):"]
    for place, (upstream, weight, rule) in enumerate(tasks):
        how = "Heavy()" if rule == "heavy" else repr(rule)
        lines.append(
            f"    t{place} = EmptyOperator(task_id='t{place}', priority_weight={weight}, weight_rule={how})"
        )
        lines += [f"    t{above} >> t{place}" for above in upstream]
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize("era", [2, 3])
def test_weights_are_airflows(folder: Folder, era: int) -> None:
    recorded = json.loads((RECORDED / f"weights-{era}.json").read_text())
    text = STRATEGY + "".join(drawn(f"d{n}", tasks) for n, (tasks, _) in enumerate(recorded))
    (answer,) = folder.parse(folder.write("file.py", text))
    assert answer["errors"] == []
    ours = {dag["dag_id"]: dag["tasks"] for dag in answer["dags"]}
    assert len(ours) == len(recorded)
    for n, (_, weights) in enumerate(recorded):
        by_id = {task["task_id"]: task.get("priority_weight", 1) for task in ours[f"d{n}"]}
        assert [by_id[f"t{place}"] for place in range(len(weights))] == weights, n


def test_a_rule_goes_by_its_full_name_too(folder: Folder) -> None:
    folder.write("rules/__init__.py", "", header=False)
    folder.write("rules/own.py", STRATEGY, header=False)
    spec = folder.spec(
        """
        with DAG("d", schedule=None):
            EmptyOperator(task_id="a", priority_weight=3, weight_rule="rules.own.Heavy")
        """
    )
    assert spec["tasks"][0]["priority_weight"] == 30


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ("'rules.own.Heavy'", "its weight_rule is 'rules.own.Heavy'"),
        ("'os.path'", "classes of PriorityWeightStrategy by their full name"),
        ("Half()", "its weight_rule Half must give a whole number, not 0.5"),
        ("Heavy", "its weight_rule is"),
    ],
)
def test_what_is_no_rule_is_said(folder: Folder, rule: str, said: str) -> None:
    half = "class Half(PriorityWeightStrategy):\n    def get_weight(self, ti): return 0.5\n"
    error = folder.error(
        f"{STRATEGY}{half}with DAG('d', schedule=None):\n    EmptyOperator(task_id='a', weight_rule={rule})\n"
    )
    assert said in error["message"], error["message"]
    assert "task `a`" in error["message"]
