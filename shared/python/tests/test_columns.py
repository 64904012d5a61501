"""Columns of Airflow's tables that files name at their top level, as those do that tidy its database up."""

from __future__ import annotations

import pytest

from dagbok.exceptions import NotSupportedYet
from dagbok.runtime.dag_run import DagRun
from dagbok.runtime.task_instance import TaskInstance


def test_columns_are_named_and_compared() -> None:
    kept = [DagRun.external_trigger is False, DagRun.dag_id == "etl", TaskInstance.state.in_(["failed"])]
    assert kept[0] is False
    assert repr(DagRun.queued_at) == "DagRun.queued_at"
    assert repr(DagRun.queued_at.desc()) == "DagRun.queued_at.desc(…)"
    assert repr((DagRun.dag_id == "a") & ~(DagRun.run_id < "b")).startswith("((DagRun.dag_id, 'a'), not ")
    assert len({DagRun.dag_id, DagRun.run_id}) == 2


def test_whoever_asks_for_their_values_is_told_what_to_use() -> None:
    with pytest.raises(NotSupportedYet, match=r"DagRun\.find"):
        bool(DagRun.dag_id == "etl")
    with pytest.raises(NotSupportedYet, match="no database"):
        list(TaskInstance.state)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        DagRun.nothing
    assert not hasattr(TaskInstance, "nothing")
