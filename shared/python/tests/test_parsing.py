"""The parser as the processor runs it: specs, errors with file and line, what was read, hostile files."""

from __future__ import annotations

from pathlib import Path

import pytest

from conftest import Folder
from fake_supervisor import gone, parse, parser_lines


def test_a_whole_spec(folder: Folder) -> None:
    spec = folder.spec(
        """
        import pendulum
        with DAG(
            "whole", description="d", schedule="@daily", start_date=pendulum.datetime(2024, 1, 1, tz="Europe/Stockholm"),
            end_date=datetime(2025, 1, 1), catchup=False, tags=["b", "a"], max_active_runs=2, max_active_tasks=3,
            dagrun_timeout=timedelta(hours=1), params={"p": 1}, doc_md="# doc", is_paused_upon_creation=True,
            dag_display_name="Whole", default_args={"owner": "me", "retries": 2, "retry_delay": timedelta(seconds=5)},
        ) as d:
            with TaskGroup("outer"):
                with TaskGroup("inner"):
                    a = EmptyOperator(task_id="a", pool="p", pool_slots=2, queue="q", priority_weight=5)
            b = BashOperator(
                task_id="b", bash_command="x", trigger_rule="all_done", retries=0, execution_timeout=timedelta(minutes=1),
                retry_exponential_backoff=True, max_retry_delay=60, owner="you", doc_md="doc",
            )
            a >> b
        """
    )
    assert spec == {
        "dag_id": "whole",
        "display_name": "Whole",
        "description": "d",
        "doc_md": "# doc",
        "owner": "me, you",
        "tags": ["a", "b"],
        "schedule": {
            "text": "@daily",
            "timetable": {"CronDataInterval": {"expression": "0 0 * * *"}},
            "timezone": "Europe/Stockholm",
        },
        "start_date": "2023-12-31T23:00:00Z",
        "end_date": "2025-01-01T00:00:00Z",
        "catchup": False,
        "max_active_runs": 2,
        "max_active_tasks": 3,
        "dagrun_timeout": 3_600_000_000,
        "is_paused_upon_creation": True,
        "params": '{"p": 1}',
        "tasks": [
            {
                "task_id": "outer.inner.a", "operator": "EmptyOperator", "retries": 2, "retry_delay": 5_000_000,
                "pool": "p", "pool_slots": 2, "queue": "q", "priority_weight": 6, "owner": "me", "group": "outer.inner",
            },
            {
                "task_id": "b", "operator": "BashOperator", "upstream": [0], "trigger_rule": "all_done",
                "retry_delay": 5_000_000, "execution_timeout": 60_000_000, "retry_backoff_milli": 2000,
                "max_retry_delay": 60_000_000, "owner": "you", "doc_md": "doc",
            },
        ],
        "source": {"file": "file.py", "line": 12},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("schedule", "timetable", "text"),
    [
        ("schedule=None", "Manual", None),
        ("schedule_interval=None", "Manual", None),
        ("schedule='@once'", "Once", "@once"),
        ("schedule='@continuous', max_active_runs=1", "Continuous", "@continuous"),
        ("schedule='@hourly'", {"CronDataInterval": {"expression": "0 * * * *"}}, "@hourly"),
        (
            "schedule_interval=' 5 4 * *  1 '",
            {"CronDataInterval": {"expression": "5 4 * * 1"}},
            " 5 4 * *  1 ",
        ),
        ("", {"DeltaDataInterval": {"every": 86_400_000_000}}, "1 day, 0:00:00"),
        ("schedule=timedelta(hours=2)", {"DeltaDataInterval": {"every": 7_200_000_000}}, "2:00:00"),
        (
            "schedule=__import__('dateutil.relativedelta').relativedelta.relativedelta(months=1, days=2)",
            {"DeltaDataInterval": {"every": 172_800_000_000, "months": 1}},
            "relativedelta(months=+1, days=+2)",
        ),
        (
            "timetable=__import__('airflow.timetables.trigger').timetables.trigger.CronTriggerTimetable('0 1 * * *', timezone='Asia/Tokyo')",
            {"CronTrigger": {"expression": "0 1 * * *"}},
            "0 1 * * *",
        ),
    ],
)
def test_schedules(folder: Folder, schedule: str, timetable: object, text: str | None) -> None:
    spec = folder.spec(
        f"with DAG('d', start_date=datetime(2024, 1, 1), {schedule}) as d:\n    EmptyOperator(task_id='t')\n"
    )
    assert spec["schedule"]["timetable"] == timetable
    assert spec["schedule"].get("text") == text
    assert spec["schedule"]["timezone"] == ("Asia/Tokyo" if "Tokyo" in schedule else "UTC")


