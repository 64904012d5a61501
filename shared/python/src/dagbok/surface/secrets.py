"""What `airflow.secrets` has: the base of secrets backends."""

from __future__ import annotations

import os
from typing import Any

from dagbok.models.hook import LoggingMixin

__all__ = [
    "DEFAULT_SECRETS_SEARCH_PATH",
    "BaseSecretsBackend",
    "EnvironmentVariablesBackend",
    "LocalFilesystemBackend",
    "MetastoreBackend",
]

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

    def _set_connection_class(self, connection_class: Any) -> None:
        """Accept what Airflow hands over; there is one class of connections here."""

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


class MetastoreBackend(BaseSecretsBackend):
    """Looks up what is on the log, for the task that runs."""

    def get_connection(self, conn_id: str, team_name: str | None = None, session: Any = None) -> Any:
        """Return a connection; None where there is none."""
        from dagbok.models.connection import of_log

        return of_log(conn_id)

    def get_variable(self, key: str, team_name: str | None = None, session: Any = None) -> str | None:
        """Return a variable; None where there is none."""
        from dagbok.models.variable import of_log

        return of_log(key)


class LocalFilesystemBackend(BaseSecretsBackend):
    """Looks up files of JSON, YAML or `.env`, which are read each time."""

    def __init__(
        self, variables_file_path: str | None = None, connections_file_path: str | None = None
    ) -> None:
        super().__init__()
        self.variables_file, self.connections_file = variables_file_path, connections_file_path

    def get_connection(self, conn_id: str, team_name: str | None = None) -> Any:
        """Return a connection; None where there is none."""
        from dagbok.models.secret_files import load_connections_dict

        return load_connections_dict(self.connections_file).get(conn_id) if self.connections_file else None

    def get_variable(self, key: str, team_name: str | None = None) -> Any:
        """Return a variable; None where there is none."""
        from dagbok.models.secret_files import load_variables

        return load_variables(self.variables_file).get(key) if self.variables_file else None
