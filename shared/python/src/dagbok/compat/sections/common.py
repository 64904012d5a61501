"""Everything of Airflow 2's paths, and of 1's that files still say, that is no operator."""

from __future__ import annotations

_EXCEPTIONS = "dagbok.exceptions"
_DAG = {"DAG": "dagbok.authoring.dag:DAG", "dag": "dagbok.authoring.dag:dag"}
_OPERATOR = {
    "BaseOperator": "dagbok.authoring.operator:BaseOperator",
    "BaseOperatorLink": "dagbok.authoring.operator:BaseOperatorLink",
    "chain": "dagbok.authoring.edges:chain",
    "cross_downstream": "dagbok.authoring.edges:cross_downstream",
    "chain_linear": "dagbok.authoring.edges:chain_linear",
}
_PARAMS = {
    "Param": "dagbok.authoring.params:Param",
    "ParamsDict": "dagbok.authoring.params:ParamsDict",
    "DagParam": "dagbok.authoring.params:DagParam",
}
_TASK_INSTANCE = {
    "TaskInstance": "dagbok.runtime.task_instance:TaskInstance",
    "TaskInstanceKey": "dagbok.runtime.task_instance:TaskInstanceKey",
}
_DAG_RUN = {"DagRun": "dagbok.runtime.dag_run:DagRun"}
_VARIABLE = {"Variable": "dagbok.models.variable:Variable"}
_CONNECTION = {"Connection": "dagbok.models.connection:Connection"}
_XCOM = {"XCom": "dagbok.models.xcom:XCom", "BaseXCom": "dagbok.models.xcom:XCom",
         "XCOM_RETURN_KEY": "dagbok.authoring.xcom_arg:XCOM_RETURN_KEY"}  # fmt: skip
_XCOM_ARG = {"XComArg": "dagbok.authoring.xcom_arg:XComArg"}
_HOOK = {"BaseHook": "dagbok.models.hook:BaseHook"}
_ASSETS = {
    "Dataset": "dagbok.authoring.assets:Dataset",
    "DatasetAlias": "dagbok.authoring.assets:AssetAlias",
    "Metadata": "dagbok.authoring.assets:Metadata",
    "Model": "dagbok.authoring.assets:Model",
    "DatasetAll": "dagbok.authoring.assets:AssetAll",
    "DatasetAny": "dagbok.authoring.assets:AssetAny",
    "Asset": "dagbok.authoring.assets:Asset",
    "AssetAlias": "dagbok.authoring.assets:AssetAlias",
    "AssetAll": "dagbok.authoring.assets:AssetAll",
    "AssetAny": "dagbok.authoring.assets:AssetAny",
}
_DECORATORS = {
    "dag": "dagbok.authoring.dag:dag",
    "task": "dagbok.authoring.taskflow:task",
    "task_group": "dagbok.authoring.group:task_group",
    "setup": "dagbok.authoring.taskflow:setup",
    "teardown": "dagbok.authoring.taskflow:teardown",
}
_EXCEPTION_NAMES = (
    "AirflowException AirflowNotFoundException AirflowConfigException AirflowSkipException "
    "AirflowFailException AirflowSensorTimeout AirflowOptionalProviderFeatureException "
    "AirflowRescheduleException DownstreamTasksSkipped AirflowTaskTimeout AirflowTaskTerminated TaskDeferred "
    "AirflowDagCycleException AirflowDagDuplicatedIdException DuplicateTaskIdFound TaskAlreadyInTaskGroup "
    "TaskNotFound DagNotFound DagRunNotFound XComNotFound ParamValidationError AirflowTimetableInvalid "
    "RemovedInAirflow3Warning RemovedInAirflow4Warning AirflowProviderDeprecationWarning"
)
_TIMEZONE = (
    "utc",
    "utcnow",
    "utc_epoch",
    "parse",
    "datetime",
    "make_aware",
    "make_naive",
    "convert_to_utc",
    "is_localized",
    "is_naive",
    "coerce_datetime",
    "parse_timezone",
    "from_timestamp",
)
_TIMETABLES = {
    "airflow.timetables.base": {
        "Timetable": "Timetable",
        "DataInterval": "DataInterval",
        "DagRunInfo": "DagRunInfo",
        "TimeRestriction": "TimeRestriction",
    },
    "airflow.timetables.simple": {
        "NullTimetable": "NullTimetable",
        "OnceTimetable": "OnceTimetable",
        "ContinuousTimetable": "ContinuousTimetable",
        **{
            name: f"dagbok.authoring.partitions:{name}"
            for name in ("PartitionedAssetTimetable", "PartitionedAtRuntime")
        },
    },
    "airflow.timetables.interval": {
        "CronDataIntervalTimetable": "CronDataIntervalTimetable",
        "DeltaDataIntervalTimetable": "DeltaDataIntervalTimetable",
    },
    "airflow.timetables.trigger": {
        "CronTriggerTimetable": "CronTriggerTimetable",
        "MultipleCronTriggerTimetable": "MultipleCronTriggerTimetable",
        "DeltaTriggerTimetable": "DeltaTriggerTimetable",
        "CronPartitionTimetable": "dagbok.authoring.partitions:CronPartitionTimetable",
    },
    "airflow.timetables.events": {"EventsTimetable": "EventsTimetable"},
}