def test_events_timetable(folder: Folder) -> None:
    spec = folder.spec(
        "from airflow.timetables.events import EventsTimetable\n"
        "with DAG('d', schedule=EventsTimetable([datetime(2024, 2, 1), datetime(2024, 1, 1)])) as d: pass\n"
    )
    first = {"start": "2024-01-01T00:00:00Z", "end": "2024-01-01T00:00:00Z"}
    assert spec["schedule"]["timetable"]["Events"]["dates"][0] == first


SDK = "from airflow.sdk import DAG\nwith DAG('d', schedule='@daily') as d: pass\n"


def test_never_is_as_late_as_the_log_can_write(folder: Folder) -> None:
    folder.write(
        "never.py",
        "from datetime import timedelta\n"
        "with DAG('d', schedule='@daily', start_date=datetime(2024, 1, 1), end_date=datetime.max,\n"
        "         dagrun_timeout=timedelta.max):\n"
        "    EmptyOperator(task_id='t', execution_timeout=timedelta.max)\n",
    )
    folder.write("delta.py", "from datetime import timedelta\nDAG('d', schedule=timedelta.max)\n")
    never, delta = folder.parse("never.py", "delta.py")
    (dag,) = never["dags"]
    assert dag["end_date"] == "9999-12-30T00:00:00Z"
    assert dag["dagrun_timeout"] == dag["tasks"][0]["execution_timeout"] == 365_000 * 86_400_000_000
    assert "at most 365000 days" in str(delta)


def test_a_file_that_imports_the_sdk_means_the_newer_era(folder: Folder) -> None:
    folder.write("new.py", SDK, header=False)
    folder.write("helper.py", "import airflow.sdk\n", header=False)
    folder.write(
        "old.py",
        "import helper\nfrom airflow import DAG\nwith DAG('o', schedule='@daily') as d: pass\n",
        header=False,
    )
    folder.write("bare.py", "from airflow.sdk import DAG\nwith DAG('b') as d: pass\n", header=False)
    new, old, bare = folder.parse("new.py", "old.py", "bare.py")
    assert new["dags"][0]["schedule"]["timetable"] == {"CronTrigger": {"expression": "0 0 * * *"}}
    assert new["dags"][0]["catchup"] is False
    assert new["dags"][0]["era"] == bare["dags"][0]["era"] == 3
    assert "era" not in old["dags"][0]  # the default of who reads it
    assert old["dags"][0]["schedule"]["timetable"] == {"CronDataInterval": {"expression": "0 0 * * *"}}
    assert old["dags"][0]["catchup"] is True
    assert bare["dags"][0]["schedule"]["timetable"] == "Manual"
    (forced,) = folder.parse("new.py", env={"DAGBOK_SCHEDULE_ERA": "2"})
    assert "CronDataInterval" in forced["dags"][0]["schedule"]["timetable"]


def test_imports_of_the_folder_are_named_also_when_the_file_fails(folder: Folder) -> None:
    folder.write("lib/__init__.py", "", header=False)
    folder.write("lib/deep.py", "VALUE = 1\n", header=False)
    folder.write("settings.yaml", "a: 1\n", header=False)
    folder.write("broken.py", "import lib.deep\n1 / 0\n", header=False)
    folder.write(
        "a.py", "from lib.deep import VALUE\nopen(os.path.dirname(__file__) + '/settings.yaml').read()\n"
    )
    folder.write("b.py", "import broken\n")
    a, b = folder.parse("a.py", "b.py")
    assert a["imports"] == ["lib/__init__.py", "lib/deep.py", "settings.yaml"]
    assert b["imports"] == ["broken.py", "lib/__init__.py", "lib/deep.py"]
    (error,) = b["errors"]
    assert (error["file"], error["line"], error["exception"]) == ("broken.py", 2, "ZeroDivisionError")
    assert not list(folder.path.rglob("__pycache__")), "nothing is written into the user's folder"


