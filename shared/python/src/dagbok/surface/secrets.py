"""What `airflow.secrets` has: the base of secrets backends."""

from __future__ import annotations

import os
from typing import Any

from dagbok.models.hook import LoggingMixin

__all__ = ["DEFAULT_SECRETS_SEARCH_PATH", "BaseSecretsBackend", "EnvironmentVariablesBackend"]

DEFAULT_SECRETS_SEARCH_PATH = ["airflow.secrets.environment_variables.EnvironmentVariablesBackend"]


class BaseSecretsBackend(LoggingMixin):
    """Looks up connections, variables and options somewhere else."""

    @staticmethod
    def build_path(path_prefix: str, secret_id: str, sep: str = "/") -> str:
        """Return a prefix and an id as one path."""
        return f"{path_prefix}{sep}{secret_id}"

    def get_conn_value(self, conn_id: str, team_name: str | None = None) -> str | None:
        """Return a connection as a URI or as JSON; None where there is none."""
        raise NotImplementedError(f"{type(self).__name__} defines no get_conn_value(conn_id)")

    def deserialize_connection(self, conn_id: str, value: str) -> Any:
        """Return the connection of a URI or JSON."""
        from dagbok.models.connection import read

        return read(conn_id, value)

    def get_connection(self, conn_id: str, team_name: str | None = None) -> Any:
        """Return a connection; None where there is none."""
        value = self.get_conn_value(conn_id)
        return self.deserialize_connection(conn_id, value) if value else None

    def get_variable(self, key: str, team_name: str | None = None) -> str | None:
        """Return a variable; None where there is none."""
        raise NotImplementedError(f"{type(self).__name__} defines no get_variable(key)")

    def get_config(self, key: str) -> str | None:
        """Return an option; None where there is none."""
        return None


class EnvironmentVariablesBackend(BaseSecretsBackend):
    """Looks up AIRFLOW_CONN_… and AIRFLOW_VAR_…."""

    def get_conn_value(self, conn_id: str, team_name: str | None = None) -> str | None:
        """Return a connection as a URI or as JSON; None where there is none."""
        return os.environ.get(f"AIRFLOW_CONN_{conn_id.upper()}")

    def get_variable(self, key: str, team_name: str | None = None) -> str | None:
        """Return a variable; None where there is none."""
        return os.environ.get(f"AIRFLOW_VAR_{key.upper()}")
