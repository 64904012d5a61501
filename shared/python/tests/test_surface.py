"""Every import path of both eras resolves; what can't be had fails where it is used, and says what to do."""

from __future__ import annotations

import json
import socketserver
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from conftest import Folder

SOURCE = Path(__file__).resolve().parents[1] / "src"

# What DAG files import that is no provider's, by the era that named it so; `module: names`.
SYMBOLS = """
airflow: DAG Dataset XComArg __version__ macros conf AirflowException
airflow.configuration: conf get getboolean AIRFLOW_HOME AirflowConfigParser
airflow.contrib.operators.branch_python_operator: BranchPythonOperator
airflow.contrib.sensors.file_sensor: FileSensor
airflow.contrib.sensors.python_sensor: PythonSensor
airflow.datasets: Dataset DatasetAlias DatasetAll DatasetAny
airflow.datasets.metadata: Metadata
airflow.decorators: dag task task_group setup teardown
airflow.decorators.base: DecoratedOperator TaskDecorator get_unique_task_id task_decorator_factory
airflow.exceptions: AirflowException AirflowFailException AirflowSkipException AirflowSensorTimeout
airflow.exceptions: AirflowTaskTimeout AirflowBadRequest AirflowConfigException TaskDeferred DagRunAlreadyExists
airflow.exceptions: AirflowNotFoundException DagNotFound DuplicateTaskIdFound AirflowClusterPolicyViolation
airflow.hooks.base: BaseHook
airflow.hooks.base_hook: BaseHook
airflow.hooks.filesystem: FSHook
airflow.hooks.subprocess: SubprocessHook
airflow.io.path: ObjectStoragePath
airflow.lineage: AUTO apply_lineage prepare_lineage
airflow.lineage.entities: File Table Column
airflow.listeners: hookimpl
airflow.macros: ds_add ds_format datetime timedelta
airflow.models: DAG BaseOperator BaseOperatorLink Connection DagBag DagModel DagRun Log MappedOperator Param Pool
airflow.models: SkipMixin TaskInstance TaskReschedule Variable XCom XComArg DagTag SlaMiss Trigger Operator
airflow.models.abstractoperator: AbstractOperator
airflow.models.baseoperator: BaseOperator chain chain_linear cross_downstream BaseOperatorLink
airflow.models.connection: Connection
airflow.models.dag: DAG DagModel ScheduleInterval DagContext
airflow.models.dagbag: DagBag
airflow.models.dagrun: DagRun
airflow.models.param: Param ParamsDict
airflow.models.serialized_dag: SerializedDagModel
airflow.models.skipmixin: SkipMixin
airflow.models.taskinstance: TaskInstance Context clear_task_instances
airflow.models.taskinstancekey: TaskInstanceKey
airflow.models.variable: Variable
airflow.models.xcom: XCom XCOM_RETURN_KEY BaseXCom LazyXComAccess
airflow.models.xcom_arg: XComArg
airflow.notifications.basenotifier: BaseNotifier
airflow.operators.bash: BashOperator
airflow.operators.bash_operator: BashOperator
airflow.operators.branch: BaseBranchOperator
airflow.operators.dagrun_operator: TriggerDagRunOperator
airflow.operators.datetime: BranchDateTimeOperator
airflow.operators.dummy: DummyOperator
airflow.operators.dummy_operator: DummyOperator
airflow.operators.email: EmailOperator
airflow.operators.email_operator: EmailOperator
airflow.operators.empty: EmptyOperator
airflow.operators.latest_only: LatestOnlyOperator
airflow.operators.python: PythonOperator BranchPythonOperator ShortCircuitOperator PythonVirtualenvOperator
airflow.operators.python: ExternalPythonOperator get_current_context
airflow.operators.python_operator: PythonOperator BranchPythonOperator ShortCircuitOperator
airflow.operators.subdag: SubDagOperator
airflow.operators.subdag_operator: SubDagOperator
airflow.operators.trigger_dagrun: TriggerDagRunOperator
airflow.operators.weekday: BranchDayOfWeekOperator
airflow.plugins_manager: AirflowPlugin
airflow.providers_manager: ProvidersManager
airflow.sdk: DAG Asset AssetAlias BaseHook BaseNotifier BaseOperator BaseSensorOperator Connection Context Label
airflow.sdk: Metadata ObjectStoragePath Param TaskGroup TriggerRule Variable XComArg chain conf dag task setup
airflow.sdk: get_current_context get_parsing_context literal task_group teardown macros ResumableJobMixin
airflow.sdk.bases.hook: BaseHook
airflow.sdk.bases.operator: BaseOperator
airflow.sdk.bases.sensor: BaseSensorOperator PokeReturnValue poke_mode_only
airflow.sdk.definitions._internal.types: NOTSET ArgNotSet SET_DURING_EXECUTION
airflow.sdk.exceptions: AirflowException AirflowSkipException TaskAwaitingInput
airflow.sdk.module_loading: import_string iter_namespace qualname
airflow.secrets: BaseSecretsBackend
airflow.sensors.base: BaseSensorOperator PokeReturnValue poke_mode_only
airflow.sensors.base_sensor_operator: BaseSensorOperator
airflow.sensors.bash: BashSensor
airflow.sensors.date_time: DateTimeSensor
airflow.sensors.external_task: ExternalTaskSensor ExternalTaskMarker
airflow.sensors.external_task_sensor: ExternalTaskSensor
airflow.sensors.filesystem: FileSensor
airflow.sensors.python: PythonSensor
airflow.sensors.time_delta: TimeDeltaSensor
airflow.settings: Session TIMEZONE AIRFLOW_HOME DAGS_FOLDER pod_mutation_hook engine
airflow.stats: Stats
airflow.task.trigger_rule: TriggerRule
airflow.timetables.base: Timetable DataInterval DagRunInfo TimeRestriction
airflow.timetables.datasets: DatasetOrTimeSchedule
airflow.timetables.interval: CronDataIntervalTimetable DeltaDataIntervalTimetable
airflow.timetables.simple: NullTimetable OnceTimetable
airflow.timetables.trigger: CronTriggerTimetable DataInterval
airflow.triggers.base: BaseTrigger TriggerEvent BaseEventTrigger StartTriggerArgs
airflow.typing_compat: Literal
airflow.utils: timezone
airflow.utils.context: Context context_merge
airflow.utils.dag_parsing_context: get_parsing_context
airflow.utils.dates: days_ago cron_presets round_time parse_execution_date
airflow.utils.db: provide_session create_session
airflow.utils.decorators: apply_defaults
airflow.utils.deprecation_tools: add_deprecated_classes
airflow.utils.edgemodifier: Label
airflow.utils.email: send_email
airflow.utils.file: TemporaryDirectory
airflow.utils.hashlib_wrapper: md5
airflow.utils.helpers: chain cross_downstream exactly_one prune_dict merge_dicts validate_key convert_camel_to_snake
airflow.utils.log.logging_mixin: LoggingMixin
airflow.utils.log.secrets_masker: mask_secret redact
airflow.utils.module_loading: import_string
airflow.utils.operator_helpers: determine_kwargs context_to_airflow_vars
airflow.utils.platform: getuser
airflow.utils.process_utils: patch_environ execute_in_subprocess
airflow.utils.session: provide_session create_session NEW_SESSION
airflow.utils.state: State DagRunState TaskInstanceState JobState
airflow.utils.strings: to_boolean get_random_string
airflow.utils.task_group: TaskGroup
airflow.utils.timeout: timeout
airflow.utils.timezone: datetime utcnow make_aware td_format
airflow.utils.trigger_rule: TriggerRule
airflow.utils.types: DagRunType NOTSET ArgNotSet
airflow.utils.weekday: WeekDay
airflow.utils.yaml: safe_load dump
airflow.version: version
airflow.www.app: create_app
airflow.api.common.trigger_dag: trigger_dag
airflow.executors.local_executor: LocalExecutor
airflow.jobs.base_job: BaseJob
"""