def test_where_modules_were_looked_for_is_named(folder: Folder) -> None:
    folder.write("lib/names.py", "VALUE = 1\n", header=False)
    folder.write(
        "file.py",
        """
        import importlib, sys
        try:
            from lib import overrides
        except ImportError:
            pass
        sys.path.insert(0, __file__.rpartition("/")[0] + "/plugins")
        import lib.names
        importlib.import_module("no.such_module")
        """,
        header=False,
    )
    (answer,) = folder.parse("file.py")
    assert answer["errors"][0]["exception"] == "ModuleNotFoundError"
    assert answer["imports"] == ["lib/names.py"]
    # `lib` is there and a package of its own may come before it; `no` is missing in both places.
    assert answer["sought"] == ["lib", "lib/names", "lib/overrides", "no", "plugins/no"]


def test_what_is_asked_for_by_the_folders_real_path_or_is_not_there_is_named(
    folder: Folder, tmp_path: Path
) -> None:
    folder.write("settings.yaml", "a: 1\n", header=False)
    folder.write(
        "file.py",
        """
        from pathlib import Path
        here = Path(__file__).resolve().parent
        (here / "settings.yaml").read_text()
        (here / "written.txt").write_text("")
        (here / "not_yet.yaml").read_text()
        """,
        header=False,
    )
    link = tmp_path / "link"
    link.symlink_to(folder.path)
    (answer,) = parse(link, "file.py")
    assert answer["errors"][0]["exception"] == "FileNotFoundError"
    assert answer["imports"] == ["not_yet.yaml", "settings.yaml"]


@pytest.mark.parametrize(
    ("text", "listed"),
    [
        ("glob.glob(here + '/configs/*.yaml')", ["configs"]),
        ("[*pathlib.Path(here, 'sql').glob('*.sql')]", ["sql"]),
        ("[*os.walk(here + '/sql')]", ["sql", "sql/deep"]),
        ("os.chdir(here); os.listdir()", [""]),
        ("os.listdir(os.open(here, os.O_RDONLY))", []),
        ("[*pkgutil.iter_modules([here + '/sql/deep'])]", ["sql/deep"]),
        ("import sql.deep; importlib.metadata.version('pytest')", []),
    ],
)
def test_folders_that_an_import_lists_are_named(folder: Folder, text: str, listed: list[str]) -> None:
    folder.write("sql/deep/a.sql", "", header=False)
    head = "import glob, importlib.metadata, os, pathlib, pkgutil\nhere = os.path.dirname(__file__)\n"
    (answer,) = folder.parse(folder.write("file.py", head + text, header=False))
    assert answer["errors"] == []
    assert answer["listed"] == listed


def test_what_an_import_depends_on_is_told_before_it_ends(folder: Folder) -> None:
    folder.write("lib/deep.py", "import no_such_module\n", header=False)
    text = """
    import os
    try:
        import lib.deep
    except ImportError:
        os._exit(0)
    """
    *notes, answer = parser_lines(folder.path, folder.write("file.py", text, header=False))
    assert notes == [
        {"sought": "lib"}, {"sought": "lib/deep"}, {"read": "lib/deep.py"}, {"sought": "no_such_module"},
    ]  # fmt: skip
    assert answer["errors"][0]["exception"] == "ParserDied"
    assert answer["imports"] == ["lib/deep.py"]
    assert answer["sought"] == ["lib", "lib/deep", "no_such_module"]


def test_a_process_that_the_import_forked_answers_nothing(folder: Folder) -> None:
    text = """
    import os
    if (pid := os.fork()) == 0:
        import of_another_process
    os.waitpid(pid, 0)
    """
    (answer,) = parser_lines(folder.path, folder.write("file.py", text, header=False))
    assert answer["errors"] == []


