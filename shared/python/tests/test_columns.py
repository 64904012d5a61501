"""Columns of Airflow's tables that files name at their top level, as those do that tidy its database up."""

from __future__ import annotations

import pytest

from conftest import Folder
from dagbok.compat.absent import absent
from dagbok.exceptions import NotSupportedYet
from dagbok.runtime.dag_run import DagRun
from dagbok.runtime.task_instance import TaskInstance
from dagbok.surface.columns import _NAMES, Column


def test_columns_are_named_and_compared() -> None:
    assert repr(DagRun.external_trigger.is_(False)) == "DagRun.external_trigger.is_(…)"
    assert isinstance(DagRun.dag_id == "etl", Column)
    assert repr(DagRun.queued_at) == "DagRun.queued_at"
    assert repr(DagRun.queued_at.desc()) == "DagRun.queued_at.desc(…)"
    assert repr((DagRun.dag_id == "a") & ~(DagRun.run_id < "b")).startswith("((DagRun.dag_id, 'a'), not ")
    assert len({DagRun.dag_id, DagRun.run_id}) == 2


@pytest.mark.parametrize("model", [DagRun, TaskInstance])
def test_each_column_is_one_also_where_objects_have_a_property(model: type) -> None:
    class Mine(model):  # type: ignore[misc]
        pass

    for name in _NAMES[model.__name__]:
        assert isinstance(getattr(model, name), Column), name
        assert isinstance(getattr(Mine, name), Column), name
    assert DagRun({"run_type": "manual"}).external_trigger is True


def test_models_that_are_not_here_have_columns_all_the_same() -> None:
    assert repr(absent("airflow.models.log.Log").dttm) == "Log.dttm"
    assert isinstance(absent("airflow.models.sla.SlaMiss").execution_date, Column)
    assert isinstance(absent("airflow.jobs.base_job.BaseJob").latest_heartbeat, Column)
    with pytest.raises(NotSupportedYet, match="can't be used here"):
        absent("airflow.models.log.Log").nothing


def test_whoever_asks_for_their_values_is_told_what_to_use() -> None:
    with pytest.raises(NotSupportedYet, match=r"DagRun\.find"):
        bool(DagRun.dag_id == "etl")
    with pytest.raises(NotSupportedYet, match="no database"):
        list(TaskInstance.state)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        DagRun.nothing
    assert not hasattr(TaskInstance, "nothing")


def test_a_query_is_refused_at_its_line_with_what_to_use() -> None:
    sqlalchemy = pytest.importorskip("sqlalchemy")
    dag_model = absent("airflow.models.dag.DagModel")
    for query, words in (
        (lambda: sqlalchemy.select(dag_model).where(dag_model.is_paused.is_(False)), "/api/v2/dags"),
        (lambda: sqlalchemy.select(DagRun), r"DagRun\.find"),
        (lambda: sqlalchemy.select(TaskInstance.state), "no database"),
        (lambda: sqlalchemy.delete(absent("airflow.models.log.Log")), "/api/v2/eventLogs"),
    ):
        with pytest.raises(NotSupportedYet, match=words):
            query()


def test_a_file_that_tidies_the_database_up_is_read(folder: Folder) -> None:
    spec = folder.spec("""
        from airflow.jobs.base_job import BaseJob
        from airflow.models import DagModel, DagRun, Log, SlaMiss, TaskInstance, TaskReschedule, XCom
        OBJECTS = [
            {"column": DagRun.execution_date, "filters": [DagRun.external_trigger.is_(False)]},
            {"column": TaskInstance.execution_date <= 3, "order": DagRun.execution_date.desc()},
            {"column": Log.dttm}, {"column": XCom.execution_date}, {"column": SlaMiss.execution_date},
            {"column": DagModel.last_parsed_time}, {"column": TaskReschedule.execution_date},
            {"column": BaseJob.latest_heartbeat}, {"column": Log.event, "filters": [DagModel.is_paused == True]},
        ]
        with DAG("cleanup", start_date=datetime(2024, 1, 1), schedule=None):
            PythonOperator(task_id="t", python_callable=print)
    """)
    assert spec["dag_id"] == "cleanup"
