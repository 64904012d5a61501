"""Columns of Airflow's tables, as files name them on classes: `DagRun.dag_id == "etl"`.

Files that tidy Airflow's database up list them at their top level. There is no database here: a column can be
named and compared, and whoever asks for its value is told what to use instead.
"""

from __future__ import annotations

from typing import Any, NoReturn

from dagbok.exceptions import NotSupportedYet

__all__ = ["Column", "WithColumns", "column_of", "refuse_query"]

_OF = {
    "DagRun": """
        id dag_id run_id queued_at execution_date logical_date start_date end_date state run_type run_after
        triggered_by external_trigger conf creating_job_id data_interval_start data_interval_end updated_at
        last_scheduling_decision dag_hash log_template_id clear_number backfill_id bundle_version
        task_instances
    """,
    "TaskInstance": """
        id task_id dag_id run_id map_index start_date end_date duration state try_number max_tries hostname
        unixname pool pool_slots queue priority_weight operator queued_dttm queued_by_job_id pid executor
        executor_config updated_at external_executor_id trigger_id trigger_timeout next_method next_kwargs
        execution_date dag_run
    """,
    "XCom": """
        dag_run_id task_id map_index key dag_id run_id value timestamp execution_date logical_date
    """,
    "DagModel": """
        dag_id is_paused is_subdag is_active is_stale last_parsed_time last_pickled last_expired pickle_id
        last_scheduler_run scheduler_lock fileloc relative_fileloc processor_subdir owners dag_display_name
        description default_view schedule_interval timetable_summary timetable_description dataset_expression
        asset_expression tags next_dagrun next_dagrun_create_after next_dagrun_data_interval_start
        next_dagrun_data_interval_end max_active_runs max_active_tasks max_consecutive_failed_dag_runs
        has_task_concurrency_limits has_import_errors bundle_name bundle_version root_dag_id dag_owner_links
    """,
    "Log": """
        id dttm dag_id task_id run_id map_index event execution_date logical_date owner owner_display_name
        extra try_number
    """,
    "SlaMiss": "task_id dag_id execution_date email_sent timestamp description notification_sent",
    "TaskFail": "id task_id dag_id run_id map_index start_date end_date duration execution_date",
    "TaskReschedule": """
        id task_id dag_id run_id map_index try_number ti_id start_date end_date duration reschedule_date
        execution_date
    """,
    "RenderedTaskInstanceFields": """
        dag_id task_id run_id map_index rendered_fields k8s_pod_yaml execution_date
    """,
    "ImportError": "id timestamp filename stacktrace bundle_name",
    "ParseImportError": "id timestamp filename stacktrace bundle_name",
    "Job": """
        id dag_id state job_type start_date end_date latest_heartbeat executor_class hostname unixname
    """,
    "Trigger": "id classpath kwargs created_date triggerer_id",
    "DagTag": "name dag_id",
    "DagCode": "fileloc_hash fileloc last_updated source_code source_code_hash dag_id",
    "SerializedDagModel": """
        dag_id fileloc data data_compressed created_at last_updated dag_hash processor_subdir load_op_links
    """,
    "DagVersion": "id version_number dag_id bundle_name bundle_version created_at last_updated",
    "DagWarning": "dag_id warning_type message timestamp",
    "Pool": "id pool slots description include_deferred",
    "CallbackRequest": "id created_at priority_weight callback_data callback_type",
}
for _new in ("Asset", "Dataset"):
    _OF[f"{_new}Model"] = "id name uri group extra created_at updated_at is_orphaned"
    _OF[f"{_new}Event"] = f"""
        id {_new.lower()}_id extra source_task_id source_dag_id source_run_id source_map_index timestamp
    """
    _OF[f"{_new}DagRunQueue"] = f"{_new.lower()}_id target_dag_id created_at"
_OF["BaseJob"] = _OF["Job"]
_NAMES = {model: frozenset(names.split()) for model, names in _OF.items()}


def column_of(model: str, name: str) -> Column | None:
    """Return a model's column of that name, where it has one."""
    return Column(f"{model}.{name}") if name in _NAMES.get(model, ()) else None


class Column:
    """A column of a table that is not there, or what is made of some."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __repr__(self) -> str:
        return self._name

    def __getattr__(self, name: str) -> Column:
        if name.startswith("__"):
            raise AttributeError(name)
        return Column(f"{self._name}.{name}")

    def __call__(self, *_: Any, **__: Any) -> Column:
        """Note that something is made of it."""
        return Column(f"{self._name}(…)")

    def _with(self, other: Any) -> Column:
        return Column(f"({self._name}, {other!r})")

    __lt__ = __le__ = __gt__ = __ge__ = __and__ = __or__ = __add__ = __sub__ = _with

    def __eq__(self, other: object) -> Any:
        """Note the comparison; its value is nobody's."""
        return self._with(other)

    def __ne__(self, other: object) -> Any:
        return self._with(other)

    def __invert__(self) -> Column:
        return Column(f"not {self._name}")

    __hash__ = object.__hash__

    def _refuse(self) -> NoReturn:
        from dagbok.compat.advice import hint

        model = self._name.lstrip("(").partition(".")[0]
        raise NotSupportedYet(
            f"{self._name} can't be used for a value: tasks have no database to query; "
            f"{hint(f'airflow.models.{model}')}, or DagRun.find and ti.xcom_pull"
        )

    def __clause_element__(self) -> NoReturn:
        """Tell SQLAlchemy, which makes a query of it, that there is none to make."""
        self._refuse()

    def __bool__(self) -> bool:
        return bool(self._refuse())

    def __iter__(self) -> Any:
        self._refuse()


class WithColumns(type):
    """Makes classes whose tables' columns can be named, also where objects have a property of that name."""

    def __getattribute__(cls, name: str) -> Any:
        # Of objects it is not asked, and whoever looks around asks for names with underscores.
        if not name.startswith("_"):
            for base in type.__getattribute__(cls, "__mro__"):
                column = column_of(base.__name__, name)
                if column is not None:
                    return column
        return super().__getattribute__(name)

    def __clause_element__(cls) -> NoReturn:
        """Tell SQLAlchemy, which selects rows of it, that there are none."""
        refuse_query(cls.__name__)


def refuse_query(model: str) -> NoReturn:
    """Say what to use in the place of a query of a model."""
    from dagbok.compat.advice import hint

    raise NotSupportedYet(
        f"a query of {model} can't be made: tasks have no database; {hint(f'airflow.models.{model}')}, or "
        "DagRun.find and ti.xcom_pull"
    )
