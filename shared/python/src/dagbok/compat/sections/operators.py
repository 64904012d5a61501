"""Operators and sensors under every path they ever had."""

from __future__ import annotations

_PYTHON = {
    "PythonOperator": "dagbok.operators.python:PythonOperator",
    "get_current_context": "dagbok.operators.python:get_current_context",
    "BranchPythonOperator": "dagbok.operators.branching:BranchPythonOperator",
    "ShortCircuitOperator": "dagbok.operators.branching:ShortCircuitOperator",
    "PythonVirtualenvOperator": "dagbok.operators.virtualenv:PythonVirtualenvOperator",
    "ExternalPythonOperator": "dagbok.operators.virtualenv:ExternalPythonOperator",
    "BranchExternalPythonOperator": "dagbok.operators.virtualenv:BranchExternalPythonOperator",
    "BranchPythonVirtualenvOperator": "dagbok.operators.virtualenv:BranchPythonVirtualenvOperator",
}
_BASH = {"BashOperator": "dagbok.operators.bash:BashOperator"}
_EMPTY = {
    "EmptyOperator": "dagbok.operators.empty:EmptyOperator",
    "DummyOperator": "dagbok.operators.empty:EmptyOperator",
}
_BRANCH = {
    "BaseBranchOperator": "dagbok.operators.branching:BaseBranchOperator",
    "BranchMixIn": "dagbok.operators.branching:BranchMixIn",
    "SkipMixin": "dagbok.operators.branching:SkipMixin",
}
_SKIP = {
    name: f"dagbok.operators.branching:{name}"
    for name in ("SkipMixin", "XCOM_SKIPMIXIN_KEY", "XCOM_SKIPMIXIN_SKIPPED", "XCOM_SKIPMIXIN_FOLLOWED")
}
_TRIGGER = {"TriggerDagRunOperator": "dagbok.operators.other_dags:TriggerDagRunOperator"}
_LATEST = {"LatestOnlyOperator": "dagbok.operators.branching:LatestOnlyOperator"}
_WEEKDAY = {
    "BranchDayOfWeekOperator": "dagbok.operators.branch_times:BranchDayOfWeekOperator",
    "WeekDay": "dagbok.operators.branch_times:WeekDay",
    "DayOfWeekSensor": "dagbok.operators.waiting:DayOfWeekSensor",
}
_DATETIME = {"BranchDateTimeOperator": "dagbok.operators.branch_times:BranchDateTimeOperator"}
_WEEKDAYS = {"WeekDay": "dagbok.operators.branch_times:WeekDay"}
_SENSOR_BASE = {
    "BaseSensorOperator": "dagbok.operators.sensor:BaseSensorOperator",
    "PokeReturnValue": "dagbok.operators.sensor:PokeReturnValue",
}
_PYTHON_SENSOR = {"PythonSensor": "dagbok.operators.sensor:PythonSensor"}
_EXTERNAL = {
    "ExternalTaskSensor": "dagbok.operators.other_dags:ExternalTaskSensor",
    "ExternalTaskMarker": "dagbok.operators.other_dags:ExternalTaskMarker",
}
_WAITING = "dagbok.operators.waiting"
_DEFERRED = "dagbok.operators.waiting_deferred"
_TRIGGERS = "dagbok.operators.triggers"
_TRIGGER_MODULES = {
    "temporal": {name: f"{_TRIGGERS}:{name}" for name in ("DateTimeTrigger", "TimeDeltaTrigger")},
    "file": {
        name: f"{_TRIGGERS}:{name}"
        for name in ("FileTrigger", "FileDeleteTrigger", "DirectoryFileDeleteTrigger")
    },
    "external_task": {name: f"{_TRIGGERS}:{name}" for name in ("WorkflowTrigger", "DagStateTrigger")},
}
_HITL = {
    name: f"dagbok.operators.hitl:{name}"
    for name in ("HITLOperator", "ApprovalOperator", "HITLBranchOperator", "HITLEntryOperator")
}
_HITL_ERRORS = {
    name: f"dagbok.operators.hitl:{name}"
    for name in ("HITLTriggerEventError", "HITLTimeoutError", "HITLRejectException")
}
_SENSORS = {
    "date_time": {"DateTimeSensor": f"{_WAITING}:DateTimeSensor",
                  "DateTimeSensorAsync": f"{_DEFERRED}:DateTimeSensorAsync"},
    "time_delta": {"TimeDeltaSensor": f"{_WAITING}:TimeDeltaSensor",
                   "TimeDeltaSensorAsync": f"{_DEFERRED}:TimeDeltaSensorAsync",
                   "WaitSensor": f"{_DEFERRED}:WaitSensor"},
    "time": {"TimeSensor": f"{_WAITING}:TimeSensor", "TimeSensorAsync": f"{_DEFERRED}:TimeSensorAsync"},
    "time_sensor": {"TimeSensor": f"{_WAITING}:TimeSensor"},
    "date_time_sensor": {"DateTimeSensor": f"{_WAITING}:DateTimeSensor"},
    "time_delta_sensor": {"TimeDeltaSensor": f"{_WAITING}:TimeDeltaSensor"},
    "filesystem": {"FileSensor": f"{_WAITING}:FileSensor"},
    "bash": {"BashSensor": f"{_WAITING}:BashSensor"},
}  # fmt: skip
_FS_HOOK = {"FSHook": f"{_WAITING}:FSHook"}
_S3_KEY = {"S3KeySensor": "dagbok.operators.s3:S3KeySensor"}

