"""The DAG files that must run unmodified, task by task through a real zygote."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from fake_supervisor import FakeSupervisor, parse

FOLDER = os.environ.get("DAGBOK_ACCEPTANCE")
needs_folder = pytest.mark.skipif(not FOLDER, reason="DAGBOK_ACCEPTANCE names the acceptance folder")

# file → operators and edges as (upstream, downstream)
GRAPHS = {
    "recommendation_training_pipeline.py": "ingest_data>validate_data>featurize>train_model>evaluate_model>register_model",
    "recommendation_pipeline.py": "ingest_data>validate_data>featurize>train_model>evaluate_and_register featurize>evaluate_and_register",
    "hyperparameter_sweep.py": " ".join(
        f"prepare_data>train_config_{i}>evaluate_config_{i}" for i in range(3)
    ),
    "artifacts_by_path.py": "train_model>evaluate_model",
}


def edges(spec: dict[str, Any]) -> set[tuple[str, str]]:
    tasks = spec["tasks"]
    return {(tasks[up]["task_id"], task["task_id"]) for task in tasks for up in task.get("upstream", [])}


def said(graph: str) -> set[tuple[str, str]]:
    chains = [chain.split(">") for chain in graph.split()]
    return {pair for chain in chains for pair in zip(chain, chain[1:], strict=False)}


@needs_folder
@pytest.mark.parametrize("file", sorted(GRAPHS))
def test_a_file_parses_and_runs(file: str, tmp_path: Path, supervisor: FakeSupervisor) -> None:
    folder = Path(str(FOLDER))
    (answer,) = parse(folder, file)
    assert answer["errors"] == []
    (spec,) = answer["dags"]
    assert edges(spec) == said(GRAPHS[file])
    env = {"ML_STORE": str(tmp_path / "store"), "ML_ARTIFACTS": str(tmp_path / "artifacts")}
    control, ready = supervisor.load(folder, file, env)
    assert ready["type"] == "Ready"
    assert ready["fork_safe"]
    for task in spec["tasks"]:
        result = supervisor.run(control, folder, spec["dag_id"], task["task_id"])
        assert result.state == "success", (task["task_id"], result)
        assert result.exited["exit_code"] == 0
    if file == "recommendation_training_pipeline.py":
        report = supervisor.xcoms[spec["dag_id"], "manual__1", "evaluate_model", "eval_report"]
        assert report["accuracy"] > 0.82
        assert (tmp_path / "store" / "model-2024-03-01.json").is_file()
    if file == "recommendation_pipeline.py":
        # `-> dict` means that every key is an XCom too.
        accuracy = supervisor.xcoms[spec["dag_id"], "manual__1", "train_model", "accuracy"]
        assert accuracy > 0.82


@needs_folder
def test_sensors_are_refused_and_the_other_dag_of_the_file_stands() -> None:
    (answer,) = parse(Path(str(FOLDER)), "sensors_for_ml.py")
    assert [dag["dag_id"] for dag in answer["dags"]] == ["feature_engineering_pipeline"]
    (error,) = answer["errors"]
    assert "`sensors_for_ml`" in error["message"]
    assert "not supported yet" in error["message"]
    assert error["line"] == 15
