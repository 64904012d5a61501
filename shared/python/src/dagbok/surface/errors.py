"""Exceptions of both eras that nothing here raises, and that files and providers catch or raise."""

from __future__ import annotations

from typing import Any

from dagbok.exceptions import (
    AirflowException,
    AirflowNotFoundException,
    TaskNotFound,
)


class AirflowBadRequest(AirflowException):
    """A request that the server does not understand."""


class AirflowClearRunningTaskException(AirflowException):
    """A running task can't be cleared."""


class AirflowClusterPolicyViolation(AirflowException):
    """A policy of the installation refuses a DAG."""


class AirflowClusterPolicySkipDag(AirflowException):
    """A policy of the installation leaves a DAG out."""


class AirflowClusterPolicyError(AirflowException):
    """A policy of the installation is wrong itself."""


class AirflowDagInconsistent(AirflowException):
    """A DAG's parts don't go together."""


class AirflowFileParseException(AirflowException):
    """A file of variables or connections can't be read."""

    def __init__(self, msg: str, file_path: str, parse_errors: list[Any]) -> None:
        super().__init__(msg)
        self.msg, self.file_path, self.parse_errors = msg, file_path, parse_errors


class AirflowUnsupportedFileTypeException(AirflowException):
    """A file of variables or connections is of no kind that is read."""


class AirflowInactiveAssetInInletOrOutletException(AirflowException):
    """An asset that a task names is not active."""


class AirflowRuntimeError(Exception):
    """The server refused a request."""

    def __init__(self, error: Any) -> None:
        super().__init__(str(error))
        self.error = error


class AirflowSecretsBackendAccessDenied(PermissionError):
    """A secrets backend refused."""


class AirflowWebServerTimeout(AirflowException):
    """The web server took too long."""


class BackfillUnfinished(AirflowException):
    """A backfill ended with tasks left."""

    def __init__(self, message: str, ti_status: Any) -> None:
        super().__init__(message)
        self.ti_status = ti_status


class ConnectionNotUnique(AirflowException):
    """Several connections have one id."""


class VariableNotUnique(AirflowException):
    """Several variables have one name."""


class DagCodeNotFound(AirflowNotFoundException):
    """A DAG's file is not there."""


class DagConcurrencyLimitReached(AirflowException):
    """A DAG has as many tasks running as it may."""


class TaskConcurrencyLimitReached(AirflowException):
    """A task has as many tries running as it may."""


class NoAvailablePoolSlot(AirflowException):
    """A pool has no free slot."""


class DagFileExists(AirflowBadRequest):
    """A DAG's file is there already."""


class DagRunAlreadyExists(AirflowBadRequest):
    """There is such a run already."""

    def __init__(self, dag_run: Any = None, *args: Any, **kwargs: Any) -> None:
        super().__init__(f"there is already a run {dag_run}")
        self.dag_run = dag_run


class DagRunTypeNotAllowed(AirflowException):
    """A DAG takes no runs of that type."""


class DagRunTriggerException(AirflowException):
    """Asks for a run of another DAG."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__()
        self.__dict__.update(kwargs)


class DagNotPartitionedError(ValueError):
    """A DAG has no partitions."""


class InvalidPartitionKeyError(ValueError):
    """A partition's key is of no form that its mapper knows."""


class DeserializationError(Exception):
    """A DAG can't be read back."""


class DeserializingResultError(ValueError):
    """The result of a function run by another Python can't be read."""

    def __str__(self) -> str:
        return (
            "Error deserializing result. Note that result deserialization is not supported across major "
            f"Python versions. Cause: {self.__cause__}"
        )


class FailStopDagInvalidTriggerRule(AirflowException):
    """A DAG with fail_stop has a task with another trigger rule than all_success."""


FailFastDagInvalidTriggerRule = FailStopDagInvalidTriggerRule


class InvalidStatsNameException(AirflowException):
    """A metric's name has letters that it may not have."""


class NodeNotFound(TaskNotFound, KeyError):
    """A DAG or group has no such task or group."""


class NotMapped(Exception):
    """A task is not mapped, and in no mapped group."""


class PodMutationHookException(AirflowException):
    """The installation's hook for pods failed."""


class PodReconciliationError(AirflowException):
    """Two specs of a pod don't go together."""


class PoolNotFound(AirflowNotFoundException):
    """There is no such pool."""


class SerializationError(AirflowException):
    """A DAG can't be written."""


class TaskAlreadyRunningError(AirflowException):
    """A task is running already."""


class TaskAwaitingInput(BaseException):
    """Asks for a person's answer."""

    def __init__(
        self, *, method_name: str, kwargs: dict[str, Any] | None = None, timeout: Any = None
    ) -> None:
        super().__init__()
        self.method_name, self.kwargs, self.timeout = method_name, kwargs, timeout


class TaskDeferralError(AirflowException):
    """A trigger failed."""


class TaskDeferralTimeout(AirflowException):
    """A trigger took too long."""


class TaskInstanceNotFound(AirflowNotFoundException):
    """There is no such task instance."""


class UnknownExecutorException(ValueError):
    """There is no executor of that name."""


class UnmappableOperator(AirflowException):
    """An operator that can't be mapped."""


class AirflowPluginException(Exception):
    """A plugin can't be loaded."""


__all__ = [
    name
    for name, value in list(globals().items())
    if isinstance(value, type) and issubclass(value, BaseException) and value.__module__ == __name__
]
