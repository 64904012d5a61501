"""Hooks by the type of their connection, as installed providers declare them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dagbok.exceptions import AirflowException

if TYPE_CHECKING:
    from dagbok.models.connection import Connection

ENTRY_POINTS = "apache_airflow_provider"


def class_of(conn_type: str) -> Any:
    """Return the hook class of a connection type, or an error that says what to install."""
    from importlib import import_module
    from importlib.metadata import entry_points

    for point in entry_points(group=ENTRY_POINTS):
        for declared in point.load()().get("connection-types") or ():
            if declared["connection-type"] == conn_type:
                module, _, name = declared["hook-class-name"].rpartition(".")
                return getattr(import_module(module), name)
    raise AirflowException(
        f'Unknown hook type "{conn_type}": no provider that is installed in the tasks\' Python declares it'
    )


def hook_of(connection: Connection, params: dict[str, Any] | None = None) -> Any:
    """Return a hook for a connection."""
    made = class_of(connection.conn_type or "")
    name = getattr(made, "conn_name_attr", None)
    if not isinstance(name, str):
        raise AirflowException(
            f"the hook {made.__name__} does not say by which argument it is given a connection"
        )
    return made(**{name: connection.conn_id, **(params or {})})


def tested(connection: Connection) -> tuple[bool, str]:
    """Try a connection by its hook; return whether it works, and what was said."""
    try:
        hook = hook_of(connection)
    except Exception as error:
        return False, str(error)
    if not hasattr(hook, "test_connection"):
        return False, (f"Hook {type(hook).__name__} doesn't implement or inherit test_connection method")
    try:
        worked, said = hook.test_connection()
    except Exception as error:
        return False, str(error)
    return bool(worked), str(said)
