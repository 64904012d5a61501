"""Airflow 3's paths."""

from __future__ import annotations

_SDK = {
    "DAG": "dagbok.authoring.dag:DAG",
    "dag": "dagbok.authoring.dag:dag",
    "task": "dagbok.authoring.taskflow:task",
    "task_group": "dagbok.authoring.group:task_group",
    "setup": "dagbok.authoring.taskflow:setup",
    "teardown": "dagbok.authoring.taskflow:teardown",
    "TaskGroup": "dagbok.authoring.group:TaskGroup",
    "BaseOperator": "dagbok.authoring.operator:BaseOperator",
    "BaseOperatorLink": "dagbok.authoring.operator:BaseOperatorLink",
    "BaseSensorOperator": "dagbok.operators.sensor:BaseSensorOperator",
    "BaseBranchOperator": "dagbok.operators.branching:BaseBranchOperator",
    "BranchMixIn": "dagbok.operators.branching:BranchMixIn",
    "SkipMixin": "dagbok.operators.branching:SkipMixin",
    "PokeReturnValue": "dagbok.operators.sensor:PokeReturnValue",
    "BaseHook": "dagbok.models.hook:BaseHook",
    "Connection": "dagbok.models.connection:Connection",
    "Variable": "dagbok.models.variable:Variable",
    "Context": "dagbok.runtime.context:Context",
    "Param": "dagbok.authoring.params:Param",
    "ParamsDict": "dagbok.authoring.params:ParamsDict",
    "XComArg": "dagbok.authoring.xcom_arg:XComArg",
    "Label": "dagbok.authoring.edges:Label",
    "EdgeModifier": "dagbok.authoring.edges:EdgeModifier",
    "chain": "dagbok.authoring.edges:chain",
    "chain_linear": "dagbok.authoring.edges:chain_linear",
    "cross_downstream": "dagbok.authoring.edges:cross_downstream",
    "get_current_context": "dagbok.operators.python:get_current_context",
    "Asset": "dagbok.authoring.assets:Asset",
    "asset": "dagbok.authoring.asset_decorator:asset",
    "AssetAlias": "dagbok.authoring.assets:AssetAlias",
    "AssetWatcher": "dagbok.authoring.assets:AssetWatcher",
    "AssetAll": "dagbok.authoring.assets:AssetAll",
    "AssetAny": "dagbok.authoring.assets:AssetAny",
    "AssetOrTimeSchedule": "dagbok.authoring.assets:AssetOrTimeSchedule",
    "Metadata": "dagbok.authoring.assets:Metadata",
    "TriggerRule": "dagbok.authoring.enums:TriggerRule",
    "WeightRule": "dagbok.authoring.enums:WeightRule",
    "TaskInstanceState": "dagbok.authoring.enums:TaskInstanceState",
    "DagRunState": "dagbok.authoring.enums:DagRunState",
    "RetryPolicy": "dagbok.authoring.retry_policy:RetryPolicy",
    "RetryRule": "dagbok.authoring.retry_policy:RetryRule",
    "RetryAction": "dagbok.authoring.retry_policy:RetryAction",
    "RetryDecision": "dagbok.authoring.retry_policy:RetryDecision",
    "ExceptionRetryPolicy": "dagbok.authoring.retry_policy:ExceptionRetryPolicy",
    "AsyncCallback": "dagbok.authoring.deadlines:AsyncCallback",
    "SyncCallback": "dagbok.authoring.deadlines:SyncCallback",
    "BaseDeadlineReference": "dagbok.authoring.deadlines:BaseDeadlineReference",
    "DeadlineAlert": "dagbok.authoring.deadlines:DeadlineAlert",
    "DeadlineReference": "dagbok.authoring.deadlines:DeadlineReference",
    "CronDataIntervalTimetable": "dagbok.authoring.timetables:CronDataIntervalTimetable",
    "CronTriggerTimetable": "dagbok.authoring.timetables:CronTriggerTimetable",
    "MultipleCronTriggerTimetable": "dagbok.authoring.timetables:MultipleCronTriggerTimetable",
    "DeltaDataIntervalTimetable": "dagbok.authoring.timetables:DeltaDataIntervalTimetable",
    "DeltaTriggerTimetable": "dagbok.authoring.timetables:DeltaTriggerTimetable",
    "EventsTimetable": "dagbok.authoring.timetables:EventsTimetable",
}
PARTITIONS = "dagbok.authoring.partitions"
_WINDOWS = "dagbok.authoring.partition_windows"
_MAPPERS = {
    "allowed_key": ("AllowedKeyMapper",),
    "base": ("PartitionMapper", "RollupMapper"),
    "chain": ("ChainMapper",),
    "fixed_key": ("FixedKeyMapper",),
    "identity": ("IdentityMapper",),
    "product": ("ProductMapper",),
    "temporal": (
        "FanOutMapper", "StartOfHourMapper", "StartOfDayMapper", "StartOfWeekMapper", "StartOfMonthMapper",
        "StartOfQuarterMapper", "StartOfYearMapper",
    ),
    "wait_policy": ("WaitPolicy", "WaitForAll", "MinimumCount"),
    "window": (
        "Window", "HourWindow", "DayWindow", "WeekWindow", "MonthWindow", "QuarterWindow", "YearWindow",
        "SegmentWindow",
    ),
}  # fmt: skip
_PARTITIONS = {
    name: f"{PARTITIONS if module not in ('wait_policy', 'window') else _WINDOWS}:{name}"
    for module, names in _MAPPERS.items()
    for name in names
}
_PARTITION_TIMETABLES = {
    name: f"{PARTITIONS}:{name}"
    for name in ("CronPartitionTimetable", "PartitionedAssetTimetable", "PartitionedAtRuntime")
}
_SDK.update({**_PARTITIONS, **_PARTITION_TIMETABLES})
_EXCEPTIONS = (
    "AirflowException AirflowSkipException AirflowFailException AirflowSensorTimeout AirflowTaskTimeout "
    "AirflowTaskTerminated AirflowNotFoundException TaskDeferred XComNotFound ParamValidationError "
    "AirflowRescheduleException DownstreamTasksSkipped"
)

