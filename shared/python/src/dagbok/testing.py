"""For people's own tests of DAG files, by pytest: `pytest_plugins = ["dagbok.testing"]` in a `conftest.py`.

From then on `airflow.…` imports are answered in the tests' process, where Airflow itself is not installed.
The fixture `dagbok` reads files and folders, and renders a task.
"""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import pytest

from dagbok.compat import activate
from dagbok.desk.dag_bag import DagBag

activate()


class Desk:
    """What tests ask of DAG files."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def dag_bag(self, folder: str | Path = "dags") -> DagBag:
        """Import the DAG files of a folder, or one file; a path is one from pytest's root on."""
        return DagBag(self.root / folder)

    def dag(self, file: str | Path, dag_id: str | None = None) -> Any:
        """Return a DAG of a file, the only one where none is named; fails where the file can't be read."""
        bag = self.dag_bag(file)
        if bag.import_errors:
            pytest.fail("\n".join(bag.import_errors.values()), pytrace=False)
        names = [dag_id] if dag_id is not None else bag.dag_ids
        found = [bag.dags[name] for name in names if name in bag.dags]
        if len(found) != 1:
            pytest.fail(
                f"{file} has the DAGs {bag.dag_ids}, and {dag_id or 'no one'} was named", pytrace=False
            )
        return found[0]

    def render(
        self, dag: Any, task_id: str, date: dt.datetime | None = None, conf: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """Return a task's template fields as a run of that date has them."""
        from dagbok.desk.alone import render

        return render(dag.get_task(task_id), date or dt.datetime.now(dt.UTC), conf)


@pytest.fixture
def dagbok(request: pytest.FixtureRequest) -> Desk:
    """Return what tests ask of DAG files."""
    return Desk(Path(request.config.rootpath))
