"""Have a real Airflow run small DAGs with branches, setups and teardowns, and write down how their tasks ended.

    python -m venv /tmp/af2 && /tmp/af2/bin/pip install apache-airflow==2.11.2
    python -m venv /tmp/af3 && /tmp/af3/bin/pip install apache-airflow==3.3.2
    /tmp/af2/bin/python record_outcomes.py
    /tmp/af3/bin/python record_outcomes.py

Writes ``outcomes-2.json`` or ``outcomes-3.json`` beside this file. The DAGs are drawn from a fixed seed; each is
run by ``dag.test()`` in a database of its own. A task is ``[upstreams, trigger rule, kind, does]``: kind is
``""``, ``setup``, ``teardown`` or ``teardown!`` (on_failure_fail_dagrun), and it does ``ok``, ``fail``, ``skip``,
``[follow, …]`` (a branch), ``cut`` or ``cut near`` (a short circuit, all that is below or what is right below);
``again 2`` fails twice and then succeeds, ``fail 1`` has one retry, and fails. Then come the run's end, each task's,
and how many tries each had.
"""

from __future__ import annotations

import datetime as dt
import importlib
import importlib.metadata
import json
import logging
import os
import pathlib
import random
import shutil
import sys
import tempfile
from typing import Any

if "AIRFLOW_HOME" not in os.environ:  # each process of its own imports this too
    os.environ["AIRFLOW_HOME"] = tempfile.mkdtemp(prefix="outcomes-")
HOME = os.environ["AIRFLOW_HOME"]
os.environ["AIRFLOW__CORE__LOAD_EXAMPLES"] = "False"
os.environ["AIRFLOW__CORE__DAGS_FOLDER"] = str(pathlib.Path(HOME) / "dags")
os.environ["AIRFLOW__LOGGING__LOGGING_LEVEL"] = "CRITICAL"
HERE = pathlib.Path(__file__).parent
ERA = int(importlib.metadata.version("apache-airflow").split(".")[0])
SEED, DAGS = 20_261_128, 500
RULES = ["all_done", "none_failed", "none_failed_min_one_success", "one_success", "one_failed", "all_failed",
         "all_skipped", "none_skipped", "one_done"]  # fmt: skip

if ERA == 2:
    from airflow import DAG
    from airflow.exceptions import AirflowSkipException
    from airflow.operators.python import (
        BranchPythonOperator,
        PythonOperator,
        ShortCircuitOperator,
    )
else:
    from airflow.providers.standard.operators.python import (
        BranchPythonOperator,
        PythonOperator,
        ShortCircuitOperator,
    )
    from airflow.sdk import DAG
    from airflow.sdk.exceptions import AirflowSkipException

Task = list[Any]


def drawn(rng: random.Random) -> list[Task]:
    """Draw a DAG: tasks by their places, upstreams before downstreams."""
    tasks: list[Task] = []
    scoped = rng.random() < 0.4
    for place in range(rng.randint(4, 8)):
        upstream = sorted(
            rng.sample(range(place), min(place, rng.choice([0, 1, 1, 1, 2, 2, 3])))
        )
        rule = rng.choice(RULES) if upstream and rng.random() < 0.35 else "all_success"
        does = rng.choice(
            ["ok"] * 6
            + ["fail", "fail", "fail 1", "again 1", "again 2", "skip"]
            + ["branch", "branch", "cut", "cut near"]
        )
        tasks.append([upstream, rule, "", does])
    if scoped and len(tasks) > 3:
        tasks[0][3] = rng.choice(["ok", "ok", "fail", "skip"])
        tasks[0][2] = "setup"
        for task in tasks[1:]:
            if 0 in task[0]:
                task[1] = "all_success"
        last = sorted({0, rng.randrange(1, len(tasks)), rng.randrange(1, len(tasks))})
        kind = rng.choice(["teardown", "teardown!"])
        tasks.append([last, "all_done_setup_success", kind, rng.choice(["ok", "fail"])])
    for place, task in enumerate(tasks):
        below = [
            other
            for other, one in enumerate(tasks)
            if place in one[0] and not one[2].startswith("teardown")
        ]
        if task[3] == "branch":
            task[3] = (
                sorted(rng.sample(below, rng.randint(0, len(below)))) if below else "ok"
            )
    return tasks


def fail() -> None:
    """Fail."""
    raise ValueError("asked to")


def skip() -> None:
    """Skip."""
    raise AirflowSkipException("asked to")


def ok() -> int:
    """Succeed."""
    return 1


def again(times: int, **context: Any) -> None:
    """Fail in the first tries."""
    if context["ti"].try_number <= times:
        fail()


def built(name: str, tasks: list[Task]) -> Any:
    """Build the DAG."""
    with DAG(
        name, schedule=None, start_date=dt.datetime(2024, 1, 1, tzinfo=dt.UTC)
    ) as dag:
        made: list[Any] = []
        for place, (upstream, rule, kind, does) in enumerate(tasks):
            how = {"task_id": f"t{place}", "trigger_rule": rule}
            if isinstance(does, list):
                chosen = [f"t{one}" for one in does]
                task = BranchPythonOperator(
                    python_callable=lambda chosen=chosen: chosen, **how
                )
            elif does.startswith("cut"):
                task = ShortCircuitOperator(
                    python_callable=lambda: False,
                    ignore_downstream_trigger_rules=does == "cut",
                    **how,
                )
            else:
                word, _, times = does.partition(" ")
                how |= {"retries": int(times or 0), "retry_delay": dt.timedelta(0)}
                if word == "again":
                    how["op_args"] = [int(times)]
                does_it = {"ok": ok, "fail": fail, "skip": skip, "again": again}
                task = PythonOperator(python_callable=does_it[word], **how)
            made.append(task)
            if kind == "setup":
                task.as_setup()
            if kind.startswith("teardown"):
                task.as_teardown(on_failure_fail_dagrun=kind.endswith("!"))
            for above in upstream:
                made[above] >> task
    return dag


def main() -> None:
    """Run everything, from a copy of this file in the DAG folder, where Airflow 3 looks for what it runs."""
    from airflow.utils.db import initdb

    folder = pathlib.Path(os.environ["AIRFLOW__CORE__DAGS_FOLDER"])
    folder.mkdir(exist_ok=True)
    shutil.copy(__file__, folder / "drawn.py")
    sys.path.insert(0, str(folder))
    logging.disable(logging.CRITICAL)
    initdb()
    importlib.invalidate_caches()
    drawn_dags = importlib.import_module("drawn")
    answers = []
    for number, tasks in enumerate(drawn_dags.CASES):
        run = getattr(drawn_dags, f"d{number}").test()
        states, tries = {}, {}
        for one in run.get_task_instances():
            states[one.task_id] = str(getattr(one.state, "value", one.state))
            tries[one.task_id] = one.try_number
        ids = [f"t{place}" for place in range(len(tasks))]
        ends = str(getattr(run.state, "value", run.state))
        answers.append(
            [tasks, ends, [states[it] for it in ids], [tries[it] for it in ids]]
        )
    lines = ",\n".join(json.dumps(answer, separators=(",", ":")) for answer in answers)
    (HERE / f"outcomes-{ERA}.json").write_text(f"[\n{lines}\n]\n")


if __name__ == "__main__":
    main()
else:
    rng = random.Random(SEED)
    CASES = [drawn(rng) for _ in range(DAGS)]
    globals().update(
        {f"d{number}": built(f"d{number}", tasks) for number, tasks in enumerate(CASES)}
    )
