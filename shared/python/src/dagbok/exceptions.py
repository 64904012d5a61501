"""Exceptions, under the names that Airflow gives them.

Deliberately absent: those of the ORM, the web server and the executors, which nothing here raises.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sized
from typing import Any


class AirflowException(Exception):
    """Base of the errors that operators raise; the try fails and may be retried."""


class NotSupportedYet(AirflowException):
    """A part of Airflow that Dagbok knows and can't do today; the message names it."""


class AirflowNotFoundException(AirflowException):
    """Something that was asked for by name does not exist."""


class AirflowConfigException(AirflowException):
    """A configuration option is missing or malformed."""


class AirflowSkipException(AirflowException):
    """Ends the try as skipped."""


class AirflowFailException(AirflowException):
    """Ends the try as failed, without a retry."""


class AirflowSensorTimeout(AirflowException):
    """A sensor waited longer than its timeout; the try fails without a retry."""


class AirflowOptionalProviderFeatureException(AirflowException):
    """A provider's optional dependency is missing."""


class AirflowRescheduleException(AirflowException):
    """Ends a leg of the try, which goes on no sooner than that date, without using up a retry."""

    def __init__(self, reschedule_date: dt.datetime) -> None:
        if not isinstance(reschedule_date, dt.datetime):
            raise TypeError(f"a task is rescheduled to a datetime, not {type(reschedule_date).__name__}")
        super().__init__(f"reschedule at {reschedule_date}")
        self.reschedule_date = reschedule_date

    def instant(self) -> dt.datetime:
        """Return the date in UTC; one without a zone is taken for UTC."""
        known = self.reschedule_date.tzinfo is not None
        date = self.reschedule_date if known else self.reschedule_date.replace(tzinfo=dt.UTC)
        return date.astimezone(dt.UTC)


class DownstreamTasksSkipped(AirflowException):
    """Ends the try as succeeded, and skips these tasks: ids, or pairs of an id and a map index."""

    def __init__(self, *, tasks: object) -> None:
        super().__init__()
        self.tasks = tasks


class AirflowTaskTimeout(BaseException):
    """The execution_timeout passed. No `Exception`, so that user code does not swallow it by accident."""


class AirflowTaskTerminated(BaseException):
    """The try was told to end by SIGTERM."""


class TaskDeferred(BaseException):
    """Asks to be resumed by a trigger: by a method of the operator that is called with its event."""

    def __init__(
        self,
        *,
        trigger: Any,
        method_name: str,
        kwargs: dict[str, Any] | None = None,
        timeout: dt.timedelta | float | None = None,
        ask: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        # Where it waits for a person: what is asked.
        self.ask = ask
        self.trigger, self.method_name, self.kwargs = trigger, method_name, kwargs
        self.timeout = dt.timedelta(seconds=timeout) if isinstance(timeout, int | float) else timeout
        if timeout is not None and not isinstance(self.timeout, dt.timedelta):
            raise ValueError("Timeout value must be a timedelta")

    def __repr__(self) -> str:
        return f"<TaskDeferred trigger={self.trigger} method={self.method_name}>"


class AirflowDagCycleException(AirflowException):
    """A DAG's edges form a circle."""


class AirflowDagDuplicatedIdException(AirflowException):
    """Two DAGs have the same dag_id."""


class DuplicateTaskIdFound(AirflowException):
    """Two tasks of one DAG, or a task and a group, have the same id."""


class TaskAlreadyInTaskGroup(AirflowException):
    """A task was added to a second group."""


class TaskNotFound(AirflowNotFoundException):
    """A DAG has no task of that id."""


class DagNotFound(AirflowNotFoundException):
    """There is no DAG of that id."""


class DagRunNotFound(AirflowNotFoundException):
    """There is no such run."""


class XComNotFound(AirflowException):
    """An XCom that had to be there is not."""


class XComNotSerializable(AirflowException, TypeError):
    """An XCom's value, or a part of it, has no JSON form; the message names its type and place."""


class XComForMappingNotPushed(AirflowException, TypeError):
    """A task that others are mapped over returned nothing."""

    def __str__(self) -> str:
        return "did not push XCom for task mapping"


class UnmappableXComTypePushed(AirflowException, TypeError):
    """A task that others are mapped over returned what has no elements: neither a list nor a dict."""

    def __init__(self, value: object, *values: object) -> None:
        super().__init__(value, *values)

    def __str__(self) -> str:
        name = type(self.args[0]).__qualname__
        for value in self.args[1:]:
            name = f"{name}[{type(value).__qualname__}]"
        return f"unmappable return type {name!r}"


class UnmappableXComLengthPushed(AirflowException):
    """A task that others are mapped over returned more elements than `executor.max_map_length`."""

    def __init__(self, value: Sized, max_length: int) -> None:
        super().__init__(value)
        self.value, self.max_length = value, max_length

    def __str__(self) -> str:
        return f"unmappable return value length: {len(self.value)} > {self.max_length}"


class ParamValidationError(AirflowException):
    """A param's value breaks its schema."""


class AirflowTimetableInvalid(AirflowException):
    """A schedule can't be understood."""


class AirflowInternalRuntimeError(BaseException):
    """Something in the runtime itself is wrong."""


class SupervisorError(AirflowException):
    """The supervisor refused a request; `code` and `detail` are its own words."""

    def __init__(self, code: str, detail: object = None) -> None:
        message = detail.get("message") if isinstance(detail, dict) else None
        super().__init__(str(message) if message else f"{code}: {detail}" if detail else code)
        self.code = code
        self.detail = detail


class XComForgotten(AirflowFailException):
    """What a task had handed on is forgotten by `retention.xcoms`.

    No retry brings it back; that task's running again does.
    """


def refusal(error: dict[str, Any]) -> AirflowException:
    """Return what is raised for a request that the supervisor refused.

    Of its answer `error` is a code, `detail` its words.
    """
    code = str(error.get("error"))
    refused = SupervisorError(code, error.get("detail"))
    return XComForgotten(str(refused)) if code == "XCOM_FORGOTTEN" else refused


class RemovedInAirflow3Warning(DeprecationWarning):
    """Something that Airflow 3 removed."""


class RemovedInAirflow4Warning(DeprecationWarning):
    """Something that Airflow 4 will remove."""


class AirflowProviderDeprecationWarning(DeprecationWarning):
    """Something that a provider will remove."""
