"""Whatever is raised while a DAG is described is that DAG's error, with its line, and no other's."""

from __future__ import annotations

import pytest

from conftest import Folder

GOOD = "\nwith DAG('good', schedule=None):\n    EmptyOperator(task_id='t')\n"
LINE = 10 + 30  # the DAG's, after the header and a preamble that is padded to the same length

HOSTILE = """
class Ends:
    def __str__(self): raise SystemExit(3)
    __repr__ = __eq__ = __lt__ = __format__ = __index__ = __bool__ = __str__
    __hash__ = object.__hash__
class Escapes(BaseException):
    pass
class Loud:
    def __str__(self): raise Escapes('out')
    __repr__ = __str__
class Silent(Exception):
    def __str__(self): raise SystemExit(3)
    __repr__ = __str__
class Deep:
    def __str__(self): return str(self)
    __repr__ = __str__
class Proxy:
    @property
    def __class__(self): raise RuntimeError('working outside of a context')
proxy = Proxy()
"""
PREAMBLE = HOSTILE + "\n" * (30 - HOSTILE.count("\n"))


def told(folder: Folder, dag: str) -> dict[str, object]:
    """The one error of a file with a bad DAG in line LINE before a good one, which must be there."""
    (answer,) = folder.parse(folder.write("file.py", PREAMBLE + dag + GOOD))
    assert [dag["dag_id"] for dag in answer["dags"]] == ["good"], answer["errors"]
    (error,) = answer["errors"]
    assert error["file"] == "file.py"
    assert "`d`" in error["message"]
    return error


@pytest.mark.parametrize(
    ("dag", "exception"),
    [
        ("DAG('d', schedule=None, description=Ends())", "SystemExit"),
        ("DAG('d', schedule=None, description=Loud())", "Escapes"),
        ("DAG('d', schedule=None, doc_md=Deep())", "RecursionError"),
        ("DAG('d', schedule=None, max_active_runs=Loud())", "Escapes"),
        ("DAG('d', schedule=None, catchup=Ends())", "SystemExit"),
        ("DAG('d', schedule=None, params={'p': Loud()})", "Escapes"),
        ("DAG('d', schedule=None, params={'p': float('nan')})", "AirflowException"),
        ("DAG('d', schedule=None); d.schedule = d.timetable = Loud()", "AttributeError"),
        ("DAG('d', schedule=None); d.dagrun_timeout = 'long'", "AirflowException"),
        ("DAG('d', schedule=None); d.tags = [Ends(), Ends()]", "SystemExit"),
        ("DAG('d', schedule=None); d.max_active_runs = True", "AirflowException"),
    ],
)
def test_a_dag_that_can_not_be_described(folder: Folder, dag: str, exception: str) -> None:
    error = told(folder, f"d = {dag}")
    assert str(error["exception"]).rpartition(".")[2] == exception
    assert error["line"] == LINE


@pytest.mark.parametrize(
    ("settings", "exception"),
    [
        ("weight_rule=Loud()", "Escapes"),
        ("priority_weight='much'", "AirflowException"),
        ("pool_slots=Loud()", "Escapes"),
        ("pool=Loud()", "Escapes"),
        ("doc_md=Deep()", "RecursionError"),
        ("retry_exponential_backoff=float('nan')", "ValueError"),
    ],
)
def test_a_task_that_can_not_be_described(folder: Folder, settings: str, exception: str) -> None:
    dag = f"with DAG('d', schedule=None):\n    EmptyOperator(task_id='a')\n    EmptyOperator(task_id='bad', {settings})"
    error = told(folder, dag)
    assert str(error["exception"]).rpartition(".")[2] == exception
    assert error["line"] == LINE + 2
    assert "`bad`" in str(error["message"])


def test_what_the_files_own_code_raised_may_heal_and_names_its_place(folder: Folder) -> None:
    error = told(folder, "d = DAG('d', schedule=None, description=Loud())")
    assert error["may_heal"] is True
    assert "in __str__" in str(error["traceback"])
    error = told(folder, "d = DAG('d', schedule=None, max_active_runs=-1)")
    assert (error["may_heal"], error["traceback"]) == (False, "")


@pytest.mark.parametrize(
    ("raised", "exception", "words"),
    [
        ("raise Silent()", "Silent", "whose text can't be had"),
        ("raise Escapes('x')", "Escapes", "x"),
        ("sys.exit(Ends())", "SystemExit", "whose text can't be had"),
        ("raise SyntaxError('odd', ('file.py', -3, 'x', None))", "SyntaxError", "odd"),
        ("raise SyntaxError(7, (8, 'no line', 9, 10))", "SyntaxError", ""),
        ("raise Exception('\\ud800')", "Exception", "ud800"),
        (
            "E = type('E', (Exception,), {'__module__': None, '__qualname__': 'E\\ud800'})\nraise E('x')",
            "E",
            "x",
        ),
    ],
)
def test_whatever_an_import_raises_is_told(folder: Folder, raised: str, exception: str, words: str) -> None:
    error = folder.error(PREAMBLE + raised)
    assert exception in error["exception"]
    assert words in error["message"]
    assert error["line"] in {None, LINE, LINE + 1}


