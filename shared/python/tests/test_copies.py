"""Copies of mapped tasks and legs of sensors, as tries in real processes."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from conftest import Bench

NOW = dt.datetime.now(dt.UTC)

MAPPED = """
@task
def f(x, y=0, ti=None):
    print(ti.map_index, ti.task_id, x, y)
    return [x, y]

@task
def total(values):
    print(type(values).__name__, len(values), values[0], values[-1], values[1:], list(values))
    return values

with DAG('d', schedule=None) as d:
    one = f.partial(y='{{ ds }}').expand(x=['a', '{{ run_id }}', 'c'])
    total(one)
    BashOperator.partial(task_id='b', env={'Y': 'y'}).expand(bash_command=['echo $Y', 'echo {{ ti.map_index }}'])
    pull = PythonOperator(task_id='pull', python_callable=lambda ti: print(
        list(ti.xcom_pull('f')), ti.xcom_pull('f', map_indexes=1), ti.xcom_pull('f', map_indexes=[2, 0]),
        ti.xcom_pull(['f', 'total']), ti.xcom_pull('b', default='none'), sep='|'))
    one >> pull
    def bad(x): raise ValueError(x)
    PythonOperator.partial(task_id='bad', python_callable=bad, on_failure_callback=lambda context: print(
        'back', context['ti'].map_index, context['task'].op_args)).expand(op_args=[[1], [2]])
"""


def of_copies(bench: Bench, task_id: str, values: list[Any]) -> None:
    bench.supervisor.copies[("d", "manual__1", task_id, "return_value")] = values
    # The fake one keeps a copy's own value by the task's name alone: the last.
    bench.supervisor.xcoms[("d", "manual__1", task_id, "return_value")] = values[-1]


@pytest.mark.parametrize(("map_index", "x"), [(0, "a"), (1, "manual__1"), (2, "c")])
def test_a_copy_has_its_own_element_rendered(bench: Bench, map_index: int, x: str) -> None:
    result = bench.load(MAPPED).run("f", map_index=map_index)
    assert result.state == "success"
    assert result.stdout == f"{map_index} f {x} 2024-03-01\n"
    (pushed,) = result.of("SetXCom")
    assert (pushed["map_index"], pushed["value"]) == (map_index, [x, "2024-03-01"])
    assert result.of("SetRenderedFields")[0]["rendered_fields"]["op_kwargs"] == {"x": x, "y": "2024-03-01"}


def test_a_copy_of_another_operator(bench: Bench) -> None:
    bench.load(MAPPED)
    assert bench.run("b", map_index=0).of("SetXCom")[0]["value"] == "y"
    assert bench.run("b", map_index=1).of("SetXCom")[0]["value"] == "1"


def test_a_copy_that_the_file_does_not_have_any_more_says_so(bench: Bench) -> None:
    result = bench.load(MAPPED).run("f", map_index=3)
    assert result.state == "failed"
    assert "there is no copy 3: there are 3 elements now" in result.error["message"]


def test_a_copy_is_called_back_as_itself(bench: Bench) -> None:
    result = bench.load(MAPPED).run("bad", map_index=1)
    assert (result.state, result.error["message"]) == ("failed", "2")
    assert result.stdout == "back 1 [2]\n"


def test_results_of_copies_are_one_sequence(bench: Bench) -> None:
    bench.load(MAPPED)
    of_copies(bench, "f", [["a", 1], ["b", 2], ["c", 3]])
    result = bench.run("total")
    assert result.state == "success", result.error
    shown = "LazyXComSequence 3 ['a', 1] ['c', 3] [['b', 2], ['c', 3]] [['a', 1], ['b', 2], ['c', 3]]\n"
    assert result.stdout == shown
    assert result.of("SetXCom")[0]["value"] == [["a", 1], ["b", 2], ["c", 3]]


def test_copies_are_pulled_all_or_by_number(bench: Bench) -> None:
    bench.load(MAPPED)
    of_copies(bench, "f", [1, 2, 3])
    result = bench.run("pull")
    assert result.state == "success", result.error
    # The fake supervisor has one value for every copy that is asked for by number.
    assert result.stdout == "[1, 2, 3]|3|[3, 3]|[1, 2, 3, None]|none\n"
    assert [body["map_index"] for body in result.of("GetXCom")] == [1, 2, 0, -1]


RESULTS = """
@task
def give(value=None):
    return value