def test_a_file_opened_under_the_answers_number_is_not_written_to(folder: Folder, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    text = f"""
    import os
    os.closerange(3, 64)
    opened = [open({str(mine)!r}, "a") for _ in range(20)]
    import no_such_module
    """
    (answer,) = folder.parse(folder.write("file.py", text, header=False))
    assert answer["errors"][0]["exception"] == "ParserDied"
    assert mine.read_text() == ""


@pytest.mark.parametrize(
    ("text", "may_heal"),
    [
        ("def f(:", False),
        ("DAG('d', schedule='nonsense')", False),
        ("raise __import__('dagbok.exceptions').exceptions.NotSupportedYet('no')", False),
        ("with DAG('d', schedule=None):\n    [EmptyOperator(task_id='t') for _ in 'ab']", False),
        ("with DAG('d', schedule=None) as d:\n    t = EmptyOperator(task_id='t')\n    t >> t", False),
        ("with DAG('d', schedule=None): pass\nwith DAG('d', schedule=None): pass", False),
        ("import no_such_module", True),
        ("raise ConnectionRefusedError", True),
        ("eval('1 +')", True),
        ("import broken_package", True),
        ("os._exit(3)", True),
    ],
)
def test_what_is_wrong_in_the_file_itself_is_told_from_what_may_pass(
    folder: Folder, tmp_path: Path, text: str, may_heal: bool
) -> None:
    (tmp_path / "broken_package.py").write_text("def f(:\n")
    path = f"{tmp_path}:{Path(__file__).parents[1] / 'src'}"
    assert folder.error(text, env={"PYTHONPATH": path})["may_heal"] is may_heal


@pytest.mark.parametrize(
    ("text", "exception", "line", "words"),
    [
        ("def f(:\n    pass", "SyntaxError", 10, "invalid syntax"),
        ("import no_such_module", "ModuleNotFoundError", 10, "no_such_module"),
        ("sys.exit(2)", "SystemExit", 10, "sys.exit(2)"),
        ("os._exit(3)", "ParserDied", None, "exit code 3"),
        ("os.kill(os.getpid(), 9)", "ParserDied", None, "SIGKILL"),
        ("def f(): f()\nf()", "RecursionError", 10, "recursion"),
        ("raise KeyboardInterrupt", "KeyboardInterrupt", 10, ""),
        ("DAG('has space')", "AirflowException", 10, "' '"),
        ("DAG('x' * 251)", "AirflowException", 10, "250"),
        ("DAG('')", "AirflowException", 10, "empty"),
        ("DAG('d', schedule='nonsense')", "AirflowTimetableInvalid", 10, "1 fields"),
        ("DAG('d', schedule='@fortnightly')", "AirflowTimetableInvalid", 10, "@daily"),
        ("DAG('d', schedule=5)", "AirflowTimetableInvalid", 10, "int"),
        ("DAG('d', schedule=timedelta(0))", "AirflowTimetableInvalid", 10, "longer than zero"),
        ("DAG('d', schedule=None, timetable=1)", "AirflowException", 10, "not several"),
        ("DAG('d', no_such=1)", "TypeError", 10, "no_such"),
        ("DAG('d', schedule='@continuous')", "AirflowException", 10, "max_active_runs=1"),
    ],
)
def test_import_errors_name_the_place(
    folder: Folder, text: str, exception: str, line: int | None, words: str
) -> None:
    error = folder.error(text)
    assert error["exception"] == exception
    assert error["file"] == "file.py"
    assert error["line"] == line
    assert words in error["message"]


def in_dag(body: str) -> str:
    lines = "".join(f"    {line}\n" for line in body.splitlines())
    return f"with DAG('d', schedule=None) as d:\n{lines}with DAG('other', schedule=None) as o:\n    EmptyOperator(task_id='t')\n"


# What nobody carries out yet, as an argument of an operator.
VENV = "__import__('airflow.operators.python').operators.python.PythonVirtualenvOperator"
REFUSED = "python_callable=f, index_urls_from_connection_ids=['x']"


@pytest.mark.parametrize(
    ("body", "line", "words"),
    [
        (
            "a = EmptyOperator(task_id='a')\nb = EmptyOperator(task_id='b')\nc = EmptyOperator(task_id='c')\nc >> a >> b >> c",
            10,
            "a -> b -> c -> a",
        ),
        ("a = EmptyOperator(task_id='a')\na >> a", 10, "a -> a"),
        ("@task.kubernetes\ndef f(): pass\nf()", 13, "@task.kubernetes is not supported yet: task `f`"),
        (
            "EmptyOperator(task_id='t', executor_config={'memory': 'much'})",
            11,
            "'much', which is no amount of memory",
        ),
        (
            f"def f(): pass\n{VENV}(task_id='t', {REFUSED})",
            12,
            "index_urls_from_connection_ids is not supported yet",
        ),
        ("EmptyOperator(task_id='t', weight_rule='odd')", 11, "'odd'"),
        ("d.max_active_runs = -1", 10, "max_active_runs"),
    ],
)
def test_what_a_dag_can_not_have_leaves_the_others_of_the_file(
    folder: Folder, body: str, line: int, words: str
) -> None:
    (answer,) = folder.parse(folder.write("file.py", in_dag(body)))
    assert [dag["dag_id"] for dag in answer["dags"]] == ["other"]
    (error,) = answer["errors"]
    assert words in error["message"]
    assert "`d`" in error["message"]
    assert error["line"] == line


def test_all_that_a_dag_can_not_have_is_told_at_once(folder: Folder) -> None:
    message = folder.error(
        """
        with DAG('d', schedule=None):
            from airflow.operators.python import PythonVirtualenvOperator
            def f(): pass
            refused = dict(python_callable=f, index_urls_from_connection_ids=['x'])
            PythonVirtualenvOperator(task_id='first', **refused)
            for i in range(12):
                PythonVirtualenvOperator(task_id=f't{i}', **refused)
        """
    )["message"]
    assert (
        "task `first`; index_urls_from_connection_ids is not supported yet: task `t0` (line 17); " in message
    )
    assert message.endswith("task `t8` (line 17); and 3 more")


@pytest.mark.parametrize(
    ("schedule", "words"),
    [
        ("__import__('airflow.timetables.base').timetables.base.Timetable()", "no next_dagrun_info"),
    ],
)
def test_schedules_that_can_not_be_kept(folder: Folder, schedule: str, words: str) -> None:
    error = folder.error(f"with DAG('d', schedule={schedule}) as d: pass\n")
    assert words in error["message"]
    assert error["line"] == 10


def test_duplicates(folder: Folder) -> None:
    error = folder.error("with DAG('same', schedule=None): pass\nwith DAG('same', schedule=None): pass\n")
    assert "lines 10 and 11" in error["message"]
    error = folder.error(
        "with DAG('d', schedule=None):\n    EmptyOperator(task_id='t')\n    EmptyOperator(task_id='t')\n"
    )
    assert error["exception"] == "DuplicateTaskIdFound"
    assert "(line 11)" in error["message"]
    assert error["line"] == 12


def test_which_dags_are_the_files_own(folder: Folder) -> None:
    folder.write(
        "made.py",
        "with DAG('imported', schedule=None): pass\ndef make(name):\n    with DAG(name, schedule=None) as d: pass\n    return d\n",
    )
    folder.write(
        "file.py",
        """
        import made
        made.make("by_function")
        with DAG("not_assigned", schedule=None): pass
        with DAG("hidden", schedule=None, auto_register=False): pass
        named = DAG("named_only", schedule=None)
        def inner():
            DAG("neither", schedule=None)
        inner()
        """,
    )
    folder.write("reexports.py", "from made import *\nimport made\nhere = made.make('x')\n")
    (answer,) = folder.parse("file.py")
    assert [dag["dag_id"] for dag in answer["dags"]] == ["by_function", "not_assigned", "named_only"]


def test_noise_on_stdout_is_kept_from_the_answer(folder: Folder) -> None:
    spec = folder.spec(
        "print('noise')\nos.write(1, b'more')\nos.system('echo even more')\nwith DAG('d', schedule=None): pass\n"
    )
    assert spec["dag_id"] == "d"


def test_a_process_left_behind_by_an_import_is_ended_and_does_not_hold_the_answer(folder: Folder) -> None:
    mark = folder.path / "pid"
    text = f"""
    if os.fork() == 0:
        os.setsid()
        open({str(mark)!r}, "w").write(str(os.getpid()))
        time.sleep(600)
        os._exit(0)
    while not os.path.exists({str(mark)!r}) or not open({str(mark)!r}).read(): pass
    with DAG("d", schedule=None): pass
    """
    (answer,) = folder.parse(folder.write("file.py", text))
    assert [dag["dag_id"] for dag in answer["dags"]] == ["d"]
    assert gone(int(mark.read_text()))


def test_files_do_not_see_each_others_changes(folder: Folder) -> None:
    folder.write("a.py", "import json\njson.dumps = None\nsys.path.clear()\n")
    folder.write("b.py", "import json\njson.dumps({})\nwith DAG('d', schedule=None): pass\n")
    _, b = folder.parse("a.py", "b.py")
    assert b["errors"] == []


def test_a_file_without_dags(folder: Folder) -> None:
    (answer,) = folder.parse(folder.write("file.py", "X = 1\n", header=False))
    keys = ("dags", "errors", "imports", "listed", "sought", "warnings")
    nothing: dict[str, object] = {key: [] for key in keys}
    assert answer == {"file": "file.py", **nothing}


def test_ten_thousand_tasks(folder: Folder) -> None:
    spec = folder.spec(
        """
        with DAG("wide", schedule=None) as d:
            first = EmptyOperator(task_id="first")
            last = EmptyOperator(task_id="last")
            for i in range(9_998):
                first >> EmptyOperator(task_id=f"t{i}") >> last
        """
    )
    assert len(spec["tasks"]) == 10_000
    assert [spec["tasks"][0]["task_id"], spec["tasks"][-1]["task_id"]] == ["first", "last"]
    assert spec["tasks"][0]["priority_weight"] == 10_000


def test_unicode_and_dots_in_ids(folder: Folder) -> None:
    spec = folder.spec(
        "with DAG('dag.å-1', schedule=None, description='\\ud800x'):\n    EmptyOperator(task_id='t.ö')\n"
    )
    assert spec["dag_id"] == "dag.å-1"
    assert spec["tasks"][0]["task_id"] == "t.ö"
    assert spec["description"] == "?x"


def test_what_is_read_beside_the_folder_is_told(folder: Folder) -> None:
    beside = folder.path.parent / "include"
    beside.mkdir()
    (beside / "q.sql").write_text("select 1")
    (folder.path / "r.sql").write_text("select 1")
    text = """
    import pathlib
    here = pathlib.Path(__file__).resolve().parent
    (here.parent / "include" / "q.sql").read_text(), (here / "r.sql").read_text(), open("/etc/hosts").read()
    import zoneinfo; zoneinfo.ZoneInfo("Europe/Stockholm")
    with DAG("d", schedule=None): pass
    """
    (answer,) = folder.parse(folder.write("file.py", text))
    (warning,) = answer["warnings"]
    assert "reads `../include/q.sql`" in warning
    assert answer["imports"] == ["r.sql"]


def test_what_is_not_carried_out_is_told_with_its_line(folder: Folder) -> None:
    spec = folder.spec(
        """
        with DAG(
            "d", schedule=None, deadline=1, on_failure_callback=print, sla_miss_callback=print, start_date=datetime(2024, 1, 1),
            default_args={"email": "x@y", "email_on_retry": False},
        ):
            EmptyOperator(task_id="a")
            EmptyOperator(task_id="b", sla=timedelta(1), start_date=datetime(2024, 1, 2))
            EmptyOperator(task_id="c", on_failure_callback=print)
        """
    )
    told = [
        (it["what"].split(" ")[0], it["line"], it.get("task_id"), it.get("more"))
        for it in spec["not_carried_out"]
    ]
    assert told == [
        ("sla_miss_callback", 11, None, None),
        ("a", 11, None, None),
        ("email_on_failure", 15, "a", 2),
    ]
    assert spec["tasks"][1]["start_date"] == "2024-01-02T00:00:00Z", "carried out, it is nothing to be told"
    assert spec["failure_email"] == ["x@y"]
    assert spec["on_failure_callback"] is True
    assert "on_success_callback" not in spec
    assert spec["deadlines"] == [{"task_id": "b", "from": "interval_end", "after": 86_400_000_000}]
    plain = folder.spec("with DAG('d', schedule=None):\n    EmptyOperator(task_id='t', retries=1)\n")
    assert "failure_email" not in plain
    assert "not_carried_out" not in plain


def test_a_tasks_dates_are_told_where_they_are_not_its_dags(folder: Folder) -> None:
    told = folder.spec(
        """
        with DAG("d", schedule="@daily", start_date=datetime(2024, 1, 2), end_date=datetime(2024, 1, 9)):
            EmptyOperator(task_id="as_the_dag")
            EmptyOperator(task_id="later", start_date=datetime(2024, 1, 3))
            EmptyOperator(task_id="ends", end_date=datetime(2024, 1, 5))
            EmptyOperator(task_id="wider", start_date=datetime(2024, 1, 1), end_date=datetime(2024, 1, 10))
        """
    )
    assert (told["start_date"], told["end_date"]) == ("2024-01-02T00:00:00Z", "2024-01-09T00:00:00Z")
    dates = [(it["task_id"], it.get("start_date"), it.get("end_date")) for it in told["tasks"]]
    assert dates == [
        ("as_the_dag", None, None),
        ("later", "2024-01-03T00:00:00Z", None),
        ("ends", None, "2024-01-05T00:00:00Z"),
        ("wider", None, None),
    ]
    own = folder.spec(
        """
        with DAG("d", schedule=None):
            EmptyOperator(task_id="a", start_date=datetime(2024, 1, 1), end_date=datetime(2024, 1, 4))
            EmptyOperator(task_id="b", start_date=datetime(2024, 1, 3), end_date=datetime(2024, 1, 6))
        """
    )
    assert (own["start_date"], own["end_date"]) == ("2024-01-01T00:00:00Z", "2024-01-06T00:00:00Z")
    dates = [(it.get("start_date"), it.get("end_date")) for it in own["tasks"]]
    assert dates == [(None, "2024-01-04T00:00:00Z"), ("2024-01-03T00:00:00Z", None)]


def test_mailboxes_for_failures_are_in_the_spec_each_once(folder: Folder) -> None:
    spec = folder.spec(
        """
        with DAG("d", schedule=None, default_args={"email": ["a@x", "b@x; c@x"]}):
            EmptyOperator(task_id="a")
            EmptyOperator(task_id="b", email="a@x,d@x")
            EmptyOperator(task_id="c", email="e@x", email_on_failure=False)
        """
    )
    assert spec["failure_email"] == ["a@x", "b@x", "c@x", "d@x"]


def test_mailboxes_for_retries_are_those_of_tasks_that_are_tried_again(folder: Folder) -> None:
    spec = folder.spec(
        """
        with DAG("d", schedule=None, default_args={"email": "b@x; a@x,b@x", "retries": 2}):
            EmptyOperator(task_id="a")
            EmptyOperator(task_id="b", retries=0)
            EmptyOperator(task_id="c", email_on_retry=False)
            EmptyOperator(task_id="e", email=["e@x"], email_on_failure=False)
        """
    )
    assert [task.get("retry_email") for task in spec["tasks"]] == [["a@x", "b@x"], None, None, ["e@x"]]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("from airflow.models import NoSuchThing", "airflow.models.NoSuchThing"),
        ("import airflow.no_such_module", "airflow.no_such_module"),
        ("from airflow.settings import NoSuchThing", "REST API"),
        ("from airflow.providers.amazon.aws.hooks.s3 import S3Hook", "apache-airflow-providers-amazon"),
        ("import airflow.providers.microsoft.azure.hooks.wasb", "apache-airflow-providers-microsoft-azure"),
        ("from airflow.hooks.S3_hook import S3Hook", "apache-airflow-providers-amazon"),
    ],
)
def test_an_airflow_name_without_an_answer_says_what_to_use(folder: Folder, line: str, words: str) -> None:
    error = folder.error(line)
    assert error["exception"] in {"ModuleNotFoundError", "ImportError"}
    assert words in error["message"]
    assert error["line"] == 10
    # Files that try one path and then another go on working.
    spec = folder.spec(
        f"try:\n    {line}\nexcept ImportError:\n    pass\nwith DAG('d', schedule=None): pass\n"
    )
    assert spec["dag_id"] == "d"


