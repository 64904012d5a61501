"""Ask a real Airflow what its trigger rules make of upstreams, and write its answers down.

    python -m venv /tmp/af2 && /tmp/af2/bin/pip install apache-airflow==2.11.2
    python -m venv /tmp/af3 && /tmp/af3/bin/pip install apache-airflow==3.3.2
    /tmp/af2/bin/python record_trigger_rules.py
    /tmp/af3/bin/python record_trigger_rules.py

Writes ``trigger-rules-2.json`` or ``trigger-rules-3.json`` beside this file. Airflow's own TriggerRuleDep is
called, as its scheduler does, on task instances that stand where the question says; nothing is started, and
there is no database. A state is a letter: ``s`` success, ``f`` failed, ``u`` upstream_failed, ``k`` skipped,
``r`` removed, ``-`` not done. An answer is the state that the task is given, ``wait``, or ``run``.

``direct``     rule -> answer -> the mixes of up to four upstreams that get it
``teardown``   answer -> the mixes of a teardown's upstreams: its setups, ``|``, the others
``scope``      rule -> answer -> an indirect setup's state and the one upstream's, for a task below both
"""

from __future__ import annotations

import datetime as dt
import importlib.metadata
import itertools
import json
import os
import pathlib
import tempfile
from collections import defaultdict
from typing import Any

if "AIRFLOW_HOME" not in os.environ:  # each process of its own imports this too
    os.environ["AIRFLOW_HOME"] = tempfile.mkdtemp(prefix="trigger-rules-")
os.environ["AIRFLOW__CORE__UNIT_TEST_MODE"] = "True"
os.environ["AIRFLOW__CORE__LOAD_EXAMPLES"] = "False"

from airflow.ti_deps.dep_context import DepContext
from airflow.ti_deps.deps.trigger_rule_dep import TriggerRuleDep

HERE = pathlib.Path(__file__).parent
ERA = int(importlib.metadata.version("apache-airflow").split(".")[0])
STATES = {
    "s": "success",
    "f": "failed",
    "u": "upstream_failed",
    "k": "skipped",
    "r": "removed",
    "-": None,
}
SETUP_RULE = "all_done_setup_success"

if ERA == 2:
    from airflow.models.dag import DAG
    from airflow.operators.empty import EmptyOperator
    from airflow.utils.trigger_rule import TriggerRule
else:
    from airflow.providers.standard.operators.empty import EmptyOperator
    from airflow.sdk import DAG
    from airflow.serialization.serialized_objects import DagSerialization
    from airflow.task.trigger_rule import TriggerRule

# Airflow 2 has two rules under older names, too.
ALIASES = {"dummy", "none_failed_or_skipped"}
RULES = sorted({rule.value for rule in TriggerRule} - ALIASES)


class Instance:
    """A task instance that keeps the state it is given."""

    map_index = -1
    dag_id = "d"
    run_id = "r"

    def __init__(self, task: Any, state: str | None) -> None:
        self.task, self.task_id, self.state = task, task.task_id, state
        self.given: str | None = None

    def set_state(self, state: Any, session: Any = None) -> bool:
        """Keep it, as Airflow would in its database."""
        self.given = getattr(state, "value", state)
        return True

    def get_dagrun(self, session: Any = None) -> None:
        """Of no run."""


def dag_of(
    upstream: int, setups: int = 0, rule: str = "all_success", scoped: bool = False
) -> Any:
    """Give a DAG with a task ``t`` below ``upstream`` tasks, the first of them setups."""
    with DAG(
        "d", schedule=None, start_date=dt.datetime(2024, 1, 1, tzinfo=dt.UTC)
    ) as dag:
        task = EmptyOperator(task_id="t", trigger_rule=rule)
        tasks = [EmptyOperator(task_id=f"u{n}") for n in range(upstream)]
        for number, one in enumerate(tasks):
            if number < setups:
                one.as_setup()
            one >> task
        if setups:
            task.as_teardown()
        if scoped:
            setup, teardown = (
                EmptyOperator(task_id="setup"),
                EmptyOperator(task_id="teardown"),
            )
            setup >> tasks[0]
            task >> teardown.as_teardown(setups=setup)
    return (
        dag if ERA == 2 else DagSerialization.from_dict(DagSerialization.to_dict(dag))
    )


def ask(dag: Any, states: dict[str, str]) -> str:
    """Give what becomes of ``t``."""
    instance = Instance(dag.get_task("t"), None)
    finished = [
        Instance(dag.get_task(name), STATES[letter]) for name, letter in states.items()
    ]
    context = DepContext(flag_upstream_failed=True)
    context.finished_tis = [one for one in finished if one.state is not None]
    statuses = list(
        TriggerRuleDep()._get_dep_statuses(
            ti=instance, dep_context=context, session=None
        )
    )
    if instance.given is not None:
        return instance.given
    return "run" if all(status.passed for status in statuses) else "wait"


def mixes(count: int) -> list[str]:
    """Give every mix of so many states."""
    return [
        "".join(mix) for mix in itertools.combinations_with_replacement("sfukr-", count)
    ]


def grouped(answers: dict[str, str]) -> dict[str, str]:
    """Give the questions by their answers, in one line each."""
    found = defaultdict(list)
    for question, answer in answers.items():
        found[answer].append(question)
    return {answer: " ".join(found[answer]) for answer in sorted(found)}


def main() -> None:
    """Ask everything."""
    direct, scope = {}, {}
    for rule in RULES:
        if rule != SETUP_RULE:
            dags = {count: dag_of(count, rule=rule) for count in range(1, 5)}
            every = [mix for count in dags for mix in mixes(count)]
            direct[rule] = grouped(
                {
                    mix: ask(
                        dags[len(mix)],
                        {f"u{n}": letter for n, letter in enumerate(mix)},
                    )
                    for mix in every
                }
            )
            below = dag_of(1, rule=rule, scoped=True)
            pairs = ["".join(pair) for pair in itertools.product("sfukr-", repeat=2)]
            scope[rule] = grouped(
                {pair: ask(below, {"setup": pair[0], "u0": pair[1]}) for pair in pairs}
            )
    teardown = {}
    for setups, works in itertools.product((1, 2), (0, 1, 2)):
        dag = dag_of(setups + works, setups=setups)
        for first, second in itertools.product(mixes(setups), mixes(works)):
            letters = {f"u{n}": letter for n, letter in enumerate(first + second)}
            teardown[f"{first}|{second}"] = ask(dag, letters)
    answers = {
        "airflow": importlib.metadata.version("apache-airflow"),
        "direct": direct,
        "teardown": grouped(teardown),
        "scope": scope,
    }
    text = json.dumps(answers, indent=1, sort_keys=True)
    (HERE / f"trigger-rules-{ERA}.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
