"""What provider packages import, and what few DAG files do. Read only when the table has no answer.

An entry `*` names a module of ours that answers with all that its `__all__` names.
"""

from __future__ import annotations

_SURFACE = "dagbok.surface"
_ERRORS = f"{_SURFACE}.errors"
_KINDS = f"{_SURFACE}.kinds"
_CONTEXTS = f"{_SURFACE}.contexts"
_DECORATORS = f"{_SURFACE}.decorators"
_LINEAGE = f"{_SURFACE}.lineage"
_MASKING = {
    "mask_secret": "dagbok.masking:mask_secret",
    "redact": f"{_KINDS}:redact",
    "should_hide_value_for_key": f"{_KINDS}:should_hide_value_for_key",
    "DEFAULT_SENSITIVE_FIELDS": f"{_KINDS}:DEFAULT_SENSITIVE_FIELDS",
}
_LOGGING = {
    "LoggingMixin": "dagbok.models.hook:LoggingMixin",
    "remove_escape_codes": f"{_KINDS}:remove_escape_codes",
}
_LINK = {"BaseOperatorLink": "dagbok.authoring.operator:BaseOperatorLink"}
_MAPPED = {"MappedOperator": "dagbok.authoring.mapping:Partial"}
_DEPENDENCY = {
    "DependencyMixin": "dagbok.authoring.edges:DependencyMixin",
    "DAGNode": "dagbok.authoring.edges:DependencyMixin",
    "TaskMixin": "dagbok.authoring.edges:DependencyMixin",
}
_ARGUMENTS = {
    name: f"{_KINDS}:{name}" for name in ("ArgNotSet", "NOTSET", "is_arg_set", "SET_DURING_EXECUTION")
}
_CONDITIONS = {"*": f"{_SURFACE}.conditions"}
_PROVIDERS_OF_TYPES = {
    "BaseHook": "dagbok.models.hook:BaseHook",
    "DiscoverableHook": f"{_SURFACE}.hooks:DiscoverableHook",
}
_TYPES = {
    "Operator": "dagbok.authoring.operator:BaseOperator",
    "BaseOperator": "dagbok.authoring.operator:BaseOperator",
    **_MAPPED,
}
_EMAIL = {"EmailOperator": "dagbok.operators.email:EmailOperator"}
_SUBPROCESS = {
    name: f"{_SURFACE}.hooks:{name}" for name in ("SubprocessHook", "SubprocessResult", "working_directory")
}
_FILES = {"FSHook": "dagbok.operators.waiting:FSHook"}
_TIMEZONE = {
    name: f"dagbok.timezone:{name}"
    for name in (
        "utc",
        "utcnow",
        "parse",
        "make_aware",
        "coerce_datetime",
        "convert_to_utc",
        "parse_timezone",
    )
}
_PATH = {"ObjectStoragePath": f"{_SURFACE}.object_storage:ObjectStoragePath"}
_WEEKDAY = {"DayOfWeekSensor": "airflow.sensors.weekday:DayOfWeekSensor"}

