"""Stand-ins for what Airflow has and nobody can have here: classes of the ORM, the web server, the executors.

They are classes, so that they can be imported, annotated with and inherited from. What calls one, or asks
it for something, is told what to use instead; so it fails at the line that needs it, and at no other.
"""

from __future__ import annotations

import functools
from abc import ABCMeta
from typing import Any, NoReturn

from dagbok.compat.advice import hint
from dagbok.exceptions import NotSupportedYet

# Parts of the server: whatever module or name is asked for below one of these, it may exist.
SERVERS = (
    "airflow.api",
    "airflow.api_connexion",
    "airflow.api_fastapi",
    "airflow.api_internal",
    "airflow.auth",
    "airflow.callbacks",
    "airflow.cli",
    "airflow.config_templates",
    "airflow.dag_processing",
    "airflow.executors",
    "airflow.jobs",
    "airflow.metrics",
    "airflow.migrations",
    "airflow.observability",
    "airflow.sdk.api",
    "airflow.sdk.execution_time",
    "airflow.sdk.serde",
    "airflow.security",
    "airflow.serialization",
    "airflow.task.task_runner",
    "airflow.ti_deps",
    "airflow.traces",
    "airflow.www",
)


def is_of_server(module: str) -> bool:
    """Whether a module is a part of Airflow's server."""
    return any(module == server or module.startswith(f"{server}.") for server in SERVERS)


class CantBeUsed(NotSupportedYet, AttributeError):
    """A stand-in was asked for something; an AttributeError too, so that `hasattr` and defaults work."""


class AbsentMeta(ABCMeta):
    """The class of the stand-ins: whatever is done with one says what it is."""

    def __call__(cls, *args: Any, **kwargs: Any) -> NoReturn:
        """Say that it is not here."""
        cls._say()

    def __getattr__(cls, name: str) -> Any:
        # Whoever only looks around (inspect, typing, mock) asks for such names.
        if name.startswith("_"):
            raise AttributeError(name)
        from dagbok.surface.columns import column_of

        column = column_of(cls.__name__, name) if cls.__module__.startswith("airflow.") else None
        if column is None:
            cls._say(f".{name}")
        return column

    def __clause_element__(cls) -> NoReturn:
        """Tell SQLAlchemy, which selects rows of it, what to use instead."""
        from dagbok.surface.columns import refuse_query

        refuse_query(cls.__name__)

    def __getitem__(cls, item: Any) -> Any:
        return cls

    def __iter__(cls) -> Any:
        cls._say()

    def _say(cls, more: str = "") -> NoReturn:
        path: str = cls.__dict__.get("_path") or next(
            base.__dict__["_path"] for base in cls.__mro__ if "_path" in base.__dict__
        )
        raise CantBeUsed(f"{path}{more} can't be used here: {hint(path)}")


@functools.cache
def absent(path: str) -> AbsentMeta:
    """Return the stand-in for what Airflow calls `path`, the module first."""
    module, _, name = path.rpartition(".")
    said = f"Stands for {path}, which can't be used here."
    # Named in an `except`, it must be one: the error that came would be lost otherwise.
    bases = (Exception,) if name.endswith(("Error", "Exception", "Warning")) else ()
    return AbsentMeta(name, bases, {"__module__": module, "__doc__": said, "_path": path})
