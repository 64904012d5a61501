"""Operators for one kind of database each, which providers dropped: all are SQLExecuteQueryOperator now.

Each is named here as files name it, with the argument that used to name its connection.
"""

from __future__ import annotations

import functools
import importlib
import inspect
from typing import Any

_CONNECTIONS = {
    "ExasolOperator": "exasol",
    "JdbcOperator": "jdbc",
    "MsSqlOperator": "mssql",
    "MySqlOperator": "mysql",
    "OracleOperator": "oracle",
    "PostgresOperator": "postgres",
    "RedshiftSQLOperator": "redshift",
    "SnowflakeOperator": "snowflake",
    "SqliteOperator": "sqlite",
    "TrinoOperator": "trino",
    "VerticaOperator": "vertica",
}
# Arguments that the hook takes now.
_TO_HOOK = {
    "SnowflakeOperator": ("warehouse", "database", "role", "schema", "authenticator", "session_parameters"),
    "MsSqlOperator": ("database",),
}


@functools.cache
def operator(name: str) -> type[Any]:
    """Make the class of a name: its connection goes by `<kind>_conn_id`, and is `<kind>_default` at first."""
    base: Any = importlib.import_module("airflow.providers.common.sql.operators.sql").SQLExecuteQueryOperator
    argument = f"{_CONNECTIONS[name]}_conn_id"
    default = f"{_CONNECTIONS[name]}_default"
    to_hook = _TO_HOOK.get(name, ())

    def __init__(self: Any, **kwargs: Any) -> None:
        named = kwargs.pop(argument, None)
        params = {**(kwargs.pop("hook_params", None) or {})}
        params.update({key: kwargs.pop(key) for key in to_hook if kwargs.get(key) is not None})
        if runtime := kwargs.pop("runtime_parameters", None):
            params["options"] = " ".join(f"-c {key}={value}" for key, value in runtime.items())
        conn_id = kwargs.pop("conn_id", None) or named or default
        base.__init__(self, conn_id=conn_id, hook_params=params, **kwargs)
        setattr(self, argument, conn_id)

    # Whose names `default_args` are matched against.
    named = [inspect.Parameter(key, inspect.Parameter.KEYWORD_ONLY, default=None)
             for key in (argument, "runtime_parameters", *to_hook)]  # fmt: skip
    own = inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    rest = inspect.Parameter("kwargs", inspect.Parameter.VAR_KEYWORD)
    __init__.__signature__ = inspect.Signature([own, *named, rest])  # type: ignore[attr-defined]
    fields = {
        "__init__": __init__,
        "__module__": __name__,
        "__doc__": f"SQLExecuteQueryOperator, its connection called {argument}.",
        "template_fields": (*base.template_fields, argument),
    }
    made: type[Any] = type(base)(name, (base,), fields)
    return made


def __getattr__(name: str) -> Any:
    if name in _CONNECTIONS:
        return operator(name)
    raise AttributeError(name)
