"""Small vocabularies and marks: what `airflow.utils.types`, `state`, `xcom` and their like have."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, StrEnum
from typing import Any, TypedDict, TypeVar

from dagbok.authoring.dag import NOTSET
from dagbok.authoring.xcom_arg import XCOM_RETURN_KEY

__all__ = [
    "DB_SAFE_MAXIMUM",
    "DB_SAFE_MINIMUM",
    "MAX_XCOM_SIZE",
    "NOTSET",
    "SET_DURING_EXECUTION",
    "XCOM_RETURN_KEY",
    "ArgNotSet",
    "AssetAccessControl",
    "AssetScope",
    "CallbackState",
    "DagRunTriggeredByType",
    "EdgeInfoType",
    "IntermediateTIState",
    "JobState",
    "Singleton",
    "TaskScope",
    "TerminalTIState",
    "action_cli",
    "db_safe_priority",
    "is_arg_set",
    "providers_configuration_loaded",
    "redact",
    "remove_escape_codes",
    "should_hide_value_for_key",
]  # fmt: skip

F = TypeVar("F")
ArgNotSet: Any = type(NOTSET)
ScheduleInterval = Any
MAX_XCOM_SIZE = 49344
DB_SAFE_MINIMUM, DB_SAFE_MAXIMUM = -(2**31), 2**31 - 1


def is_arg_set(value: Any) -> bool:
    """Whether an argument was given."""
    return value is not NOTSET


class SetDuringExecution:
    """Stands for an argument that has its value only while the task runs."""

    def __repr__(self) -> str:
        return "DYNAMIC (set during execution)"


SET_DURING_EXECUTION = SetDuringExecution()


class EdgeInfoType(TypedDict):
    """What is known of an edge."""

    label: str | None


class DagRunTriggeredByType(StrEnum):
    """Who asked for a run."""

    CLI = "cli"
    OPERATOR = "operator"
    REST_API = "rest_api"
    UI = "ui"
    TEST = "test"
    TIMETABLE = "timetable"
    ASSET = "asset"
    BACKFILL = "backfill"


class JobState(StrEnum):
    """The state of one of Airflow's jobs."""

    RUNNING = "running"
    SUCCESS = "success"
    RESTARTING = "restarting"
    FAILED = "failed"


class CallbackState(StrEnum):
    """The state of a callback."""

    SCHEDULED = "scheduled"
    PENDING = "pending"
    QUEUED = "queued"
    RUNNING = "running"
    SUCCESS = "success"
    FAILED = "failed"


class TerminalTIState(StrEnum):
    """States in which a task is over."""

    SUCCESS = "success"
    FAILED = "failed"
    SKIPPED = "skipped"
    UPSTREAM_FAILED = "upstream_failed"
    REMOVED = "removed"


class IntermediateTIState(StrEnum):
    """States in which a task is not over."""

    SCHEDULED = "scheduled"
    QUEUED = "queued"
    RESTARTING = "restarting"
    UP_FOR_RETRY = "up_for_retry"
    UP_FOR_RESCHEDULE = "up_for_reschedule"
    DEFERRED = "deferred"


class TaskScope(Enum):
    """Whose state a task keeps."""

    TASK = "task"


class AssetScope(Enum):
    """Whose state an asset keeps."""

    ASSET = "asset"


@dataclass(frozen=True)
class AssetAccessControl:
    """Which teams an asset's events come from and go to; accepted, and not carried out."""

    producer_teams: Any = ()
    consumer_teams: Any = ()
    allow_global: bool = True


class Singleton(type):
    """The class of classes with one instance each."""

    _instances: dict[Any, Any] = {}  # noqa: RUF012 (of the class of classes, not of its instances)

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        """Return the one instance."""
        if cls not in Singleton._instances:
            Singleton._instances[cls] = super().__call__(*args, **kwargs)
        return Singleton._instances[cls]


# Which languages `template_fields_renderers` may name.
_RENDERERS = (
    "bash", "doc", "doc_json", "doc_md", "doc_rst", "doc_yaml", "hql", "html", "jinja", "json", "md", "mysql",
    "postgresql", "powershell", "py", "python_callable", "rst", "sql", "tsql", "yaml",
)  # fmt: skip


def db_safe_priority(priority_weight: int) -> int:
    """Return a weight within 32 bits."""
    return max(DB_SAFE_MINIMUM, min(DB_SAFE_MAXIMUM, priority_weight))


def pod_mutation_hook(pod: Any) -> None:
    """Change nothing of a pod."""


def action_cli(func: Any = None, check_db: bool = True) -> Any:
    """Do nothing to a command of Airflow's command line."""
    return func if callable(func) else (lambda wrapped: wrapped)


def providers_configuration_loaded(func: Callable[..., F]) -> Callable[..., F]:
    """Do nothing to a function: providers' options are always there."""
    return func


def remove_escape_codes(text: str) -> str:
    """Return text without the codes that colour it."""
    import re

    return re.sub(r"\x1b\[([0-9,A-Z]{1,2}(;[0-9]{1,2})?(;[0-9]{3})?)?[m|K]?", "", text)


def redact(value: Any, name: str | None = None, max_depth: int | None = None) -> Any:
    """Return a value without the secrets in it."""
    from dagbok.masking import masked

    return masked(value, name)


def get_attr_renderer() -> dict[str, Callable[[Any], str]]:
    """Return what shows a rendered field, by the name of its language: classes ask which names there are."""
    return dict.fromkeys(_RENDERERS, str)


def should_hide_value_for_key(name: Any) -> bool:
    """Whether what is called so is a secret."""
    from dagbok.masking import is_telling

    return is_telling(name)


def __getattr__(name: str) -> Any:
    if name == "cached_property":
        import functools

        return functools.cached_property
    if name == "DEFAULT_SENSITIVE_FIELDS":
        from dagbok.masking import TELLING

        return frozenset(TELLING)
    raise AttributeError(name)
