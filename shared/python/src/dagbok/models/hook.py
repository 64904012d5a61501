"""The base of hooks: a logger and a way to connections."""

from __future__ import annotations

import logging
from typing import Any

from dagbok.models.connection import Connection, get_connection


class LoggingMixin:
    """Gives a class `self.log`."""

    def __init__(self, context: Any = None) -> None:
        pass

    @property
    def log(self) -> logging.Logger:
        """The logger of the class."""
        return logging.getLogger(f"airflow.task.hooks.{type(self).__module__}.{type(self).__qualname__}")

    @classmethod
    def logger(cls) -> logging.Logger:
        """Return the logger of the class."""
        return logging.getLogger(f"{cls.__module__}.{cls.__qualname__}")


class BaseHook(LoggingMixin):
    """A client of another system, made from a connection."""

    def __init__(self, logger_name: str | None = None) -> None:
        super().__init__()

    @classmethod
    def get_connection(cls, conn_id: str) -> Connection:
        """Return the connection of an id."""
        return get_connection(conn_id)

    @classmethod
    def get_hook(cls, conn_id: str, hook_params: dict[str, Any] | None = None) -> Any:
        """Return a hook for a connection, by its type."""
        return get_connection(conn_id).get_hook(hook_params=hook_params)

    def get_conn(self) -> Any:
        """Connect."""
        raise NotImplementedError(f"{type(self).__name__} defines no get_conn()")