def test_a_file_may_hold_objects_that_raise_when_they_are_asked_what_they_are(folder: Folder) -> None:
    text = (
        PREAMBLE
        + "sys.modules['odd'] = type('Odd', (), {'__getattr__': lambda s, n: sys.exit(n)})()\n"
        + GOOD
    )
    (answer,) = folder.parse(folder.write("file.py", text))
    assert [dag["dag_id"] for dag in answer["dags"]] == ["good"], answer["errors"]


def test_a_file_may_take_our_tools_away(folder: Folder) -> None:
    text = "import json\njson.dumps = json.loads = None\nsys.stdout = sys.stderr = None\n"
    assert folder.spec(text + GOOD)["dag_id"] == "good"


@pytest.mark.parametrize(
    ("dag_settings", "task_settings", "field", "micros"),
    [
        ("", "retry_delay=duration(seconds=1)", "retry_delay", 1_000_000),
        ("", "max_retry_delay=duration(minutes=2)", "max_retry_delay", 120_000_000),
        ("", "execution_timeout=duration(hours=1, microseconds=5)", "execution_timeout", 3_600_000_005),
        ("dagrun_timeout=duration(days=1)", "", "dagrun_timeout", 86_400_000_000),
        ("default_args={'retry_delay': duration(seconds=7)}", "", "retry_delay", 7_000_000),
    ],
)
def test_pendulums_durations_are_timedeltas(
    folder: Folder, dag_settings: str, task_settings: str, field: str, micros: int
) -> None:
    spec = folder.spec(
        f"from pendulum import duration\nwith DAG('d', schedule=None, {dag_settings}) as d:\n"
        f"    t = EmptyOperator(task_id='t', {task_settings})\nassert type(t.retry_delay) is timedelta\n"
    )
    assert {**spec, **spec["tasks"][0]}[field] == micros


@pytest.mark.parametrize(
    ("schedule", "timetable", "text"),
    [
        ("duration(hours=2)", {"every": 7_200_000_000}, "2:00:00"),
        ("duration(months=1, days=2)", {"every": 172_800_000_000, "months": 1}, "1 month 2 days"),
        ("duration(years=1)", {"every": 0, "months": 12}, "1 year"),
    ],
)
def test_pendulums_durations_are_schedules(
    folder: Folder, schedule: str, timetable: object, text: str
) -> None:
    spec = folder.spec(
        "import pendulum\nfrom pendulum import duration\n"
        f"DAG('d', schedule={schedule}, start_date=pendulum.datetime(2024, 1, 1))\nd = _ = None\n".replace(
            "DAG(", "made = DAG("
        )
    )
    assert spec["schedule"] == {
        "timetable": {"DeltaDataInterval": timetable},
        "timezone": "UTC",
        "text": text,
    }


def test_a_schedule_with_catchup_needs_a_start_date(folder: Folder) -> None:
    for schedule in ("'* * * * *'", "timedelta(hours=1)"):
        error = told(
            folder, f"with DAG('d', schedule={schedule}, catchup=True):\n    EmptyOperator(task_id='t')"
        )
        assert "start_date is missing" in str(error["message"])
        assert error["line"] == LINE
    settings = (
        "schedule=None, catchup=True",
        "schedule='@daily', catchup=False",
        "schedule='@once', catchup=True",
    )
    for fine in settings:
        folder.spec(f"with DAG('d', {fine}):\n    EmptyOperator(task_id='t')\n")
    # A task's counts as well.
    folder.spec(
        "with DAG('d', schedule='@daily', catchup=True):\n"
        "    EmptyOperator(task_id='t', start_date=datetime(2024, 1, 1))\n"
    )


def test_a_dag_with_a_schedule_needs_defaults_for_its_params(folder: Folder) -> None:
    params = "start_date=datetime(2024, 1, 1), params={'must': Param(type='string')}"
    importing = "from airflow.models.param import Param\n"
    error = told(folder, f"{importing}with DAG('d', schedule='@daily', {params}): pass")
    assert "`must` has no default" in str(error["message"])
    assert error["line"] == LINE + 1
    folder.spec(f"{importing}with DAG('d', schedule=None, {params}): pass\n")


@pytest.mark.parametrize(
    ("param", "words"),
    [
        ("Param('not-a-day', type='string', format='date')", "is not a 'date'"),
        ("Param('2024-01-01', type='string', format='date-time')", "is not a 'date-time'"),
        ("Param([1], type='array', items={'type': 'string'})", "1 is not of type 'string'"),
        ("Param({}, type='object', required=['x'])", "'x' is a required property"),
        ("Param(1, type='integer', minimum=2)", "breaks minimum"),
    ],
)
def test_a_params_default_keeps_to_its_whole_schema(folder: Folder, param: str, words: str) -> None:
    importing = "from airflow.models.param import Param\n"
    error = told(folder, f"{importing}with DAG('d', schedule=None, params={{'p': {param}}}): pass")
    assert words in str(error["message"])
    assert "param `p`" in str(error["message"])


def test_a_dag_file_named_like_a_module_is_not_that_module_to_others(folder: Folder) -> None:
    folder.write("queue.py", "with DAG('work_queue', schedule=None): pass\n")
    folder.write("colorsys.py", "OURS = True\n", header=False)
    folder.write("lib_of_ours.py", "OURS = True\n", header=False)
    text = "import queue, colorsys, lib_of_ours\nqueue.SimpleQueue, colorsys.rgb_to_hls, lib_of_ours.OURS\n"
    assert folder.spec(text + GOOD)["dag_id"] == "good"
