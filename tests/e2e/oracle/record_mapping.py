"""Have a real Airflow run the DAGs of ``mapping_shapes.py``, and write down how each copy ended and what it got.

    python -m venv /tmp/af2 && /tmp/af2/bin/pip install apache-airflow==2.11.2
    python -m venv /tmp/af3 && /tmp/af3/bin/pip install apache-airflow==3.3.2
    /tmp/af2/bin/python record_mapping.py
    /tmp/af3/bin/python record_mapping.py

Writes ``mapping-2.json`` or ``mapping-3.json`` beside this file: by DAG the run's end, by task and map index the
states, and what each copy received. The DAGs are run by ``dag.test()`` in a database of its own; those with
``max_active_tasks=1`` one task at a time, as a scheduler would, in the order of weight, DAG and map index.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import json
import logging
import os
import pathlib
import sys
import tempfile
from typing import Any

HERE = pathlib.Path(__file__).parent
ERA = int(importlib.metadata.version("apache-airflow").split(".")[0]) if __name__ == "__main__" else 0
HEADERS = {
    2: """
from airflow.decorators import dag, task, task_group
from airflow.exceptions import AirflowSkipException
from airflow.operators.bash import BashOperator
from airflow.operators.python import PythonOperator, get_current_context
""",
    3: """
from airflow.providers.standard.operators.bash import BashOperator
from airflow.providers.standard.operators.python import PythonOperator
from airflow.sdk import dag, get_current_context, task, task_group
from airflow.sdk.exceptions import AirflowSkipException
""",
}


def source(era: int) -> str:
    """Return the DAG file as one of the two versions has it."""
    head = "import json, os\nfrom datetime import datetime, timezone\n" + HEADERS[era]
    return head + "\n\n" + (HERE / "mapping_shapes.py").read_text()


def received(witness: pathlib.Path, dag_id: str) -> dict[str, Any]:
    """Return what the copies of a DAG wrote down, by task and map index."""
    lines = map(json.loads, witness.read_text().splitlines()) if witness.exists() else ()
    return {f"{task}[{index}]": arguments for dag, task, index, arguments in lines if dag == dag_id}


def one_at_a_time() -> None:
    """Have ``dag.test()`` heed ``max_active_tasks=1``, which it does not by itself."""
    from airflow.models.dagrun import DagRun

    update_state = DagRun.update_state

    def one(self: Any, *arguments: Any, **named: Any) -> Any:
        tis, callback = update_state(self, *arguments, **named)
        if self.dag is not None and self.dag.max_active_tasks == 1:
            order = list(self.dag.task_ids)
            tis = sorted(tis, key=lambda ti: (-ti.priority_weight, order.index(ti.task_id), ti.map_index))[:1]
        return tis, callback

    DagRun.update_state = one  # type: ignore[method-assign]


def main() -> None:
    """Run everything."""
    home = pathlib.Path(tempfile.mkdtemp(prefix="mapping-"))
    folder, witness = home / "dags", home / "witness"
    folder.mkdir()
    os.environ.update(
        AIRFLOW_HOME=str(home),
        AIRFLOW__CORE__LOAD_EXAMPLES="False",
        AIRFLOW__CORE__DAGS_FOLDER=str(folder),
        AIRFLOW__LOGGING__LOGGING_LEVEL="CRITICAL",
        WITNESS=str(witness),
    )
    (folder / "shapes.py").write_text(source(ERA))
    sys.path.insert(0, str(folder))
    from airflow.utils.db import initdb

    logging.disable(logging.CRITICAL)
    initdb()
    one_at_a_time()
    shapes = importlib.import_module("shapes")
    from airflow.models.dag import DAG

    kinds: tuple[type, ...] = (DAG,)
    if ERA == 3:
        from airflow.sdk import DAG as NewerDag

        kinds = (DAG, NewerDag)
    answers = {}
    for name, one in list(vars(shapes).items()):
        if isinstance(one, kinds):
            run = one.test()
            states = {
                f"{ti.task_id}[{ti.map_index}]": str(getattr(ti.state, "value", ti.state))
                for ti in run.get_task_instances()
            }
            answers[name] = {
                "run": str(getattr(run.state, "value", run.state)),
                "states": dict(sorted(states.items())),
                "got": dict(sorted(received(witness, name).items())),
            }
            print(name, answers[name]["run"], file=sys.stderr, flush=True)
    lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(one)}" for name, one in answers.items())
    (HERE / f"mapping-{ERA}.json").write_text("{\n" + lines + "\n}\n")


if __name__ == "__main__":
    main()
