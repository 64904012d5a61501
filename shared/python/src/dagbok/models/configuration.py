"""`airflow.configuration.conf`: options from AIRFLOW__SECTION__KEY, and the few that have a value here."""

from __future__ import annotations

import os
from typing import Any

from dagbok.exceptions import AirflowConfigException

_MISSING: Any = object()
AIRFLOW_HOME = os.environ.get("AIRFLOW_HOME", os.path.expanduser("~/airflow"))
DAGS_FOLDER = os.environ.get("AIRFLOW__CORE__DAGS_FOLDER", os.path.join(AIRFLOW_HOME, "dags"))
_DEFAULTS = {
    ("core", "dags_folder"): DAGS_FOLDER,
    ("core", "default_timezone"): "utc",
    ("core", "load_examples"): "False",
    ("core", "parallelism"): "32",
    ("core", "max_active_tasks_per_dag"): "16",
    ("core", "max_active_runs_per_dag"): "16",
    ("core", "unit_test_mode"): "False",
    ("webserver", "base_url"): "http://127.0.0.1:8793",
    ("operators", "default_deferrable"): "False",
    ("operators", "default_owner"): "airflow",
    ("operators", "default_queue"): "default",
}


class Configuration:
    """Reads options; there is no airflow.cfg."""

    def get(self, section: str, key: str, fallback: Any = _MISSING, **kwargs: Any) -> Any:
        """Return an option as text."""
        value = os.environ.get(f"AIRFLOW__{section.upper()}__{key.upper()}")
        if value is None:
            value = _DEFAULTS.get((section.lower(), key.lower()))
        if value is not None:
            return value
        if fallback is not _MISSING:
            return fallback
        raise AirflowConfigException(
            f"there is no option {key} in section [{section}]; set AIRFLOW__{section.upper()}__{key.upper()}"
        )

    def getboolean(self, section: str, key: str, **kwargs: Any) -> bool:
        """Return an option as a truth value."""
        value = self.get(section, key, **kwargs)
        if isinstance(value, bool):
            return value
        text = str(value).strip().lower()
        if text in {"t", "true", "1"}:
            return True
        if text in {"f", "false", "0"}:
            return False
        raise AirflowConfigException(f"the option {key} in section [{section}] is no truth value: {value!r}")

    def getint(self, section: str, key: str, **kwargs: Any) -> int:
        """Return an option as a whole number."""
        return int(self._number(int, section, key, kwargs))

    def getfloat(self, section: str, key: str, **kwargs: Any) -> float:
        """Return an option as a number."""
        return float(self._number(float, section, key, kwargs))

    def _number(self, kind: Any, section: str, key: str, kwargs: dict[str, Any]) -> Any:
        value = self.get(section, key, **kwargs)
        try:
            return kind(value)
        except (TypeError, ValueError):
            raise AirflowConfigException(
                f"the option {key} in section [{section}] is no number: {value!r}"
            ) from None

    def has_option(self, section: str, key: str) -> bool:
        """Whether an option has a value."""
        return self.get(section, key, fallback=None) is not None


conf = Configuration()
