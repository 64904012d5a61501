"""What to say about an `airflow.…` name that there is no answer for."""

from __future__ import annotations

_API = "use the REST API under /api/v2"
_PREFIXES: tuple[tuple[str, str], ...] = (
    ("airflow.utils.session", f"tasks have no database session; {_API}"),
    ("airflow.utils.db", f"there is no database; {_API}"),
    ("airflow.settings", f"there is no database session; {_API}"),
    ("airflow.www", f"the web server's parts do not exist here; {_API}"),
    ("airflow.api", f"the server's parts do not exist here; {_API}"),
    ("airflow.auth", f"the web server's parts do not exist here; {_API}"),
    ("airflow.security", f"the web server's parts do not exist here; {_API}"),
    ("airflow.contrib", "its class was dropped; look for its like in a provider's package"),
    ("airflow.cli", "Airflow's command line does not exist here; see `dagbok --help`"),
    ("airflow.utils.cli", "Airflow's command line does not exist here; see `dagbok --help`"),
    ("airflow.listeners", "listeners are not supported; follow `dagbok events --follow` instead"),
    ("airflow.executors", "executors are not chosen in DAG files; `dagbok executor` runs tasks"),
    ("airflow.jobs", "Airflow's jobs do not exist here; `dagbok standalone` runs all services"),
    ("airflow.operators.subdag", "SubDAGs are gone; use a TaskGroup (airflow.utils.task_group)"),
    ("airflow.models.dagbag", "the DAG bag does not exist here; `dagbok dags list` lists DAGs"),
    ("airflow.models.DagBag", "the DAG bag does not exist here; `dagbok dags list` lists DAGs"),
    ("airflow.models.DagModel", f"there is no table of DAGs to query; {_API}/dags"),
    ("airflow.models.dag.DagModel", f"there is no table of DAGs to query; {_API}/dags"),
    ("airflow.models.log", f"there is no table of events to query; {_API}/eventLogs"),
    ("airflow.models.Log", f"there is no table of events to query; {_API}/eventLogs"),
    ("airflow.models.pool", f"pools can't be changed by tasks; `dagbok pools set`, or {_API}/pools"),
    ("airflow.models.Pool", f"pools can't be changed by tasks; `dagbok pools set`, or {_API}/pools"),
    ("airflow.models.xcom", "XComs are no table to query; use ti.xcom_pull and ti.xcom_push"),
    ("airflow.models", f"there is no database to query; {_API}"),
    ("airflow.utils.sqlalchemy", f"there is no database; {_API}"),
)
# Whose packages are called by two of their names.
NAMESPACES = frozenset(["apache", "atlassian", "cncf", "common", "dbt", "microsoft"])


def advice(fullname: str) -> str:
    """Say what is missing and what to use instead."""
    if fullname.startswith("airflow.providers."):
        return f"no {fullname}: {provider_hint(fullname)}"
    return f"no {fullname}: {hint(fullname)}"


def hint(fullname: str) -> str:
    """Say what to use in the place of a name."""
    for prefix, text in _PREFIXES:
        if fullname.startswith(prefix):
            return text
    return "Dagbok does not have this part of Airflow; if a task needs it, please open an issue"


def provider_package(fullname: str) -> str:
    """Return the distribution that a module below `airflow.providers` comes in."""
    parts = fullname.split(".")[2:]
    return "apache-airflow-providers-" + "-".join(parts[: 2 if parts[0] in NAMESPACES else 1])


def provider_hint(fullname: str) -> str:
    """Say how to get a provider's module, or a name that it does not have."""
    from importlib import metadata

    package = provider_package(fullname)
    try:
        version = metadata.version(package)
    except metadata.PackageNotFoundError:
        return (
            f"its provider is not installed in this Python; `pip install --no-deps {package}` "
            "and what that needs, without apache-airflow"
        )
    return (
        f"{package} {version} is installed and does not have it; where an older version does, "
        f"`pip install --no-deps '{package}<{version}'`, or change the import"
    )