_TIMEZONE = (
    "utc",
    "utcnow",
    "parse",
    "datetime",
    "make_aware",
    "convert_to_utc",
    "coerce_datetime",
    "from_timestamp",
)

MODULES: dict[str, dict[str, str]] = {
    "airflow.sdk": _SDK,
    **{
        f"{package}{module}": {name: _PARTITIONS[name] for name in names}
        for package in ("airflow.partition_mappers", "airflow.sdk.definitions.partition_mappers")
        for module, names in (
            ("", tuple(_PARTITIONS)),
            *((f".{module}", names) for module, names in _MAPPERS.items()),
        )
    },
    "airflow.sdk.definitions.timetables": {},
    "airflow.sdk.definitions.timetables.assets": {
        **{
            name: _PARTITION_TIMETABLES[name]
            for name in ("PartitionedAssetTimetable", "PartitionedAtRuntime")
        },
        "AssetOrTimeSchedule": _SDK["AssetOrTimeSchedule"],
        "AssetTriggeredTimetable": "dagbok.authoring.assets:AssetTriggeredTimetable",
    },
    "airflow.sdk.definitions.timetables.trigger": {
        name: _SDK[name]
        for name in (
            "CronTriggerTimetable",
            "MultipleCronTriggerTimetable",
            "DeltaTriggerTimetable",
            "CronPartitionTimetable",
        )
    },
    "airflow.sdk.bases": {},
    "airflow.sdk.bases.operator": {
        name: _SDK[name] for name in ("BaseOperator", "chain", "chain_linear", "cross_downstream")
    },
    "airflow.sdk.bases.sensor": {name: _SDK[name] for name in ("BaseSensorOperator", "PokeReturnValue")},
    "airflow.sdk.bases.branch": {name: _SDK[name] for name in ("BaseBranchOperator", "BranchMixIn")},
    "airflow.sdk.bases.skipmixin": {"SkipMixin": _SDK["SkipMixin"]},
    "airflow.sdk.bases.hook": {"BaseHook": _SDK["BaseHook"]},
    "airflow.sdk.definitions": {},
    "airflow.sdk.definitions.dag": {name: _SDK[name] for name in ("DAG", "dag")},
    "airflow.sdk.definitions.context": {name: _SDK[name] for name in ("Context", "get_current_context")},
    "airflow.sdk.definitions.param": {name: _SDK[name] for name in ("Param", "ParamsDict")},
    "airflow.sdk.definitions.taskgroup": {"TaskGroup": _SDK["TaskGroup"]},
    "airflow.sdk.definitions.variable": {"Variable": _SDK["Variable"]},
    "airflow.sdk.definitions.connection": {"Connection": _SDK["Connection"]},
    "airflow.sdk.definitions.asset": {
        name: f"dagbok.authoring.assets:{name}"
        for name in ("Asset", "AssetAlias", "AssetAll", "AssetAny", "AssetWatcher", "Dataset", "Model")
    },
    "airflow.sdk.definitions.asset.metadata": {"Metadata": _SDK["Metadata"]},
    "airflow.sdk.definitions.xcom_arg": {"XComArg": _SDK["XComArg"]},
    "airflow.sdk.definitions.retry_policy": {
        name: _SDK[name]
        for name in ("RetryPolicy", "RetryRule", "RetryAction", "RetryDecision", "ExceptionRetryPolicy")
    },
    "airflow.sdk.definitions.deadline": {"*": "dagbok.authoring.deadlines"},
    "airflow.sdk.definitions.callback": {
        name: f"dagbok.authoring.deadlines:{name}" for name in ("AsyncCallback", "Callback", "SyncCallback")
    },
    "airflow.sdk.definitions.edges": {name: _SDK[name] for name in ("Label", "EdgeModifier")},
    "airflow.sdk.exceptions": {name: f"dagbok.exceptions:{name}" for name in _EXCEPTIONS.split()},
    "airflow.sdk.timezone": {name: f"dagbok.timezone:{name}" for name in _TIMEZONE},
    "airflow.sdk.types": {
        "RuntimeTaskInstanceProtocol": "dagbok.runtime.task_instance:TaskInstance",
        "DagRunProtocol": "dagbok.runtime.dag_run:DagRun",
    },
}
