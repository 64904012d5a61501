"""`airflow.configuration.conf`: options from AIRFLOW__SECTION__KEY, else with Airflow's own defaults.

The few options whose defaults mean something here stand in this file; Airflow's others are in `options.txt`
beside it, written by `tests/oracle/record_options.py`, and read when one is asked for.
"""

from __future__ import annotations

import datetime as dt
import functools
import json
import os
from typing import Any

from dagbok.exceptions import AirflowConfigException

_MISSING: Any = object()
AIRFLOW_HOME = os.environ.get("AIRFLOW_HOME", os.path.expanduser("~/airflow"))
DAGS_FOLDER = os.environ.get("AIRFLOW__CORE__DAGS_FOLDER", os.path.join(AIRFLOW_HOME, "dags"))
_API = "http://127.0.0.1:8793"
_DEFAULTS = {
    ("api", "base_url"): _API,
    ("core", "dags_folder"): DAGS_FOLDER,
    ("core", "default_timezone"): "utc",
    ("core", "load_examples"): "False",
    ("core", "parallelism"): "32",
    ("core", "max_active_tasks_per_dag"): "16",
    ("core", "max_active_runs_per_dag"): "16",
    ("core", "unit_test_mode"): "False",
    ("kubernetes", "namespace"): "default",
    ("kubernetes_executor", "namespace"): "default",
    ("webserver", "base_url"): _API,
    ("operators", "default_deferrable"): "False",
    ("operators", "default_owner"): "airflow",
    ("operators", "default_queue"): "default",
}


@functools.cache
def _airflows() -> dict[tuple[str, str], str]:
    """Return the defaults of Airflow's options, in text."""
    found: dict[tuple[str, str], str] = {}
    section = ""
    with open(
        os.path.join(os.path.dirname(os.path.abspath(__file__)), "options.txt"), encoding="utf-8"
    ) as file:
        for line in file:
            if line.startswith("["):
                section = line.strip("[]\n")
            else:
                key, _, value = line.rstrip("\n").partition(" = ")
                home = value.replace("{AIRFLOW_HOME}", AIRFLOW_HOME)
                found[section, key.removesuffix(" =")] = home.replace("%%", "%")
    return found


def _default(section: str, key: str) -> str | None:
    """Return the default of an option, where it was called by another section once, too."""
    own = _DEFAULTS.get((section, key))
    if own is not None:
        return own
    defaults = _airflows()
    if (section, key) in defaults:
        return defaults[section, key]
    # Options that Airflow moved are asked for where they were: [core] base_log_folder.
    others = [place for place in defaults if place[1] == key and place[0] != section]
    return _default(*others[0]) if section in {"core", "webserver"} and len(others) == 1 else None


class Configuration:
    """Reads options; there is no airflow.cfg."""

    def get(self, section: str, key: str, fallback: Any = _MISSING, **kwargs: Any) -> Any:
        """Return an option as text."""
        value = os.environ.get(f"AIRFLOW__{section.upper()}__{key.upper()}")
        if value is None:
            value = _default(section.lower(), key.lower())
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

    def getlist(self, section: str, key: str, delimiter: str = ",", **kwargs: Any) -> list[str]:
        """Return an option as a list of texts."""
        value = self.get(section, key, **kwargs)
        if not isinstance(value, str):
            return value  # type: ignore[no-any-return]
        return [part.strip() for part in value.split(delimiter)] if value.strip() else []

    def getjson(self, section: str, key: str, fallback: Any = _MISSING, **kwargs: Any) -> Any:
        """Return an option as what its JSON says."""
        value = self.get(section, key, fallback, **kwargs)
        if not isinstance(value, str):
            return value
        if not value:
            return None if fallback is _MISSING else fallback
        try:
            return json.loads(value)
        except ValueError:
            raise AirflowConfigException(
                f"the option {key} in section [{section}] is no JSON: {value!r}"
            ) from None

    def getimport(self, section: str, key: str, **kwargs: Any) -> Any:
        """Return what an option names by its dotted path; None where it is empty."""
        value = self.get(section, key, **kwargs)
        if not value:
            return None
        from dagbok.surface.modules import import_string

        try:
            return import_string(value)
        except ImportError as error:
            raise AirflowConfigException(
                f"the option {key} in section [{section}] can't be imported: {error}"
            ) from error

    def gettimedelta(self, section: str, key: str, **kwargs: Any) -> dt.timedelta | None:
        """Return an option in seconds as a duration."""
        value = self.get(section, key, **kwargs)
        if value is None or isinstance(value, dt.timedelta):
            return value
        return None if value == "" else dt.timedelta(seconds=self.getint(section, key, **kwargs))

    def get_mandatory_value(self, section: str, key: str, **kwargs: Any) -> str:
        """Return an option as text, which it must be."""
        value = self.get(section, key, **kwargs)
        if value is None:
            raise AirflowConfigException(f"the option {key} in section [{section}] must have a value")
        return str(value)

    def get_mandatory_list_value(self, section: str, key: str, **kwargs: Any) -> list[str]:
        """Return an option as a list, which it must be."""
        return self.getlist(section, key, **kwargs)

    def getsection(self, section: str) -> dict[str, Any] | None:
        """Return the options of a section with their values; None where there is none."""
        prefix = f"AIRFLOW__{section.upper()}__"
        keys = {key for place in (_DEFAULTS, _airflows()) for name, key in place if name == section.lower()}
        keys |= {name.removeprefix(prefix).lower() for name in os.environ if name.startswith(prefix)}
        return {key: self.get(section, key) for key in sorted(keys)} or None

    def has_section(self, section: str) -> bool:
        """Whether there are options of a section."""
        return self.getsection(section) is not None

    def has_option(self, section: str, key: str) -> bool:
        """Whether an option has a value."""
        return self.get(section, key, fallback=None) is not None

    def set(self, section: str, key: str, value: Any) -> None:
        """Give an option a value for this process."""
        os.environ[f"AIRFLOW__{section.upper()}__{key.upper()}"] = str(value)


conf = Configuration()
get, getboolean, getint, getfloat, has_option = (
    conf.get,
    conf.getboolean,
    conf.getint,
    conf.getfloat,
    conf.has_option,
)


def get_airflow_home() -> str:
    """Return the folder of Airflow's settings."""
    return AIRFLOW_HOME
