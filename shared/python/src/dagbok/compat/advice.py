"""What to say about an `airflow.…` name that there is no answer for."""

from __future__ import annotations

_PREFIXES: tuple[tuple[str, str], ...] = (
    ("airflow.providers.", ""),
    ("airflow.contrib.", "airflow.contrib is of Airflow 1; import it from airflow.providers.… instead"),
    ("airflow.utils.session", "tasks have no database session; use the REST API under /api/v2"),
    ("airflow.utils.db", "there is no database; use the REST API under /api/v2"),
    ("airflow.settings", "there is no database session; use the REST API under /api/v2"),
    ("airflow.www", "the web server's parts do not exist here; use the REST API under /api/v2"),
    ("airflow.api", "the server's parts do not exist here; use the REST API under /api/v2"),
    ("airflow.plugins_manager", "plugins are not supported; import your code from the DAG folder instead"),
    ("airflow.listeners", "listeners are not supported; follow `dagbok events --follow` instead"),
    ("airflow.executors", "executors are not chosen in DAG files; `dagbok executor` runs tasks"),
    ("airflow.operators.subdag", "SubDAGs are gone; use a TaskGroup (airflow.utils.task_group)"),
    ("airflow.triggers", "deferrable operators are not supported yet; use a sensor in poke mode"),
    ("airflow.models.dagbag", "the DAG bag does not exist here; `dagbok dags list` lists DAGs"),
    ("airflow.models.DagBag", "the DAG bag does not exist here; `dagbok dags list` lists DAGs"),
)


def advice(fullname: str) -> str:
    """Say what is missing and what to use instead."""
    if fullname.startswith("airflow.providers."):
        return _provider(fullname)
    hint = next((text for prefix, text in _PREFIXES if text and fullname.startswith(prefix)), "")
    if not hint:
        hint = "Dagbok does not have this part of Airflow; if a task needs it, please open an issue"
    return f"no {fullname}: {hint}"


def _provider(fullname: str) -> str:
    parts = fullname.split(".")[2:]
    package = "-".join(
        parts[:2] if parts[0] in {"apache", "cncf", "common", "microsoft", "dbt"} else parts[:1]
    )
    return (
        f"no {fullname}: its provider is not installed in this Python; `pip install --no-deps "
        f"apache-airflow-providers-{package}` and what that needs, without apache-airflow"
    )