EACH_IN_A_FORK = """
import json, os, sys
from dagbok.compat import activate
activate()
failed = []
for path in json.loads(sys.stdin.read()):
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        module, _, name = path.partition(":")
        try:
            exec(f"from {module} import {name}" if name else f"import {module}", {})
        except BaseException as error:
            os.write(writing, f"{path}: {type(error).__name__}: {error}".encode()[:4000])
        os._exit(0)
    os.close(writing)
    said = os.read(reading, 4096).decode()
    os.close(reading)
    os.waitpid(child, 0)
    if said:
        failed.append(said)
print(json.dumps(failed))
"""


def clean(code: str, given: object = None) -> Any:
    """What a fresh interpreter prints, as JSON."""
    env = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(SOURCE), "DAGBOK_AIRFLOW": "shim"}
    run = [sys.executable, "-P", "-c", code]
    done = subprocess.run(
        run, check=False, input=json.dumps(given), capture_output=True, text=True, env=env, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def paths() -> list[str]:
    lines = (line.split(": ") for line in SYMBOLS.strip().splitlines())
    return [f"{module}:{name}" for module, names in lines for name in names.split()]


def test_each_path_of_the_surface_resolves_in_a_clean_interpreter() -> None:
    assert len(paths()) > 240
    assert clean(EACH_IN_A_FORK, paths()) == []


def test_whatever_airflow_is_known_to_have_can_be_imported() -> None:
    code = """
import json, sys
from dagbok.compat import activate
activate()
import importlib
from dagbok.compat import recorded
failed = []
for module, names in recorded.known().items():
    made = importlib.import_module(module)
    for name in names:
        if name in recorded.moved().get(module, ()):
            continue  # to a provider's package, which may be absent
        try:
            getattr(made, name)
        except Exception as error:
            failed.append(f"{module}.{name}: {type(error).__name__}: {error}")
print(json.dumps([failed, len(recorded.known()), sum(map(len, recorded.known().values()))]))
"""
    failed, modules, names = clean(code)
    # PyYAML and providers are packages of their own, which not everybody has.
    excused = ("No module named 'yaml'", "its provider is not installed")
    assert [text for text in failed if not any(words in text for words in excused)] == []
    assert len(failed) < 20
    assert modules > 300
    assert names > 3000


def test_the_surface_loads_only_what_it_names() -> None:
    code = """
import json, sys
from dagbok.compat import activate
activate()
from airflow import DAG, __version__
from airflow.decorators import dag, task, task_group
from airflow.models import Variable
from airflow.operators.bash import BashOperator
from airflow.operators.empty import EmptyOperator
from airflow.operators.python import PythonOperator
print(json.dumps(sorted(sys.modules)))
"""
    loaded = clean(code)
    lazy = ("pendulum", "jinja2", "yaml", "dagbok.surface", "dagbok.compat.recorded", "dagbok.compat.absent")
    assert [name for name in loaded if name.startswith(lazy)] == []
    assert "dagbok.compat.sections.wider" not in loaded


@pytest.mark.parametrize(
    ("imported", "used", "words"),
    [
        ("airflow.models import DagModel", "DagModel.get_dagmodel('d')", "/api/v2/dags"),
        ("airflow.models.log import Log", "bool(Log.event == 'success')", "/api/v2/eventLogs"),
        ("airflow.models.log import Log", "Log.nothing", "/api/v2/eventLogs"),
        ("airflow.models import Pool", "Pool.get_pool('p')", "dagbok pools set"),
        ("airflow.www.app import create_app", "create_app()", "REST API"),
        ("airflow.api.common.experimental.trigger_dag import trigger_dag", "trigger_dag('d')", "REST API"),
        ("airflow.executors.local_executor import LocalExecutor", "LocalExecutor()", "dagbok executor"),
        ("airflow.settings import Session", "Session().query(1)", "REST API"),
        ("airflow.settings import engine", "engine.connect()", "REST API"),
        ("airflow.utils.db import initdb", "initdb()", "REST API"),
        ("airflow.cli.cli_parser import get_parser", "get_parser()", "dagbok --help"),
    ],
)
def test_what_can_not_be_had_fails_at_the_line_that_uses_it(
    folder: Folder, imported: str, used: str, words: str
) -> None:
    assert folder.spec(f"from {imported}\nwith DAG('d', schedule=None): pass\n")["dag_id"] == "d"
    error = folder.error(f"from {imported}\n{used}\n")
    assert words in error["message"]
    assert "can't be used" in error["message"]
    assert error["line"] == 11
    assert not error["may_heal"]


def test_classes_ask_how_their_fields_may_be_shown(folder: Folder) -> None:
    spec = folder.spec(
        """
        from airflow.www import utils as wwwutils
        from airflow.www.utils import get_attr_renderer
        class Mine(BashOperator):
            template_fields_renderers = {"sql": "postgresql" if "postgresql" in wwwutils.get_attr_renderer() else "sql"}
        assert Mine.template_fields_renderers == {"sql": "postgresql"} and "json" in get_attr_renderer()
        with DAG("d", schedule=None): pass
        """
    )
    assert spec["dag_id"] == "d"


def test_a_stand_in_can_be_named_inherited_from_and_asked_for_what_it_may_have(folder: Folder) -> None:
    spec = folder.spec(
        """
        from typing import Optional
        from airflow.models import DagModel, Log
        from airflow.executors.base_executor import BaseExecutor
        from airflow.utils.session import NEW_SESSION, provide_session
        class Mine(BaseExecutor):
            def heartbeat(self, found: Optional[DagModel] = None, more: "Log | None" = None): pass
        @provide_session
        def ask(name: str, session=NEW_SESSION): return session.query(DagModel)
        assert not hasattr(BaseExecutor, "get_task_key") and not isinstance(3, DagModel)
        assert getattr(DagModel, "no_column", 7) == 7
        try: ask("d")
        except Exception as error: assert "tasks have no database session" in str(error)
        else: raise AssertionError
        from airflow.sdk.api.client import ServerResponseError
        try:
            try: raise KeyError("the task's own")
            except ServerResponseError: raise AssertionError
        except KeyError: pass
        with DAG("d", schedule=None): pass
        """
    )
    assert spec["dag_id"] == "d"


def fake_sql(folder: Folder) -> None:
    """A provider as common.sql is, as far as its operator's arguments go."""
    folder.write(
        "airflow/providers/common/sql/operators/sql.py",
        """
        from airflow.models import BaseOperator
        class SQLExecuteQueryOperator(BaseOperator):
            template_fields = ("sql", "parameters", "conn_id", "database", "hook_params")
            def __init__(self, *, sql, autocommit=False, parameters=None, conn_id=None, database=None,
                         hook_params=None, **kwargs):
                super().__init__(**kwargs)
                self.sql, self.conn_id, self.parameters = sql, conn_id, parameters
                self.database, self.hook_params = database, hook_params
        """,
        header=False,
    )


@pytest.mark.parametrize(
    ("module", "name", "kind"),
    [
        ("airflow.providers.postgres.operators.postgres", "PostgresOperator", "postgres"),
        ("airflow.operators.postgres_operator", "PostgresOperator", "postgres"),
        ("airflow.providers.mysql.operators.mysql", "MySqlOperator", "mysql"),
        ("airflow.providers.sqlite.operators.sqlite", "SqliteOperator", "sqlite"),
        ("airflow.providers.snowflake.operators.snowflake", "SnowflakeOperator", "snowflake"),
        ("airflow.contrib.operators.snowflake_operator", "SnowflakeOperator", "snowflake"),
        ("airflow.operators.mssql_operator", "MsSqlOperator", "mssql"),
        ("airflow.providers.amazon.aws.operators.redshift", "RedshiftSQLOperator", "redshift"),
    ],
)
def test_removed_classes_lead_to_what_took_their_place(
    folder: Folder, module: str, name: str, kind: str
) -> None:
    fake_sql(folder)
    spec = folder.spec(
        f"""
        from {module} import {name}
        with DAG("d", schedule=None, default_args={{"{kind}_conn_id": "of_the_dag"}}) as dag:
            {name}(task_id="own", sql="select 1", {kind}_conn_id="mine")
            {name}(task_id="default", sql="select 1")
        with DAG("e", schedule=None, auto_register=False):
            plain = {name}(task_id="plain", sql="select 1")
        assert dag.get_task("own").conn_id == "mine"
        assert dag.get_task("default").conn_id == "of_the_dag"
        assert plain.conn_id == "{kind}_default"
        """
    )
    assert {task["operator"] for task in spec["tasks"]} == {name}


def test_an_installed_module_answers_for_the_classes_that_its_package_dropped(folder: Folder) -> None:
    folder.write(
        "airflow/providers/http/operators/http.py",
        "from airflow.models import BaseOperator\nclass HttpOperator(BaseOperator): pass\n",
        header=False,
    )
    spec = folder.spec(
        """
        from airflow.providers.http.operators.http import SimpleHttpOperator, HttpOperator
        from airflow.operators.http_operator import SimpleHttpOperator as Older
        assert SimpleHttpOperator is HttpOperator is Older
        with DAG("d", schedule=None): SimpleHttpOperator(task_id="t")
        """
    )
    assert spec["tasks"][0]["operator"] == "HttpOperator"


@pytest.mark.parametrize(
    ("line", "command"),
    [
        ("import requests_not_there", "pip install requests-not-there"),
        ("import sklearn.linear_model", "pip install scikit-learn"),
        ("from google.cloud import not_there_storage", "pip install google-cloud"),
        ("from airflow.providers.slack.hooks.slack import SlackHook", "apache-airflow-providers-slack"),
    ],
)
def test_a_missing_modules_error_says_which_command_installs_it(
    folder: Folder, line: str, command: str
) -> None:
    error = folder.error(line)
    assert command in error["message"], error
    assert error["line"] == 10


def test_a_package_that_is_there_and_lacks_a_part_is_not_to_be_installed(folder: Folder) -> None:
    assert "pip" not in folder.error("import json.no_such_part")["message"]


def test_options_have_airflows_defaults(folder: Folder) -> None:
    folder.spec(
        """
        import os
        from airflow.configuration import conf, AIRFLOW_HOME
        from airflow import configuration
        assert conf.get("core", "executor") == "LocalExecutor" or conf.get("core", "executor")
        assert conf.get("logging", "base_log_folder") == f"{AIRFLOW_HOME}/logs"
        assert conf.get("core", "BASE_LOG_FOLDER") == f"{AIRFLOW_HOME}/logs"
        assert conf.get("core", "plugins_folder") == f"{AIRFLOW_HOME}/plugins"
        assert conf.getint("smtp", "smtp_port") == 25 and conf.getboolean("smtp", "smtp_starttls")
        assert conf.get("webserver", "base_url") == conf.get("api", "base_url")
        assert "%%" not in conf.get("logging", "log_format")
        assert conf.getlist("core", "allowed_deserialization_classes")
        assert configuration.get("core", "default_timezone") == "utc"
        os.environ["AIRFLOW__MINE__CLASS"] = "collections.OrderedDict"
        assert conf.getimport("mine", "class").__name__ == "OrderedDict"
        assert conf.getsection("mine") == {"class": "collections.OrderedDict"}
        assert conf.get("mine", "nothing", fallback=None) is None and not conf.has_option("mine", "nothing")
        with DAG("d", schedule=None): pass
        """
    )


class Sink(socketserver.StreamRequestHandler):
    """As much of an SMTP server as one mail needs."""

    def handle(self) -> None:
        self.wfile.write(b"220 sink\r\n")
        while line := self.rfile.readline():
            word = line.split()[0].upper()
            if word == b"DATA":
                self.wfile.write(b"354 go on\r\n")
                text = b""
                while not text.endswith(b"\r\n.\r\n"):
                    text += self.rfile.readline()
                self.server.mails.append(text.decode())  # type: ignore[attr-defined]
            elif word == b"RCPT":
                self.server.to.append(line.decode())  # type: ignore[attr-defined]
            self.wfile.write(b"221 bye\r\n" if word == b"QUIT" else b"250 ok\r\n")
            if word == b"QUIT":
                return


def test_a_task_sends_mail(tmp_path: Path) -> None:
    (tmp_path / "report.csv").write_text("a,b\n")
    with socketserver.TCPServer(("127.0.0.1", 0), Sink) as server:
        server.mails, server.to = [], []  # type: ignore[attr-defined]
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        code = f"""
import json, os
os.environ.update(AIRFLOW__SMTP__SMTP_HOST="127.0.0.1", AIRFLOW__SMTP__SMTP_PORT="{server.server_address[1]}",
                  AIRFLOW__SMTP__SMTP_STARTTLS="False")
from dagbok.compat import activate
activate()
from airflow.operators.email import EmailOperator
EmailOperator(task_id="t", to="a@example.com; b@example.com", cc=["c@example.com"], subject="Räksmörgås",
              html_content="<b>done</b>", files=["{tmp_path}/report.csv"]).execute({{}})
print("null")
"""
        try:
            clean(code)
        finally:
            server.shutdown()
            thread.join()
        (mail,) = server.mails  # type: ignore[attr-defined]
        assert len(server.to) == 3  # type: ignore[attr-defined]
    assert "<b>done</b>" in mail
    assert 'filename="report.csv"' in mail
    assert "Subject: =?utf-8?" in mail


def test_a_provider_brings_its_kind_of_task(folder: Folder, tmp_path: Path) -> None:
    folder.write(
        "airflow/providers/mine/decorators.py",
        """
        from airflow.sdk.bases.decorator import DecoratedOperator, task_decorator_factory
        class _Mine(DecoratedOperator):
            custom_operator_name = "@task.mine"
            def __init__(self, *, size=1, **kwargs):
                super().__init__(**kwargs)
                self.size = size
            def execute(self, context): return self.get_python_source()
        def mine_task(python_callable=None, multiple_outputs=None, **kwargs):
            return task_decorator_factory(python_callable=python_callable, multiple_outputs=multiple_outputs,
                                          decorated_operator_class=_Mine, **kwargs)
        """,
        header=False,
    )
    folder.write(
        "airflow/providers/mine/get_provider_info.py",
        """
        def get_provider_info():
            return {"package-name": "mine", "task-decorators": [
                {"name": "mine", "class-name": "airflow.providers.mine.decorators.mine_task"}]}
        """,
        header=False,
    )
    entry = "[apache_airflow_provider]\nprovider_info=airflow.providers.mine.get_provider_info:get_provider_info\n"
    (folder.path / "mine-1.dist-info").mkdir()
    (folder.path / "mine-1.dist-info" / "METADATA").write_text("Name: mine\nVersion: 1\n")
    (folder.path / "mine-1.dist-info" / "entry_points.txt").write_text(entry)
    spec = folder.spec(
        """
        with DAG("d", schedule=None) as dag:
            @task.mine(size=3)
            def work(): return 1
            @task.run_if(lambda context: True, skip_message="no")
            @task
            def sometimes(): return 2
            work() >> sometimes()
        assert dag.get_task("work").size == 3
        assert dag.get_task("work").execute({}).startswith("def work()")
        """
    )
    assert [task["operator"] for task in spec["tasks"]] == ["_Mine", "_PythonDecoratedOperator"]


def test_a_function_is_an_asset_and_a_dag(folder: Folder) -> None:
    text = """
        from airflow.sdk import Asset, asset
        @asset(schedule="@daily", uri="s3://bucket/raw")
        def raw(): return 1
        @asset(schedule=raw, name="shown", tags=["t"])
        def made(self, context, raw, size=3): return 2
        @asset.multi(schedule=None, outlets=[Asset("a"), Asset("b")])
        def both(): return 3
    """
    (answer,) = folder.parse(folder.write("file.py", text))
    assert answer["errors"] == []
    dags = {dag["dag_id"]: dag for dag in answer["dags"]}
    assert {name: [task["task_id"] for task in dag["tasks"]] for name, dag in dags.items()} == {
        "raw": ["raw"],
        "shown": ["made"],
        "both": ["both"],
    }
    (task,) = dags["shown"]["tasks"]
    assert task["inlets"] == [{"Name": {"name": "raw"}}]
    assert "shown" in json.dumps(task["outlets"])
    assert "s3://bucket/raw" in json.dumps(dags["shown"]["asset_condition"])
    assert len(dags["both"]["tasks"][0]["outlets"]) == 2


def test_a_schemas_keys_need_not_be_texts(folder: Folder) -> None:
    spec = folder.spec(
        """
        from airflow.models.param import Param
        choice = Param(2, type=["integer", "null"], enum=[1, 2, None], values_display={1: "one", None: "none"})
        with DAG("d", schedule=None, params={"n": choice}):
            EmptyOperator(task_id="t").params = {"m": 1}
        """
    )
    assert json.loads(spec["param_schemas"])["n"]["values_display"] == {"1": "one", "null": "none"}


def test_the_contexts_instants_pass_for_pendulums_once_that_is_imported() -> None:
    code = """
import copy, datetime as dt, json, pickle, sys
from dagbok.datetimes import DateTime
start, end = DateTime(2024, 3, 1, 2, tzinfo=dt.UTC), DateTime(2024, 3, 2, tzinfo=dt.UTC)
said = [(end - start).in_hours(), (end - start).total_seconds(), (end - dt.timedelta(1)).isoformat()]
assert start.__class__ is DateTime and "pendulum" not in sys.modules
import pendulum
said += [isinstance(start, pendulum.DateTime), isinstance(start, DateTime), type(copy.copy(start)) is DateTime]
said += [pickle.loads(pickle.dumps(start)) == start, start.end_of("month").to_date_string(), start.diff(end).in_hours()]
said += [(end - start).in_words(), pendulum.instance(start).isoformat(), pendulum.interval(start, end).in_hours()]
print(json.dumps(said))
"""
    assert clean(code) == [
        22,
        79200.0,
        "2024-03-01T00:00:00+00:00",
        True,
        True,
        True,
        True,
        "2024-03-31",
        22,
        "22 hours",
        "2024-03-01T02:00:00+00:00",
        22,
    ]


def test_all_of_a_module_can_be_imported_at_once() -> None:
    code = """
import json
from dagbok.compat import activate
activate()
from dagbok.compat.sections.wider import MODULES as wider
from dagbok.compat.table import MODULES
failed, names = [], 0
for module in sorted({*MODULES, *wider} - {"airflow.typing_compat"}):
    space = {}
    try:
        exec(f"from {module} import *", space)
    except Exception as error:
        failed.append(f"{module}: {type(error).__name__}: {error}")
    names += len(space)
print(json.dumps([failed, names]))
"""
    failed, names = clean(code)
    # Those that lead to a provider, which is not installed, say so.
    assert [text for text in failed if "its provider is not installed" not in text] == []
    assert names > 900
