"""Asks a real Airflow about the DAG files beside this script, and writes down what it says.

Never needed by the tests. Run it with the Python of an environment that has Airflow:

    python3.11 -m venv /tmp/airflow && /tmp/airflow/bin/pip install apache-airflow==2.11.2
    /tmp/airflow/bin/python tests/oracle/record.py

It writes `airflow-<version>.json` beside itself. The logical date is 2024-03-01T02:00Z in each run.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
FILES = {2: ["graphs.py", "context_older.py"], 3: ["graphs.py", "context_newer.py"]}


def prepare() -> None:
    """Give Airflow a home of its own, with a database, before it is imported."""
    home = tempfile.mkdtemp(prefix="airflow-oracle-")
    os.environ.update(
        AIRFLOW_HOME=home,
        ORACLE_OUT=tempfile.mkdtemp(prefix="airflow-answers-"),
        AIRFLOW__CORE__DAGS_FOLDER=str(HERE / "dags"),
        AIRFLOW__CORE__LOAD_EXAMPLES="False",
        PYTHONDONTWRITEBYTECODE="1",
    )
    sys.dont_write_bytecode = True
    subprocess.run([sys.executable, "-m", "airflow", "db", "migrate"], check=True, stdout=subprocess.DEVNULL)


def graph(dag) -> dict:
    tasks = {}
    for task in dag.tasks:
        group = task.task_group.group_id if task.task_group is not None else None
        tasks[task.task_id] = {
            "downstream": sorted(task.downstream_task_ids),
            "operator": task.task_type,
            "trigger_rule": str(getattr(task.trigger_rule, "value", task.trigger_rule)),
            "retries": task.retries,
            "group": group,
            "multiple_outputs": bool(getattr(task, "multiple_outputs", False)),
            "template_fields": sorted(task.template_fields),
        }
        if hasattr(task, "priority_weight_total"):
            tasks[task.task_id]["weight"] = task.priority_weight_total
    return tasks


def main() -> None:
    prepare()
    import pendulum
    from airflow import __version__

    try:
        from airflow.dag_processing.dagbag import DagBag
    except ImportError:
        from airflow.models import DagBag
    major = int(__version__.split(".")[0])
    date = pendulum.datetime(2024, 3, 1, 2)
    answers = {"airflow": __version__, "graphs": {}, "runs": {}}
    for file in FILES[major]:
        bag = DagBag(str(HERE / "dags" / file))
        if bag.import_errors:
            raise SystemExit(str(bag.import_errors))
        for dag_id, dag in sorted(bag.dags.items()):
            answers["graphs"][dag_id] = graph(dag)
            if file.startswith("context"):
                dag.test(**({"execution_date": date} if major == 2 else {"logical_date": date}))
    for path in sorted(Path(os.environ["ORACLE_OUT"]).glob("*.json")):
        answers["runs"][path.stem] = json.loads(path.read_text())
    target = HERE / f"airflow-{__version__}.json"
    target.write_text(json.dumps(answers, indent=1, sort_keys=True) + "\n")
    print(target)


if __name__ == "__main__":
    main()
