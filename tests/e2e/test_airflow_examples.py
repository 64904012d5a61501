"""Airflow's own example DAG files, graph by graph and run by run, against what real Airflow said of them.

The answers are recorded (`tests/airflow/record.py`); the files are fetched by `tests/airflow/install.py`, which
`make test` calls. The share that is equal is printed, and may not fall below what the issue asks for; what differs
must be told below, with its reason, and no more than what differs may be told.
"""

from __future__ import annotations

import datetime as dt
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "airflow"))

import clock
import compare

# Of which graphs differ, and why.
GRAPHS: dict[str, dict[str, str]] = {
    "2.11.2": {},
    "3.3.2": {},
}
_EARLY = "its start date lies after the date of the run, which dag.test() does not look at"
_ALONE = "there dag.test() knows of no other DAG, and refuses an inlet that none has; here that has no events"
_LATEST = "there dag.test() makes a run that counts as scheduled, and its latest is long past; ours is made by hand"

# Of which runs, and of which tasks' templates.
RUNS: dict[str, dict[str, str]] = {
    "2.11.2": {
        "latest_only": _LATEST,
        "latest_only_with_trigger": _LATEST,
    },
    "3.3.2": {
        "example_asset_state_store_consumer": _EARLY,
        "example_asset_state_store_producer": _EARLY,
        "example_task_state_store": _EARLY,
        "example_task_state_store_async": _EARLY,
        "example_task_state_store_mapped": _EARLY,
        "read_asset_event": _ALONE,
    },
}
TEMPLATES: dict[str, dict[str, str]] = {
    "2.11.2": {
        "example_external_task_marker_parent.parent_task.execution_date": "it is called logical_date",
    },
    "3.3.2": {},
}


@pytest.fixture(scope="module", params=compare.VERSIONS)
def told(request: pytest.FixtureRequest) -> compare.Json:
    """What was recorded of one Airflow, with the files to compare with."""
    version: str = request.param
    assert (compare.FILES / version).is_dir(), (
        f"{compare.FILES / version} is missing: `tests/airflow/install.py` fetches Airflow's example files"
    )
    return compare.answers(version)


def check(score: compare.Score, known: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    """Print the share; nothing else than what is known may differ, and all of that must."""
    with capsys.disabled():
        print(f"\n{score}")
        for name in sorted(score.differences):
            print(f"  {name}: {known.get(name, score.differences[name])}")
    new = {name: found for name, found in score.differences.items() if name not in known}
    assert not new
    assert not known.keys() - score.differences.keys(), "these don't differ any more: take them off the list"


def test_graphs(told: compare.Json, capsys: pytest.CaptureFixture[str]) -> None:
    check(compare.compare_graphs(told), GRAPHS[told["airflow"]], capsys)


def test_templates(told: compare.Json, capsys: pytest.CaptureFixture[str]) -> None:
    check(compare.compare_templates(told), TEMPLATES[told["airflow"]], capsys)


@pytest.mark.timeout(900)
def test_runs(told: compare.Json, capsys: pytest.CaptureFixture[str]) -> None:
    check(compare.compare_runs(told), RUNS[told["airflow"]], capsys)


@pytest.mark.parametrize(
    ("now", "ways"),
    [
        ("2026-11-29T14:59:59", {"date_outside_range", "branch_false", "make_weekend_choice", "branch_weekend"}),
        ("2026-11-29T15:00:00", {"date_in_range", "branch_false", "make_weekend_choice", "branch_weekend"}),
        ("2026-11-30T23:59:59", {"date_in_range", "branch_true"}),
        ("2026-12-01T00:00:00", {"date_outside_range", "branch_false", "make_weekend_choice", "branch_mid_week"}),
    ],
)
def test_ways_that_the_clock_chooses(told: compare.Json, now: str, ways: set[str]) -> None:
    """The expected ways follow the example's own comments, whenever the tests run."""
    asked = {"example_branch_datetime_operator_2", "example_weekday_branch_operator"}
    moment = dt.datetime.fromisoformat(now).replace(tzinfo=dt.UTC)
    answers = [clock.at(dag_id, run, moment) for _, dag_id, run in compare.jobs(told) if dag_id in asked]
    assert len(answers) == len(asked)
    gone = {task for answer in answers for task, state in answer["tasks"].items() if state == "success"}
    assert gone - {"datetime_branch", "make_choice"} == ways
    followed = {
        way for answer in answers for values in answer["xcoms"].values() for way in values["skipmixin_key"]["followed"]
    }
    assert followed == ways - {"make_weekend_choice"}