MODULES: dict[str, dict[str, str]] = {
    "airflow": {
        **_DAG,
        **{name: target for name, target in _ASSETS.items() if name not in ("Metadata", "Model")},
        "XComArg": "dagbok.authoring.xcom_arg:XComArg",
        "__version__": "dagbok.compat.version:AIRFLOW_VERSION",
        "AirflowException": f"{_EXCEPTIONS}:AirflowException",
    },
    "airflow.version": {"version": "dagbok.compat.version:AIRFLOW_VERSION"},
    "airflow.decorators": _DECORATORS,
    "airflow.decorators.setup_teardown": {
        "setup_task": "dagbok.authoring.taskflow:setup",
        "teardown_task": "dagbok.authoring.taskflow:teardown",
        "ContextWrapper": "dagbok.authoring.setups:ContextWrapper",
        "context_wrapper": "dagbok.authoring.setups:context_wrapper",
    },
    "airflow.utils.setup_teardown": {"SetupTeardownContext": "dagbok.authoring.setups:SetupTeardownContext"},
    "airflow.decorators.task_group": {"task_group": "dagbok.authoring.group:task_group"},
    "airflow.exceptions": {name: f"{_EXCEPTIONS}:{name}" for name in _EXCEPTION_NAMES.split()},
    "airflow.models": {
        "SkipMixin": "dagbok.operators.branching:SkipMixin",
        **_DAG,
        **_OPERATOR,
        **_PARAMS,
        **_TASK_INSTANCE,
        **_DAG_RUN,
        **_VARIABLE,
        **_CONNECTION,
        **_XCOM,
        **_XCOM_ARG,
    },
    "airflow.models.dag": _DAG,
    "airflow.models.baseoperator": _OPERATOR,
    "airflow.models.baseoperatorlink": _OPERATOR,
    "airflow.models.param": _PARAMS,
    "airflow.models.taskinstance": _TASK_INSTANCE,
    "airflow.models.taskinstancekey": _TASK_INSTANCE,
    "airflow.models.dagrun": _DAG_RUN,
    "airflow.models.variable": _VARIABLE,
    "airflow.models.connection": _CONNECTION,
    "airflow.models.xcom": _XCOM,
    "airflow.models.xcom_arg": _XCOM_ARG,
    "airflow.datasets": _ASSETS,
    "airflow.datasets.metadata": {"Metadata": "dagbok.authoring.assets:Metadata"},
    "airflow.assets": _ASSETS,
    "airflow.assets.metadata": {"Metadata": "dagbok.authoring.assets:Metadata"},
    "airflow.timetables.datasets": {"DatasetOrTimeSchedule": "dagbok.authoring.assets:AssetOrTimeSchedule"},
    "airflow.timetables.assets": {"AssetOrTimeSchedule": "dagbok.authoring.assets:AssetOrTimeSchedule"},
    "airflow.hooks": {},
    "airflow.hooks.base": _HOOK,
    "airflow.hooks.base_hook": _HOOK,
    "airflow.configuration": {
        "conf": "dagbok.models.configuration:conf",
        "AirflowConfigParser": "dagbok.models.configuration:Configuration",
    },
    "airflow.settings": {
        "TIMEZONE": "dagbok.timezone:utc",
        "AIRFLOW_HOME": "dagbok.models.configuration:AIRFLOW_HOME",
        "DAGS_FOLDER": "dagbok.models.configuration:DAGS_FOLDER",
    },
    "airflow.macros": {
        "ds_add": "dagbok.templating.macros:ds_add",
        "ds_format": "dagbok.templating.macros:ds_format",
    },
    "airflow.utils": {},
    "airflow.utils.dates": {"days_ago": "dagbok.dates:days_ago", "date_range": "dagbok.dates:date_range"},
    "airflow.utils.timezone": {name: f"dagbok.timezone:{name}" for name in _TIMEZONE},
    "airflow.utils.trigger_rule": {"TriggerRule": "dagbok.authoring.enums:TriggerRule"},
    "airflow.utils.weight_rule": {"WeightRule": "dagbok.authoring.enums:WeightRule"},
    "airflow.task": {},
    "airflow.task.weight_rule": {"WeightRule": "dagbok.authoring.enums:WeightRule"},
    "airflow.task.priority_strategy": {
        name: f"dagbok.authoring.weights:{name}"
        for name in (
            "PriorityWeightStrategy",
            "_AbsolutePriorityWeightStrategy",
            "_DownstreamPriorityWeightStrategy",
            "_UpstreamPriorityWeightStrategy",
        )
    },
    "airflow.utils.state": {
        name: f"dagbok.authoring.enums:{name}" for name in ("State", "TaskInstanceState", "DagRunState")
    },
    "airflow.utils.types": {
        "DagRunType": "dagbok.authoring.enums:DagRunType",
        "NOTSET": "dagbok.authoring.dag:NOTSET",
    },
    "airflow.utils.task_group": {"TaskGroup": "dagbok.authoring.group:TaskGroup"},
    "airflow.utils.edgemodifier": {
        "Label": "dagbok.authoring.edges:Label",
        "EdgeModifier": "dagbok.authoring.edges:EdgeModifier",
    },
    "airflow.utils.helpers": {
        "chain": "dagbok.authoring.edges:chain",
        "cross_downstream": "dagbok.authoring.edges:cross_downstream",
    },
    "airflow.utils.decorators": {"apply_defaults": "dagbok.authoring.defaults:apply_defaults"},
    "airflow.utils.context": {"Context": "dagbok.runtime.context:Context"},
    "airflow.utils.email": {"send_email": "dagbok.compat.missing:send_email"},
    "airflow.utils.log": {},
    "airflow.utils.log.logging_mixin": {"LoggingMixin": "dagbok.models.hook:LoggingMixin"},
    **{
        module: {
            name: target if ":" in target else f"dagbok.authoring.timetables:{target}"
            for name, target in names.items()
        }
        for module, names in _TIMETABLES.items()
    },
}
