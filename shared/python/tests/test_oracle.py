"""What real Airflow said about the DAG files in `oracle/dags`, against what we say. See `oracle/record.py`."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import Any

import pytest

from fake_supervisor import FakeSupervisor, parse

HERE = Path(__file__).parent / "oracle"
DAGS = HERE / "dags"
TOLD = {
    2: json.loads((HERE / "airflow-2.11.2.json").read_text()),
    3: json.loads((HERE / "airflow-3.3.2.json").read_text()),
}
DATE = dt.datetime(2024, 3, 1, 2, tzinfo=dt.UTC)

# Keys of the context that we don't have yet, by era; the list may only get shorter.
ABSENT: dict[int, set[str]] = {
    2: set(),
    3: {"task_state_store"},
}


@pytest.mark.parametrize("era", [2, 3])
@pytest.mark.parametrize("dag_id", ["edges", "groups", "flow"])
def test_graphs(era: int, dag_id: str) -> None:
    (answer,) = parse(DAGS, "graphs.py")
    assert answer["errors"] == []
    (spec,) = [dag for dag in answer["dags"] if dag["dag_id"] == dag_id]
    tasks = spec["tasks"]
    downstream: dict[str, list[str]] = {task["task_id"]: [] for task in tasks}
    for task in tasks:
        for up in task.get("upstream", []):
            downstream[tasks[up]["task_id"]].append(task["task_id"])
    told = TOLD[era]["graphs"][dag_id]
    assert downstream.keys() == told.keys()
    for task in tasks:
        real = told[task["task_id"]]
        ours = {
            "downstream": sorted(downstream[task["task_id"]]),
            "operator": task["operator"],
            "trigger_rule": task.get("trigger_rule", "all_success"),
            "retries": task.get("retries", 0),
            "group": task.get("group"),
        }
        if "weight" in real:
            ours["weight"] = task.get("priority_weight", 1)
        assert ours == {name: real[name] for name in ours}, task["task_id"]


@pytest.mark.parametrize(
    ("era", "file", "dag_id"),
    [
        (2, "context_older.py", "context_older"),
        (2, "context_older.py", "native_older"),
        (3, "context_newer.py", "context_newer"),
    ],
)
def test_contexts_and_templates(
    era: int, file: str, dag_id: str, supervisor: FakeSupervisor, tmp_path: Path
) -> None:
    control, ready = supervisor.load(DAGS, file, {"ORACLE_OUT": str(tmp_path)})
    assert ready["type"] == "Ready", ready
    start = DATE - dt.timedelta(days=1) if era == 2 else DATE
    how: dict[str, Any] = {"logical_date": DATE, "interval": (start, DATE), "run_type": "scheduled"}
    result = supervisor.run(control, DAGS, dag_id, "show", run_id="manual__2024", **how)
    assert result.state == "success", result
    ours = json.loads((tmp_path / f"{dag_id}.show.json").read_text())
    told = TOLD[era]["runs"][f"{dag_id}.show"]
    assert ours["rendered"] == told["rendered"]
    assert set(told["keys"]) - set(ours["keys"]) == ABSENT[era]
    assert set(ours["keys"]) <= set(told["keys"])