@task
def f(x, y=0):
    print(x, y)
    return 1

@task_group
def g(x, y=0):
    first = f.override(task_id='first')(x, y)
    f.override(task_id='second')(first, x)

def odd(it):
    if it % 2 == 0:
        raise AirflowSkipException('even')
    return it

with DAG('d', schedule=None) as d:
    a, b, c = (give.override(task_id=name)() for name in 'abc')
    f.partial(y='{{ ds }}').expand(x=a)
    f.override(task_id='kwargs').expand_kwargs(b)
    f.override(task_id='changed').expand(x=a.map(odd))
    f.override(task_id='zipped').expand(x=a.zip(b, fillvalue='-'), y=['l', 'm'])
    f.override(task_id='joined').expand(x=a.concat(b))
    f.override(task_id='chained').expand(x=f.override(task_id='inner').expand(x=a))
    g.partial(y='{{ ds }}').expand(x=a)
    f.override(task_id='named', map_index_template='{{ task.op_kwargs["x"] }}/{{ ti.map_index }}').expand(x=a)
    f.override(task_id='misnamed', map_index_template='{{ nothing.at.all }}').expand(x=a)
    give.override(task_id='free')()
"""


def over(bench: Bench, task_id: str, map_index: int, **values: Any) -> Any:
    bench.load(RESULTS)
    for name, value in values.items():
        bench.supervisor.xcoms[("d", "manual__1", name.replace("__", "."), "return_value")] = value
    return bench.run(task_id, map_index=map_index)


@pytest.mark.parametrize(
    ("task_id", "map_index", "values", "out"),
    [
        ("f", 1, {"a": [1, "{{ ds }}"]}, "{{ ds }} 2024-03-01"),
        ("f", 1, {"a": {"k": 1, "l": 2}}, "('l', 2) 2024-03-01"),
        ("kwargs", 0, {"b": [{"x": "{{ ds }}", "y": 3}]}, "{{ ds }} 3"),
        ("changed", 2, {"a": [1, 2, 3]}, "3 0"),
        ("zipped", 3, {"a": [1, 2], "b": [3]}, "(2, '-') m"),
        ("joined", 2, {"a": [1, 2], "b": {"k": 3}}, "k 0"),
        ("g.first", 1, {"a": ["v", "w"]}, "w 2024-03-01"),
        ("g.second", 1, {"a": ["v", "w"], "g__first": "of the copy"}, "of the copy w"),
    ],
)
def test_a_copy_finds_its_element_in_results(
    bench: Bench, task_id: str, map_index: int, values: Any, out: str
) -> None:
    result = over(bench, task_id, map_index, **values)
    assert result.state == "success", result.error
    assert result.stdout == out + "\n"


def test_a_copy_over_copies_fetches_its_own_value_alone(bench: Bench) -> None:
    bench.load(RESULTS)
    of_copies(bench, "inner", ["a", "b", "c", "d"])
    result = bench.run("chained", map_index=2)
    assert (result.state, result.stdout) == ("success", "c 0\n")
    (asked,) = result.of("GetXComSequenceSlice")
    assert (asked["start"], asked["stop"]) == (2, 3)


def test_a_copy_of_a_group_asks_for_its_own_index(bench: Bench) -> None:
    result = over(bench, "g.second", 1, a=["v", "w"], g__first=1)
    assert [(body["task_id"], body["map_index"]) for body in result.of("GetXCom")] == [("g.first", 1)]
    assert {(body["task_id"], body["place"]) for body in result.of("GetXComElement")} == {("a", 1)}


@pytest.mark.parametrize(
    ("task_id", "map_index", "values", "places"),
    [
        ("f", 1, {"a": [1, 2, 3]}, {"a": [1]}),
        ("f", 2, {"a": {"k": 1, "l": 2, "m": 3}}, {"a": [2]}),
        (
            "f",
            1,
            {"a": {"__classname__": "builtins.tuple", "__version__": 1, "__data__": [1, 2]}},
            {"a": [1]},
        ),
        ("kwargs", 1, {"b": [{"x": 1}, {"x": 2}]}, {"b": [1]}),
        ("changed", 2, {"a": [1, 2, 3]}, {"a": [2]}),
        # The second of two times two, whose last argument changes fastest.
        ("zipped", 2, {"a": [1, 2], "b": [3, 4]}, {"a": [2, 1], "b": [2, 1]}),
        ("joined", 3, {"a": [1, 2], "b": [3, 4]}, {"a": [3], "b": [3, 1]}),
    ],
)
def test_a_copy_fetches_its_element_alone(
    bench: Bench, task_id: str, map_index: int, values: Any, places: Any
) -> None:
    result = over(bench, task_id, map_index, **values)
    assert result.state == "success", result.error
    assert result.of("GetXCom") == []
    asked: dict[str, list[int]] = {}
    for body in result.of("GetXComElement"):
        asked.setdefault(body["task_id"], []).append(body["place"])
    assert asked == places


def test_a_function_that_skips_skips_its_copy(bench: Bench) -> None:
    assert over(bench, "changed", 1, a=[1, 2, 3]).state == "skipped"


@pytest.mark.parametrize(
    ("task_id", "map_index", "values", "words"),
    [
        ("kwargs", 1, {"b": [{"x": 1}, 2]}, "expand_kwargs() expects a list[dict], not list[int]"),
        ("kwargs", 0, {"b": {"x": 1}}, "expand_kwargs() expects a list[dict], not dict"),
        ("kwargs", 0, {"b": [{"w": 1}]}, "f() was called wrongly"),
        ("kwargs", 0, {"b": [{"x": 1}], "a": 1}, ""),
        ("changed", 0, {"a": 7}, "XCom map expects sequence or dict, not int"),
        ("f", 0, {"a": None}, "can't map `x` over a value of type NoneType"),
        ("f", 2, {"a": [1]}, "there is no copy 2: there are 1 elements now"),
    ],
)
def test_elements_that_are_none_fail_the_copy(
    bench: Bench, task_id: str, map_index: int, values: Any, words: str
) -> None:
    result = over(bench, task_id, map_index, **values)
    assert result.state == ("failed" if words else "success")
    if words:
        assert words in result.error["message"]


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("7", "unmappable return type 'int'"),
        ("'text'", "unmappable return type 'str'"),
        ("{1, 2}", "unmappable return type 'set'"),
        ("None", "did not push XCom for task mapping"),
        ("list(range(1025))", "unmappable return value length: 1025 > 1024"),
    ],
)
def test_a_task_that_others_are_mapped_over_must_return_elements(
    bench: Bench, value: str, words: str
) -> None:
    body = RESULTS.replace("return value\n", f"return {value}\n")
    result = bench.load(body).run("a")
    assert result.state == "failed"
    assert words in result.error["message"]
    assert result.of("SetXCom") == []
    # Nobody is mapped over this one, nor over what copies return.
    assert bench.run("free").state == "success"


def test_the_length_of_what_others_are_mapped_over_is_told(bench: Bench) -> None:
    bench.load(RESULTS.replace("return value\n", "return {'k': 1, 'l': 2}\n"))
    assert bench.run("a").of("SetXCom")[0]["mapped_length"] == 2
    assert bench.run("free").of("SetXCom")[0]["mapped_length"] is None
    bench.supervisor.xcoms[("d", "manual__1", "a", "return_value")] = [1]
    assert bench.run("inner", map_index=0).of("SetXCom")[0]["mapped_length"] is None


def test_a_copy_tells_its_name(bench: Bench) -> None:
    result = over(bench, "named", 1, a=["v", "w"])
    names = [body["rendered_map_index"] for body in result.of("SetRenderedMapIndex")]
    assert (result.state, names) == ("success", ["w/1"])
    wrong = over(bench, "misnamed", 0, a=["v"])
    assert wrong.state == "failed"
    assert "'nothing' is undefined" in wrong.error["message"]


SENSORS = """
from airflow.sensors.python import PythonSensor
from airflow.exceptions import AirflowRescheduleException
from airflow.sensors.base import PokeReturnValue
def fails(): raise ValueError('no')
def gives_up(): raise AirflowFailException('enough')
def later(): raise AirflowRescheduleException(datetime(2099, 1, 1))
with DAG('d', schedule=None, default_args={'retries': 3}):
    how = dict(mode='reschedule', poke_interval=30, timeout=100, on_failure_callback=lambda c: print('back'),
        on_retry_callback=lambda c: print('back'), on_success_callback=lambda c: print('back'))
    PythonSensor(task_id='no', python_callable=lambda: False, **how)
    PythonSensor(task_id='yes', python_callable=lambda: PokeReturnValue(True, 7), **how)
    PythonSensor(task_id='soft', python_callable=lambda: False, soft_fail=True, **how)
    PythonSensor(task_id='growing', python_callable=lambda: False, exponential_backoff=True, max_wait=60, **how)
    PythonSensor(task_id='fails', python_callable=fails, **how)
    PythonSensor(task_id='silent', python_callable=fails, silent_fail=True, **how)
    PythonSensor(task_id='gives_up', python_callable=gives_up, soft_fail=True, **how)
    PythonOperator(task_id='later', python_callable=later)
