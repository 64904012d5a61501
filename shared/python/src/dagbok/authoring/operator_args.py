"""Checks of an operator's arguments, and which of them can't be honoured today.

What would change which tasks run, when, or as whom is refused; what only informs people is a warning.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from dagbok.durations import plain
from dagbok.exceptions import AirflowException
from dagbok.timezone import convert_to_utc, parse

_REFUSED: dict[str, str] = {}
# What is said of an executor that a task names, where the installation makes no pods.
EXECUTOR_IGNORED = "executor is ignored: a task's queue says where it runs"
_WARNED = {
    "executor": EXECUTOR_IGNORED,
}


_IGNORED_OF_DAG = {
    "sla_miss_callback": "sla_miss_callback is not called: alerting tells of a missed sla",
    "access_control": "access_control is ignored: who may use the API may do everything",
    "allowed_run_types": "allowed_run_types is ignored",
    "disable_bundle_versioning": "disable_bundle_versioning is ignored: a run keeps the code it began with",
    "rerun_with_latest_version": "rerun_with_latest_version is ignored",
}


def ignored_of_dag(given: Mapping[str, Any]) -> list[str]:
    """Arguments of a DAG that are accepted and have no effect."""
    # By what they are: a value of the file's own kind is not asked whether it is true.
    return [
        note for name, note in _IGNORED_OF_DAG.items() if all(given.get(name) is not n for n in (None, False))
    ]


def refused_arguments(given: Mapping[str, Any]) -> list[str]:
    """Features asked for that can't be done."""
    return [feature for name, feature in _REFUSED.items() if given.get(name)]


def warned_arguments(given: Mapping[str, Any]) -> list[str]:
    """Arguments that are accepted and have no effect."""
    notes = [note for name, note in _WARNED.items() if given.get(name)]
    if given.get("email") and given.get("email_on_failure"):
        notes.append("email_on_failure mails runs, by a mail receiver of alerting with `dag_email`")
    elif given.get("email") and given.get("email_on_retry"):
        notes.append("email_on_retry mails retries, by a mail receiver of alerting with `dag_email`")
    return notes


def as_timedelta(name: str, value: Any, task_id: str) -> timedelta:
    """Return a duration from a timedelta or seconds."""
    if isinstance(value, timedelta):
        return plain(value)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return timedelta(seconds=value)
    raise AirflowException(
        f"{name} of task `{task_id}` must be a timedelta or seconds, not {type(value).__name__}: {value!r}"
    )


def as_utc(name: str, value: Any) -> datetime | None:
    """Return an instant in UTC; text is parsed, and a naive one counts as UTC."""
    if value is None:
        return None
    if isinstance(value, str):
        return convert_to_utc(parse(value))
    if isinstance(value, datetime):
        return convert_to_utc(value)
    raise AirflowException(f"{name} must be a datetime, not {type(value).__name__}: {value!r}")
