"""Ask a real Airflow which tasks are part of runs whose dates lie outside of theirs, and how such runs end.

    python -m venv /tmp/af2 && /tmp/af2/bin/pip install apache-airflow==2.11.2
    python -m venv /tmp/af3 && /tmp/af3/bin/pip install apache-airflow==3.3.2
    /tmp/af2/bin/python record_dates.py
    /tmp/af3/bin/python record_dates.py

Writes ``dates-2.json`` or ``dates-3.json`` beside this file. A row is ``[what made the run, the DAG's last day, tasks,
how the run ended, how each task stands]``; a task is ``[upstreams, trigger rule, first day, last day, does]``. Days are
of January 2024: the DAG begins on the first, and every run is of the fifth. ``null`` stands for a task that is no part
of the run, ``none`` for one that waits for ever. The DAGs are drawn from a fixed seed. Airflow makes the runs and
their tasks and judges what may go; each task that may is given its end, so that nothing is executed.
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
    os.environ["AIRFLOW_HOME"] = tempfile.mkdtemp(prefix="dates-")
os.environ["AIRFLOW__CORE__LOAD_EXAMPLES"] = "False"
os.environ["AIRFLOW__CORE__DAGS_FOLDER"] = str(
    pathlib.Path(os.environ["AIRFLOW_HOME"]) / "dags"
)
os.environ["AIRFLOW__LOGGING__LOGGING_LEVEL"] = "CRITICAL"
HERE = pathlib.Path(__file__).parent
ERA = int(importlib.metadata.version("apache-airflow").split(".")[0])
SEED, DAGS = 20_261_130, 400
RULES = ["all_done", "none_failed", "none_failed_min_one_success", "one_success", "one_failed", "all_failed",
         "all_skipped", "none_skipped", "one_done"]  # fmt: skip
KINDS = ["manual", "manual", "scheduled", "backfill"]

if ERA == 2:
    from airflow import DAG
    from airflow.operators.empty import EmptyOperator
else:
    from airflow.providers.standard.operators.empty import EmptyOperator
    from airflow.sdk import DAG

Case = tuple[str, Any, list[Any]]


def day(number: int | None) -> dt.datetime | None:
    """Return a day of January 2024."""
    return None if number is None else dt.datetime(2024, 1, number, tzinfo=dt.UTC)


def drawn(rng: random.Random) -> Case:
    """Draw a DAG: tasks by their places, upstreams before downstreams."""
    tasks: list[Any] = []
    for place in range(rng.randint(1, 4)):
        upstream = sorted(
            rng.sample(range(place), min(place, rng.choice([0, 1, 1, 2])))
        )
        rule = rng.choice(RULES) if upstream and rng.random() < 0.4 else "all_success"
        first, last = (
            rng.choice([None] * 4 + [2, 5, 6]),
            rng.choice([None] * 4 + [4, 5, 8]),
        )
        tasks.append(
            [
                upstream,
                rule,
                first,
                last,
                rng.choice(["success"] * 4 + ["failed", "skipped"]),
            ]
        )
    return rng.choice(KINDS), rng.choice([None, None, None, 4, 5, 9]), tasks


def built(name: str, case: Case) -> Any:
    """Build the DAG."""
    _, last, tasks = case
    with DAG(name, schedule=None, start_date=day(1), end_date=day(last)) as dag:
        made: list[Any] = []
        for place, (upstream, rule, first, end, _) in enumerate(tasks):
            task = EmptyOperator(
                task_id=f"t{place}", trigger_rule=rule, start_date=day(first), end_date=day(end),
                on_success_callback=print,  # or the schedulers of both end it themselves
            )  # fmt: skip
            for above in upstream:
                made[above] >> task
            made.append(task)
    return dag


def known(dag: Any, session: Any) -> Any:
    """Return the DAG as a scheduler knows it."""
    if ERA == 2:
        dag.sync_to_db(session=session)
        return dag
    from airflow.serialization.serialized_objects import DagSerialization

    return DagSerialization.deserialize_dag(DagSerialization.serialize_dag(dag))


def begun(dag: Any, kind: str, session: Any) -> Any:
    """Make a run of the fifth."""
    from airflow.utils.state import DagRunState
    from airflow.utils.types import DagRunType

    date = day(5)
    how: dict[str, Any] = {
        "run_id": f"{kind}__x", "run_type": DagRunType(kind), "state": DagRunState.RUNNING, "start_date": date,
        "session": session, "data_interval": (date, date),
    }  # fmt: skip
    if ERA == 2:
        return dag.create_dagrun(execution_date=date, **how)
    from airflow.utils.types import DagRunTriggeredByType

    return dag.create_dagrun(
        logical_date=date,
        run_after=date,
        triggered_by=DagRunTriggeredByType.TEST,
        **how,
    )


def asked(dag: Any, case: Case, session: Any) -> list[Any]:
    """Let a run go on until it ends, or nothing of it does."""
    kind, last, tasks = case
    run = begun(known(dag, session), kind, session)
    session.commit()
    for _ in range(2 * len(tasks) + 2):
        may_go, _ = run.update_state(session=session, execute_callbacks=False)
        if str(getattr(run.state, "value", run.state)) != "running":
            break
        for one in may_go:
            one.state = tasks[int(one.task_id[1:])][4]
            one.end_date = day(6)
        session.commit()
    word = {
        one.task_id: str(getattr(one.state, "value", one.state) or "none")
        for one in run.get_task_instances()
    }
    states = [word.get(f"t{place}") for place in range(len(tasks))]
    return [kind, last, tasks, str(getattr(run.state, "value", run.state)), states]


def main() -> None:
    """Ask about everything, from a copy of this file in the DAG folder, where Airflow 3 looks for what it knows."""
    from airflow.utils.db import initdb
    from airflow.utils.session import create_session

    folder = pathlib.Path(os.environ["AIRFLOW__CORE__DAGS_FOLDER"])
    folder.mkdir(exist_ok=True)
    shutil.copy(__file__, folder / "drawn_dates.py")
    sys.path.insert(0, str(folder))
    logging.disable(logging.CRITICAL)
    initdb()
    importlib.invalidate_caches()
    there = importlib.import_module("drawn_dates")
    with create_session() as session:
        if ERA > 2:
            from airflow.dag_processing.bundles.manager import DagBundlesManager
            from airflow.dag_processing.dagbag import BundleDagBag, sync_bag_to_db

            manager = DagBundlesManager()
            manager.sync_bundles_to_db(session=session)
            session.commit()
            for bundle in manager.get_all_dag_bundles():
                bundle.initialize()
                bag = BundleDagBag(
                    dag_folder=bundle.path,
                    bundle_path=bundle.path,
                    bundle_name=bundle.name,
                )
                sync_bag_to_db(bag, bundle.name, bundle.version)
        rows = [
            asked(getattr(there, f"d{n}"), case, session)
            for n, case in enumerate(there.CASES)
        ]
    text = ",\n".join(json.dumps(row, separators=(",", ":")) for row in rows)
    (HERE / f"dates-{ERA}.json").write_text(f"[\n{text}\n]\n")


if __name__ == "__main__":
    main()
else:
    rng = random.Random(SEED)
    CASES = [drawn(rng) for _ in range(DAGS)]
    globals().update(
        {f"d{number}": built(f"d{number}", case) for number, case in enumerate(CASES)}
    )