def test_installed_provider_packages_join_the_finder(folder: Folder) -> None:
    (folder.path / "airflow" / "providers" / "mine").mkdir(parents=True)
    folder.write(
        "airflow/providers/mine/thing.py",
        "from airflow.models import BaseOperator\nclass Mine(BaseOperator): pass\n",
        header=False,
    )
    spec = folder.spec(
        "from airflow.providers.mine.thing import Mine\nwith DAG('d', schedule=None):\n    Mine(task_id='t')\n"
    )
    assert spec["tasks"][0]["operator"] == "Mine"


def test_real_airflow_is_left_alone_unless_told(folder: Folder, tmp_path: Path) -> None:
    site = tmp_path / "site" / "airflow"
    site.mkdir(parents=True)
    (site / "__init__.py").write_text(
        "class DAG:\n    def __init__(self, name): pass\nDAG.__module__ = 'airflow.models.dag'\n"
    )
    folder.write("file.py", "from airflow import DAG\nx = DAG('d')\n", header=False)
    env = {"PYTHONPATH": f"{tmp_path / 'site'}:{Path(__file__).parents[1] / 'src'}"}
    (answer,) = folder.parse("file.py", env=env)
    assert "DAGBOK_AIRFLOW=shim" in answer["errors"][0]["message"]
    (answer,) = folder.parse("file.py", env={**env, "DAGBOK_AIRFLOW": "shim"})
    assert [dag["dag_id"] for dag in answer["dags"]] == ["d"]
