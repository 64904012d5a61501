"""Ask real Airflow's PrevDagrunDep whether a task may go, over every mix of what it looks at, and write it down.

    python -m venv /tmp/af2 && /tmp/af2/bin/pip install apache-airflow==2.11.2
    python -m venv /tmp/af3 && /tmp/af3/bin/pip install apache-airflow==3.3.2
    /tmp/af2/bin/python record_past.py
    /tmp/af3/bin/python record_past.py

Writes ``past-2.json`` or ``past-3.json`` beside this file. A case is a task ``a`` with ``b`` right below it, and the
run before it. A row is ``[what made the run, what made the one before or null, catchup, wait_for_downstream,
ignore_first_depends_on_past, start_date, whether a run before that had the task, answers]``; the answers are a digit
for each state of ``a`` and of ``b`` in the run before, in the order of ``STATES``: 1 where the task may go. The
dependency's own code judges; what it asks of the database is answered from the case.
"""

from __future__ import annotations

import importlib.metadata
import itertools
import json
import os
import pathlib
import tempfile
from datetime import UTC, datetime
from typing import Any

if "AIRFLOW_HOME" not in os.environ:  # each process of its own imports this too
    os.environ["AIRFLOW_HOME"] = tempfile.mkdtemp(prefix="past-")
os.environ["AIRFLOW__CORE__LOAD_EXAMPLES"] = "False"
os.environ["AIRFLOW__LOGGING__LOGGING_LEVEL"] = "CRITICAL"
HERE = pathlib.Path(__file__).parent
ERA = int(importlib.metadata.version("apache-airflow").split(".")[0])

from airflow.ti_deps.dep_context import DepContext  # noqa: E402
from airflow.ti_deps.deps import prev_dagrun_dep as real  # noqa: E402

FIRST, THEN = datetime(2024, 1, 1, tzinfo=UTC), datetime(2024, 1, 2, tzinfo=UTC)
STATES = [None, "running", "success", "failed", "skipped", "upstream_failed"]
GOOD = {getattr(state, "value", state) for state in real._SUCCESSFUL_STATES}


class Made:
    """Anything with these attributes."""

    def __init__(self, **how: Any) -> None:
        self.__dict__.update(how)


class Runs:
    """Stands for the class of runs: which one comes before another."""

    before: Any = None

    @classmethod
    def get_previous_dagrun(cls, run: Any, **how: Any) -> Any:
        return cls.before

    @classmethod
    def get_previous_scheduled_dagrun(cls, number: int, *args: Any, **how: Any) -> Any:
        return cls.before if cls.before is not None and cls.before.run_type != "manual" else None


class Judge(real.PrevDagrunDep):
    """The dependency, with the database's answers from the case."""

    own: str | None = None
    below: str | None = None
    earlier = False

    def _has_tis(self, *args: Any, **how: Any) -> bool:
        return self.own is not None

    def _has_any_prior_tis(self, *args: Any, **how: Any) -> bool:
        return self.own is not None or self.earlier

    def _count_unsuccessful_tis(self, *args: Any, **how: Any) -> int:
        return int(self.own is not None and self.own not in GOOD)

    def _has_unsuccessful_dependants(self, *args: Any, **how: Any) -> bool:
        return self.below is not None and self.below not in GOOD


def run(run_type: str, date: datetime) -> Any:
    """Make a run."""
    return Made(id=1, run_type=run_type, logical_date=date, execution_date=date, backfill_id=None)


def main() -> None:
    """Ask about everything."""
    real.DagRun = Runs
    rows = []
    both, session = [False, True], object()
    for kind, before in itertools.product(["scheduled", "manual"], ["scheduled", "manual", None]):
        for catchup, wait, first, start, earlier in itertools.product(both, both, both, ["first", "then"], both):
            Runs.before = run(before, FIRST) if before else None
            task = Made(
                task_id="a", depends_on_past=True, wait_for_downstream=wait, ignore_first_depends_on_past=first,
                start_date={"first": FIRST, "then": THEN}[start], downstream_task_ids={"b"},
                dag=Made(catchup=catchup),
            )  # fmt: skip
            own = run(kind, THEN)
            ti = Made(task=task, task_id="a", dag_id="d", get_dagrun=lambda own=own, **how: own)
            said = ""
            for above, below in itertools.product(STATES, STATES):
                judge = Judge()
                judge.own, judge.below, judge.earlier = above, below, earlier
                told = judge._get_dep_statuses(ti, session=session, dep_context=DepContext())
                said += "1" if all(one.passed for one in told) else "0"
            rows.append([kind, before, catchup, wait, first, start, earlier, said])
    text = ",\n".join(json.dumps(row, separators=(",", ":")) for row in rows)
    (HERE / f"past-{ERA}.json").write_text(f"[\n{text}\n]\n")


if __name__ == "__main__":
    main()