_STANDARD = "airflow.providers.standard"

MODULES: dict[str, dict[str, str]] = {
    "airflow.operators": {},
    "airflow.operators.python": _PYTHON,
    "airflow.operators.python_operator": _PYTHON,
    "airflow.operators.bash": _BASH,
    "airflow.operators.bash_operator": _BASH,
    "airflow.operators.empty": _EMPTY,
    "airflow.operators.dummy": _EMPTY,
    "airflow.operators.dummy_operator": _EMPTY,
    "airflow.operators.branch": _BRANCH,
    "airflow.operators.branch_operator": _BRANCH,
    "airflow.operators.trigger_dagrun": _TRIGGER,
    "airflow.operators.dagrun_operator": _TRIGGER,
    "airflow.operators.latest_only": _LATEST,
    "airflow.operators.latest_only_operator": _LATEST,
    "airflow.operators.weekday": _WEEKDAY,
    "airflow.operators.datetime": _DATETIME,
    "airflow.models.skipmixin": _SKIP,
    "airflow.utils.weekday": _WEEKDAYS,
    "airflow.sensors": {},
    "airflow.sensors.base": _SENSOR_BASE,
    "airflow.sensors.base_sensor_operator": _SENSOR_BASE,
    "airflow.sensors.python": _PYTHON_SENSOR,
    "airflow.sensors.external_task": _EXTERNAL,
    "airflow.sensors.external_task_sensor": _EXTERNAL,
    "airflow.sensors.weekday": _WEEKDAY,
    "airflow.sensors.s3_key_sensor": _S3_KEY,
    "airflow.contrib.sensors.file_sensor": {"FileSensor": f"{_WAITING}:FileSensor"},
    "airflow.contrib.sensors.weekday_sensor": _WEEKDAY,
    "airflow.contrib.sensors.bash_sensor": {"BashSensor": f"{_WAITING}:BashSensor"},
    "airflow.contrib.sensors.python_sensor": _PYTHON_SENSOR,
    "airflow.hooks.filesystem": _FS_HOOK,
    f"{_STANDARD}.hooks.filesystem": _FS_HOOK,
    "airflow.providers": {},
    _STANDARD: {},
    f"{_STANDARD}.operators.python": _PYTHON,
    f"{_STANDARD}.operators.bash": _BASH,
    f"{_STANDARD}.operators.empty": _EMPTY,
    f"{_STANDARD}.operators.branch": _BRANCH,
    f"{_STANDARD}.operators.trigger_dagrun": _TRIGGER,
    f"{_STANDARD}.operators.latest_only": _LATEST,
    f"{_STANDARD}.operators.weekday": _WEEKDAY,
    f"{_STANDARD}.operators.datetime": _DATETIME,
    f"{_STANDARD}.operators.hitl": _HITL,
    f"{_STANDARD}.triggers.hitl": {
        name: f"dagbok.operators.hitl:{name}"
        for name in ("HITLTrigger", "HITLTriggerEventSuccessPayload", "HITLTriggerEventFailurePayload")
    },
    "airflow.sdk.execution_time.hitl": {"HITLUser": "dagbok.operators.hitl:HITLUser"},
    f"{_STANDARD}.exceptions": _HITL_ERRORS,
    f"{_STANDARD}.utils.skipmixin": _SKIP,
    f"{_STANDARD}.utils.weekday": _WEEKDAYS,
    f"{_STANDARD}.sensors.python": _PYTHON_SENSOR,
    f"{_STANDARD}.sensors.external_task": _EXTERNAL,
    f"{_STANDARD}.sensors.weekday": _WEEKDAY,
    **{
        f"{package}.{module}": names
        for package in ("airflow.sensors", f"{_STANDARD}.sensors")
        for module, names in _SENSORS.items()
    },
    **{
        f"{package}.{module}": names
        for package in ("airflow.triggers", f"{_STANDARD}.triggers")
        for module, names in _TRIGGER_MODULES.items()
    },
}