MODULES: dict[str, dict[str, str]] = {
    "airflow": {"macros": "dagbok.templating.macros", "conf": "dagbok.models.configuration:conf"},
    "airflow.compat.functools": {
        "cached_property": f"{_KINDS}:cached_property",
        "cache": "functools:cache",
    },
    "airflow.configuration": {
        name: f"dagbok.models.configuration:{name}"
        for name in (
            "AIRFLOW_HOME",
            "get",
            "getboolean",
            "getfloat",
            "getint",
            "get_airflow_home",
            "has_option",
        )
    },
    "airflow.decorators": {
        "TaskDecorator": f"{_DECORATORS}:TaskDecorator",
        "TaskDecoratorCollection": f"{_DECORATORS}:TaskDecoratorCollection",
        "python_task": "dagbok.authoring.taskflow:task.python",
        **_CONDITIONS,
    },
    "airflow.decorators.base": {"*": _DECORATORS},
    "airflow.decorators.condition": _CONDITIONS,
    "airflow.decorators.python": {"python_task": "dagbok.authoring.taskflow:task.python"},
    "airflow.exceptions": {"*": _ERRORS},
    "airflow.hooks.base": _PROVIDERS_OF_TYPES,
    "airflow.hooks.filesystem": _FILES,
    "airflow.hooks.subprocess": _SUBPROCESS,
    "airflow.io.path": _PATH,
    "airflow.io": _PATH,
    "airflow.lineage": {"*": _LINEAGE},
    "airflow.lineage.backend": {"LineageBackend": f"{_LINEAGE}:LineageBackend"},
    "airflow.lineage.entities": {"*": f"{_SURFACE}.entities"},
    "airflow.lineage.hook": {"*": _LINEAGE},
    "airflow.listeners": {"hookimpl": f"{_LINEAGE}:hookimpl"},
    "airflow.policies": {"hookimpl": f"{_LINEAGE}:hookimpl"},
    "airflow.macros": {"*": "dagbok.templating.macros"},
    "airflow.models": {**_MAPPED, "Operator": "dagbok.authoring.operator:BaseOperator"},
    "airflow.models.abstractoperator": {"AbstractOperator": "dagbok.authoring.operator:BaseOperator"},
    "airflow.models.dagparam": {"DagParam": "dagbok.authoring.params:DagParam"},
    "airflow.models.mappedoperator": _MAPPED,
    "airflow.models.operator": _TYPES,
    "airflow.models.taskmixin": _DEPENDENCY,
    "airflow.notifications.basenotifier": {"*": f"{_SURFACE}.notifiers"},
    "airflow.operators.sensors": {
        "BaseSensorOperator": "dagbok.operators.sensor:BaseSensorOperator",
        "ExternalTaskSensor": "airflow.sensors.external_task:ExternalTaskSensor",
        "TimeDeltaSensor": "airflow.sensors.time_delta:TimeDeltaSensor",
        "TimeSensor": "airflow.sensors.time:TimeSensor",
        "S3KeySensor": "airflow.providers.amazon.aws.sensors.s3:S3KeySensor",
        "SqlSensor": "airflow.providers.common.sql.sensors.sql:SqlSensor",
        "HttpSensor": "airflow.providers.http.sensors.http:HttpSensor",
    },
    "airflow.models.dag": {
        "ScheduleInterval": f"{_KINDS}:ScheduleInterval",
        "DagStateChangeCallback": f"{_KINDS}:ScheduleInterval",
    },
    "airflow.models.xcom": {"LazyXComAccess": "dagbok.runtime.copies:LazyXComSequence"},
    "airflow.operators.python": {"is_venv_installed": f"{_SURFACE}.processes:is_venv_installed"},
    "airflow.operators.email": _EMAIL,
    "airflow.operators.email_operator": _EMAIL,
    "airflow.models.dagbag": {"DagBag": "dagbok.desk.dag_bag:DagBag"},
    "airflow.dag_processing.dagbag": {"DagBag": "dagbok.desk.dag_bag:DagBag"},
    "airflow.operators.subdag": {"SubDagOperator": "dagbok.operators.subdag:SubDagOperator"},
    "airflow.operators.subdag_operator": {"SubDagOperator": "dagbok.operators.subdag:SubDagOperator"},
    "airflow.plugins_manager": {"*": f"{_SURFACE}.plugins"},
    "airflow.providers_manager": {"*": f"{_SURFACE}.providers"},
    "airflow.sensors.base": {"poke_mode_only": f"{_SURFACE}.jobs:poke_mode_only"},
    "airflow.secrets": {"*": f"{_SURFACE}.secrets"},
    "airflow.secrets.base_secrets": {"*": f"{_SURFACE}.secrets"},
    "airflow.secrets.environment_variables": {"*": f"{_SURFACE}.secrets"},
    "airflow.secrets.metastore": {"MetastoreBackend": f"{_SURFACE}.secrets:MetastoreBackend"},
    "airflow.secrets.local_filesystem": {
        "LocalFilesystemBackend": f"{_SURFACE}.secrets:LocalFilesystemBackend",
        "load_connections_dict": "dagbok.models.secret_files:load_connections_dict",
        "load_variables": "dagbok.models.secret_files:load_variables",
    },
    "airflow.sensors.time_sensor": {
        name: f"airflow.sensors.time:{name}" for name in ("TimeSensor", "TimeSensorAsync")
    },
    "airflow.sensors.date_time_sensor": {"DateTimeSensor": "airflow.sensors.date_time:DateTimeSensor"},
    "airflow.sensors.time_delta_sensor": {"TimeDeltaSensor": "airflow.sensors.time_delta:TimeDeltaSensor"},
    "airflow.sensors.day_of_week_sensor": _WEEKDAY,
    "airflow.contrib.sensors.weekday_sensor": _WEEKDAY,
    "airflow.contrib.sensors.file_sensor": {"FileSensor": "airflow.sensors.filesystem:FileSensor"},
    "airflow.contrib.sensors.python_sensor": {"PythonSensor": "dagbok.operators.sensor:PythonSensor"},
    "airflow.contrib.operators.dagrun_operator": {
        "TriggerDagRunOperator": "airflow.operators.trigger_dagrun:TriggerDagRunOperator"
    },
    "airflow.contrib.operators.branch_python_operator": {
        "BranchPythonOperator": "dagbok.operators.branching:BranchPythonOperator"
    },
    "airflow.settings": {
        "Session": f"{_SURFACE}.sessions:Session",
        "conf": "dagbok.models.configuration:conf",
        "pod_mutation_hook": f"{_KINDS}:pod_mutation_hook",
    },
    "airflow.stats": {"*": _LINEAGE},
    "airflow.task.trigger_rule": {"TriggerRule": "dagbok.authoring.enums:TriggerRule"},
    "airflow.triggers.base": {"*": f"{_SURFACE}.triggers"},
    "airflow.typing_compat": {"*": "typing"},
    "airflow.utils.compression": {"uncompress_file": f"{_SURFACE}.processes:uncompress_file"},
    "airflow.utils.cli": {
        "action_cli": f"{_KINDS}:action_cli",
        "suppress_logs_and_warning": f"{_KINDS}:action_cli",
    },
    "airflow.utils.code_utils": {"get_python_source": "inspect:getsource"},
    "airflow.utils.context": {"*": _CONTEXTS},
    "airflow.utils.dag_parsing_context": {"*": _CONTEXTS},
    "airflow.utils.dates": {"*": f"{_SURFACE}.dates"},
    "airflow.utils.db": {"*": f"{_SURFACE}.sessions"},
    "airflow.utils.decorators": {"remove_task_decorator": f"{_DECORATORS}:remove_task_decorator"},
    "airflow.utils.deprecation_tools": {"*": f"{_SURFACE}.modules"},
    "airflow.utils.edgemodifier": _DEPENDENCY,
    "airflow.utils.email": {"*": f"{_SURFACE}.mail"},
    "airflow.utils.file": {"TemporaryDirectory": "tempfile:TemporaryDirectory"},
    "airflow.utils.hashlib_wrapper": {"md5": f"{_SURFACE}.processes:md5"},
    "airflow.utils.helpers": {
        "*": f"{_SURFACE}.helpers",
        "import_string": f"{_SURFACE}.modules:import_string",
    },
    "airflow.utils.log.logging_mixin": _LOGGING,
    "airflow.utils.log.secrets_masker": _MASKING,
    "airflow.utils.module_loading": {"*": f"{_SURFACE}.modules"},
    "airflow.utils.net": {"*": f"{_SURFACE}.processes"},
    "airflow.utils.operator_helpers": {"*": _CONTEXTS},
    "airflow.utils.operator_resources": {},
    "airflow.utils.platform": {"*": f"{_SURFACE}.processes"},
    "airflow.utils.process_utils": {"*": f"{_SURFACE}.processes"},
    "airflow.utils.providers_configuration_loader": {
        "providers_configuration_loaded": f"{_KINDS}:providers_configuration_loaded"
    },
    "airflow.utils.python_virtualenv": {
        "remove_task_decorator": f"{_DECORATORS}:remove_task_decorator",
        "execute_in_subprocess": f"{_SURFACE}.processes:execute_in_subprocess",
    },
    "airflow.utils.session": {"*": f"{_SURFACE}.sessions"},
    "airflow.utils.singleton": {"Singleton": f"{_KINDS}:Singleton"},
    "airflow.utils.state": {"*": _KINDS},
    "airflow.utils.strings": {"*": f"{_SURFACE}.helpers"},
    "airflow.utils.template": {"*": _CONTEXTS},
    "airflow.utils.timeout": {"timeout": f"{_SURFACE}.processes:timeout"},
    "airflow.utils.timezone": {"*": f"{_SURFACE}.dates"},
    "airflow.utils.types": {"*": _KINDS},
    "airflow.utils.weight_rule": {"*": _KINDS},
    "airflow.utils.xcom": {"*": _KINDS},
    "airflow.utils.yaml": {"*": f"{_SURFACE}.yaml"},
    "airflow.www.utils": {"get_attr_renderer": f"{_KINDS}:get_attr_renderer"},
}
_SDK: dict[str, dict[str, str]] = {
    "airflow.sdk": {
        **_PATH,
        "AssetAccessControl": f"{_KINDS}:AssetAccessControl",
        "ResumableJobMixin": f"{_SURFACE}.jobs:ResumableJobMixin",
        "BaseNotifier": f"{_SURFACE}.notifiers:BaseNotifier",
        "BaseXCom": "dagbok.models.xcom:XCom",
        "XCom": "dagbok.models.xcom:XCom",
        "TaskInstance": "dagbok.runtime.task_instance:TaskInstance",
        "BaseAsyncOperator": "dagbok.authoring.operator:BaseOperator",
        "conf": "dagbok.models.configuration:conf",
        "get_parsing_context": f"{_CONTEXTS}:get_parsing_context",
        "literal": f"{_CONTEXTS}:literal",
        "macros": "dagbok.templating.macros",
        "lineage": _LINEAGE,
        "__version__": "dagbok.compat.version:SDK_VERSION",
    },
    "airflow.sdk.bases.decorator": {
        "*": _DECORATORS,
        "KeywordParameters": f"{_CONTEXTS}:KeywordParameters",
        "determine_kwargs": f"{_CONTEXTS}:determine_kwargs",
    },
    "airflow.sdk.bases.notifier": {"*": f"{_SURFACE}.notifiers"},
    "airflow.sdk.bases.operator": {"BaseAsyncOperator": "dagbok.authoring.operator:BaseOperator"},
    "airflow.sdk.bases.operatorlink": _LINK,
    "airflow.sdk.bases.resumablejobmixin": {"ResumableJobMixin": f"{_SURFACE}.jobs:ResumableJobMixin"},
    "airflow.sdk.bases.sensor": {"poke_mode_only": f"{_SURFACE}.jobs:poke_mode_only"},
    "airflow.sdk.bases.secrets_backend": {"*": f"{_SURFACE}.secrets"},
    "airflow.sdk.bases.xcom": {"BaseXCom": "dagbok.models.xcom:XCom"},
    "airflow.sdk.configuration": {
        "conf": "dagbok.models.configuration:conf",
        "AirflowConfigParser": "dagbok.models.configuration:Configuration",
    },
    "airflow.sdk.definitions._internal": {},
    "airflow.sdk.definitions._internal.types": _ARGUMENTS,
    "airflow.sdk.definitions._internal.decorators": {
        "remove_task_decorator": f"{_DECORATORS}:remove_task_decorator"
    },
    "airflow.sdk.definitions._internal.mixins": _DEPENDENCY,
    "airflow.sdk.definitions._internal.node": _DEPENDENCY,
    "airflow.sdk.definitions._internal.abstractoperator": {
        "AbstractOperator": "dagbok.authoring.operator:BaseOperator"
    },
    "airflow.sdk.definitions.asset.access_control": {"AssetAccessControl": f"{_KINDS}:AssetAccessControl"},
    "airflow.sdk.definitions.asset.decorators": {"asset": "dagbok.authoring.asset_decorator:asset"},
    "airflow.sdk.definitions.context": {"*": _CONTEXTS},
    "airflow.sdk.definitions.mappedoperator": _MAPPED,
    "airflow.sdk.definitions.operator_resources": {},
    "airflow.sdk.definitions.template": {"*": _CONTEXTS},
    "airflow.sdk.exceptions": {"*": _ERRORS},
    "airflow.sdk.execution_time": {},
    "airflow.sdk.execution_time.context": {"*": _CONTEXTS},
    "airflow.sdk.execution_time.secrets_masker": _MASKING,
    "airflow.sdk.execution_time.task_runner": {
        "RuntimeTaskInstance": "dagbok.runtime.task_instance:TaskInstance"
    },
    "airflow.sdk.execution_time.timeout": {"timeout": f"{_SURFACE}.processes:timeout"},
    "airflow.sdk.execution_time.xcom": {"XCom": "dagbok.models.xcom:XCom"},
    "airflow.sdk.io": _PATH,
    "airflow.sdk.io.path": _PATH,
    "airflow.sdk.lineage": {"*": _LINEAGE},
    "airflow.sdk.log": _MASKING,
    "airflow.sdk.module_loading": {"*": f"{_SURFACE}.modules"},
    "airflow.sdk.observability": {},
    "airflow.sdk.observability.stats": {"*": _LINEAGE},
    "airflow.sdk.plugins_manager": {"*": f"{_SURFACE}.plugins"},
    "airflow.sdk.providers_manager_runtime": {
        "ProvidersManagerTaskRuntime": f"{_SURFACE}.providers:ProvidersManager"
    },
    "airflow.sdk.state": {name: f"{_KINDS}:{name}" for name in ("TaskScope", "AssetScope")},
    "airflow.sdk.types": {"TaskInstanceKey": "dagbok.runtime.task_instance:TaskInstanceKey"},
    "airflow.sdk.yaml": {"*": f"{_SURFACE}.yaml"},
    "airflow._shared": {},
    "airflow._shared.module_loading": {"*": f"{_SURFACE}.modules"},
    "airflow._shared.secrets_masker": _MASKING,
    "airflow._shared.timezones": {},
    "airflow._shared.timezones.timezone": _TIMEZONE,
    "airflow.sdk._shared": {},
    "airflow.sdk._shared.listeners": {"hookimpl": f"{_LINEAGE}:hookimpl"},
    "airflow.sdk._shared.module_loading": {"*": f"{_SURFACE}.modules"},
    "airflow.sdk._shared.secrets_masker": _MASKING,
    "airflow.sdk._shared.timezones": {},
    "airflow.sdk._shared.timezones.timezone": _TIMEZONE,
}
MODULES.update(_SDK)