"""


def legs(bench: Bench, task_id: str, **how: Any) -> Any:
    return bench.load(SENSORS).run(task_id, should_retry=True, **how)


@pytest.mark.parametrize("task_id", ["no", "soft", "silent"])
def test_a_sensor_that_found_nothing_goes_on_later(bench: Bench, task_id: str) -> None:
    before = dt.datetime.now(dt.UTC)
    result = legs(bench, task_id, first_started_at=before)
    (told,) = result.of("RescheduleTask")
    assert 29 < (told["reschedule_date"] - before).total_seconds() < 45
    assert result.of("TaskError") == []
    assert "back" not in result.stdout


def test_a_later_leg_counts_its_timeout_from_the_first(bench: Bench) -> None:
    began = dt.datetime.now(dt.UTC) - dt.timedelta(seconds=90)
    assert legs(bench, "no", leg=3, first_started_at=began).of("RescheduleTask")
    began -= dt.timedelta(seconds=20)
    timed_out = legs(bench, "no", leg=3, first_started_at=began)
    assert timed_out.state == "failed"
    assert timed_out.error["exception"].endswith("AirflowSensorTimeout")
    assert timed_out.error["kind"] == "fail_without_retry"
    assert legs(bench, "soft", leg=3, first_started_at=began).state == "skipped"


def test_what_a_sensor_found_is_its_value(bench: Bench) -> None:
    result = legs(bench, "yes", leg=2, first_started_at=NOW)
    assert (result.state, result.of("SetXCom")[0]["value"]) == ("success", 7)


def test_a_poke_that_fails_is_a_failure_like_any_other(bench: Bench) -> None:
    assert legs(bench, "fails").state == "up_for_retry"
    assert legs(bench, "gives_up").state == "skipped"


def test_the_waits_of_a_growing_sensor_are_airflows(bench: Bench) -> None:
    # The first wait is a part of the interval, the next ones double, to max_wait.
    waits = []
    for ago in (0, 40, 99):
        began = dt.datetime.now(dt.UTC) - dt.timedelta(seconds=ago)
        (told,) = legs(bench, "growing", leg=1, first_started_at=began).of("RescheduleTask")
        waits.append((told["reschedule_date"] - dt.datetime.now(dt.UTC)).total_seconds())
    assert 10 <= waits[0] <= 30
    assert 25 <= waits[1] <= 60
    assert waits[2] <= 2, "no longer than until its timeout"


def test_any_task_may_go_on_later_and_a_date_without_a_zone_is_utc(bench: Bench) -> None:
    (told,) = legs(bench, "later").of("RescheduleTask")
    assert told["reschedule_date"] == dt.datetime(2099, 1, 1, tzinfo=dt.UTC)
