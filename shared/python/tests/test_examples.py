"""The project's own example DAGs, task by task through a real zygote."""

from __future__ import annotations

from pathlib import Path

import pytest

from fake_supervisor import FakeSupervisor, parse

FOLDER = Path(__file__).resolve().parents[3] / "deploy" / "examples" / "dags"

pytestmark = pytest.mark.skipif(not FOLDER.is_dir(), reason="the examples are not beside this checkout")


@pytest.mark.parametrize(
    ("file", "ends_with"),
    [
        ("hello.py", "Hello, world!"),
        ("taskflow_wordcount.py", "2024-03-01: the (8)"),
        ("recommendation_training.py", "registered recommender-2024-03-01"),
    ],
)
def test_an_example(file: str, ends_with: str, supervisor: FakeSupervisor, tmp_path: Path) -> None:
    (answer,) = parse(FOLDER, file)
    assert (answer["errors"], answer["warnings"]) == ([], [])
    (spec,) = answer["dags"]
    control, _ = supervisor.load(FOLDER, file, {"DAGBOK_EXAMPLE_STORE": str(tmp_path)})
    for task in spec["tasks"]:
        result = supervisor.run(control, FOLDER, spec["dag_id"], task["task_id"])
        assert result.state == "success", result
    assert ends_with in result.stdout
