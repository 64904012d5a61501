"""Mapped tasks and groups: what they make of a spec, of their copies in the file, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from conftest import Folder

MAP = """
@task(retries=2)
def f(x, y=0, ti=None):
    return x
"""


def tasks(folder: Folder, body: str) -> dict[str, Any]:
    lines = "".join(f"    {line}\n" for line in body.strip().splitlines())
    spec = folder.spec(f"{MAP}with DAG('d', schedule=None, default_args={{'owner': 'me'}}) as d:\n{lines}")
    return {task["task_id"]: task for task in spec["tasks"]}


@pytest.mark.parametrize(
    ("mapped", "length"),
    [
        ("f.expand(x=[1, 2, 3])", 3),
        ("f.expand(x={'a': 1, 'b': 2})", 2),
        ("f.expand(x=[1, 2], y=[1, 2, 3])", 6),
        ("f.partial(y=5).expand(x=[])", 0),
        ("f.partial(y=5).expand_kwargs([{'x': 1}, {'x': 2}])", 2),
        ("f.expand_kwargs([{'x': 1, 'y': 2}])", 1),
        ("f.override(task_id='f', pool='p').expand(x=['{{ ds }}'])", 1),
        ("BashOperator.partial(task_id='f', retries=2).expand(bash_command=['a', 'b'])", 2),
        (
            "PythonOperator.partial(task_id='f', python_callable=print, retries=2).expand(op_args=[[1], [2]])",
            2,
        ),
        ("BashOperator.partial(task_id='f', retries=2).expand_kwargs([{'bash_command': 'a', 'env': {}}])", 1),
    ],
)
def test_a_mapped_task_is_one_task_with_its_length(folder: Folder, mapped: str, length: int) -> None:
    task = tasks(folder, mapped)["f"]
    assert task["is_mapped"] is True
    assert task["expand"] == {"Literal": {"length": length}}
    assert task["retries"] == 2
    kind = {"B": "BashOperator", "P": "PythonOperator"}.get(mapped[0], "_PythonDecoratedOperator")
    assert task["operator"] == kind


def test_edges_groups_and_ids_are_as_of_other_tasks(folder: Folder) -> None:
    found = tasks(
        folder,
        """
a = EmptyOperator(task_id='a')
with TaskGroup('g'):
    one = f.expand(x=[1, 2])
    two = f.partial(y=one).expand(x=[a.output, 2])
    three = BashOperator.partial(task_id='b', env={'X': two}).expand(bash_command=['a'])
last = f(three.output)
a >> one
""",
    )
    ids = list(found)
    above = {name: [ids[place] for place in task.get("upstream", [])] for name, task in found.items()}
    assert above == {"a": [], "g.f": ["a"], "g.f__1": ["a", "g.f"], "g.b": ["g.f__1"], "f": ["g.b"]}
    assert found["g.f"]["group"] == "g"
    assert "is_mapped" not in found["f"]


def test_each_copy_has_its_own_arguments(folder: Folder) -> None:
    # Looked at while the file is imported: what it prints would be as well at run time.
    folder.spec(
        f"""{MAP}
with DAG('d', schedule=None, params={{'p': 1}}, default_args={{'retries': 7, 'env': {{'E': '1'}}}}) as d:
    with TaskGroup('g'):
        product = f.partial(ti=3).expand(x=[1, 2], y=['a', 'b', 'c']).operator
        pairs = f.expand(x={{'k': 'v', 'l': 'w'}}).operator
        dicts = f.partial(y=9).expand_kwargs([{{'x': 1}}, {{'x': 2}}]).operator
        bash = BashOperator.partial(task_id='b', params={{'q': 2}}).expand(bash_command=['one', 'two'])
d.task_dict  # the DAG is whole
from dagbok.authoring import session
session.end()
got = [(c.op_kwargs['x'], c.op_kwargs['y'], c.op_kwargs['ti']) for c in map(product.unmap, range(6))]
assert got == [(1, 'a', 3), (1, 'b', 3), (1, 'c', 3), (2, 'a', 3), (2, 'b', 3), (2, 'c', 3)], got
assert [c.op_kwargs for c in map(pairs.unmap, range(2))] == [{{'x': ('k', 'v')}}, {{'x': ('l', 'w')}}]
assert [c.op_kwargs for c in map(dicts.unmap, range(2))] == [{{'y': 9, 'x': 1}}, {{'y': 9, 'x': 2}}]
copy = bash.unmap(1)
assert (type(copy).__name__, copy.bash_command, copy.env) == ('BashOperator', 'two', {{'E': '1'}})
assert (copy.task_id, copy.retries, copy.dag, copy.task_group) == ('g.b', 7, d, bash.task_group)
assert (dict(copy.params), product.unmap(0).retries, product.is_mapped, copy.is_mapped) == ({{'p': 1, 'q': 2}}, 2, True, False)
assert (dict(copy.params)['q'], bash.task_type, bash.operator_name) == (2, 'BashOperator', 'BashOperator')
assert product.unmap(5).execute({{'ti': 3}}) == 2
assert len(d.tasks) == 4 and copy.unmap(0) is copy
for wrong in (-1, 6):
    try:
        product.unmap(wrong)
    except IndexError as error:
        assert 'no copy' in str(error)
    else:
        raise AssertionError(wrong)
"""
    )


@pytest.mark.parametrize(
    ("mapped", "extents"),
    [
        ("f.expand(x=s)", [{"Of": {"task": 0}}]),
        ("f.expand(x=s, y=[1, 2])", [{"Of": {"task": 0}}, {"Fixed": {"length": 2}}]),
        ("f.expand_kwargs(s)", [{"Of": {"task": 0}}]),
        ("f.expand(x=s.map(str).map(len))", [{"Of": {"task": 0}}]),
        ("f.expand(x=s.zip(t))", [{"Zip": {"of": [{"Of": {"task": 0}}, {"Of": {"task": 1}}]}}]),
        (
            "f.expand(x=s.zip(t.map(str), fillvalue=None))",
            [{"Zip": {"of": [{"Of": {"task": 0}}, {"Of": {"task": 1}}], "longest": True}}],
        ),
        (
            "f.expand(x=s.concat(t).concat(s))",
            [{"Concat": {"of": [{"Of": {"task": 0}}, {"Of": {"task": 1}}, {"Of": {"task": 0}}]}}],
        ),
        ("BashOperator.partial(task_id='f').expand(bash_command=s)", [{"Of": {"task": 0}}]),
    ],
)
def test_a_task_over_results_says_whose_length_counts(folder: Folder, mapped: str, extents: Any) -> None:
    found = tasks(folder, f"s, t = f.override(task_id='s')(1), f.override(task_id='t')(2)\n{mapped}")
    assert found["f"]["expand"] == {"Product": {"of": extents}}
    places = {
        place for one in str(extents).split("task") for place in (0, 1) if one.startswith(f"': {place}")
    }
    assert found["f"]["upstream"] == sorted(places)


GROUP = """
@task_group
def g(x, y=2):
    with TaskGroup('inner'):
        one = f(x, y)
    f.override(task_id='two')(one)
"""


@pytest.mark.parametrize(
    ("mapped", "expand"),
    [
        ("g.expand(x=[1, 2], y=[3])", {"Literal": {"length": 2}}),
        ("g.partial(y=3).expand(x=s)", {"Product": {"of": [{"Of": {"task": 0}}]}}),
        ("g.expand_kwargs(s)", {"Product": {"of": [{"Of": {"task": 0}}]}}),
    ],
)
def test_tasks_of_a_mapped_group_are_expanded_together(folder: Folder, mapped: str, expand: Any) -> None:
    body = f"{GROUP}\ns = f.override(task_id='s')(1)\n{mapped} >> EmptyOperator(task_id='last')"
    found = tasks(folder, body)
    inside = {name: task for name, task in found.items() if "mapped_group" in task}
    assert {name: task["mapped_group"] for name, task in inside.items()} == {"g.inner.f": "g", "g.two": "g"}
    assert all(task["expand"] == expand and "is_mapped" not in task for task in inside.values())
    # An argument stands for what the group is mapped over, so that who uses it comes after that.
    assert inside["g.inner.f"].get("upstream", []) == ([0] if "s)" in mapped else [])
    assert inside["g.two"]["upstream"] == [list(found).index("g.inner.f")]
    assert "expand" not in found["last"]


@pytest.mark.parametrize(
    ("mapped", "words"),
    [
        ("f.expand()", "at least one argument"),
        ("f.expand(x='abc')", "`x` must be a list or a dict, not str"),
        ("f.expand(z=[1])", "f() is mapped wrongly"),
        ("f.partial(x=1).expand(x=[1])", "`x` can't be mapped and given"),
        ("f.expand_kwargs([1])", "in it is int"),
        ("f.expand_kwargs({'x': 1})", "takes a list of dicts, not dict"),
        ("BashOperator.partial(task_id='b').expand(nothing=[1])", "BashOperator does not take `nothing`"),
        (
            "f.expand(x=f.override(task_id='s')(1)['k'])",
            "cannot map over XCom with custom key 'k' from task `s`",
        ),
        ("f.expand(x=range(100_001))", "mapped over 100001 elements; at most 100000 are taken"),
        ("f.expand(x=f.override(task_id='s')(1).map(f))", "must be a plain function, not a @task"),
        ("f.expand(x=f.override(task_id='s')(1).zip([1]))", "zip() takes what other tasks return, not list"),
        (
            "f.override(trigger_rule='always').expand(x=f.override(task_id='s')(1))",
            "allowed with trigger rule 'always'",
        ),
        (
            "task_group(lambda x: f.expand(x=[1])).override(group_id='g').expand(x=[1])",
            "inside the mapped group `g`",
        ),
        ("task_group(lambda x: f(x)).override(group_id='g').expand(z=[1])", "is mapped wrongly"),
        ("task_group(lambda x: f(x)).override(group_id='g').expand()", "at least one argument"),
        (
            "task_group(lambda x: f(x)).override(group_id='g').partial(x=1).expand(x=[1])",
            "`x` can't be mapped and given",
        ),
        (
            "task_group(lambda **x: f(1)).override(group_id='g').expand_kwargs([{}])",
            "with * or ** is not supported",
        ),
        (
            "task_group(lambda x: [f(y) for y in x]).override(group_id='g').expand(x=[1])",
            "known only when the DAG runs",
        ),
        (
            "task_group(lambda x: task_group(lambda y: f(y)).override(group_id='h').expand(y=x))"
            ".override(group_id='g').expand(x=[1])",
            "Nested Mapped TaskGroups are not yet supported",
        ),
        (
            "task_group(lambda x: f.override(trigger_rule='always')(x)).override(group_id='g').expand(x=[1])",
            "allowed with trigger rule 'always'",
        ),
    ],
)
def test_a_mapping_that_is_none_is_an_error_of_its_line(folder: Folder, mapped: str, words: str) -> None:
    error = folder.error(f"{MAP}with DAG('d', schedule=None) as d:\n    {mapped}\n")
    assert words in error["message"]
    assert error["line"] == 15


def test_sensors_in_reschedule_mode_are_taken(folder: Folder) -> None:
    spec = folder.spec(
        """
        from airflow.sensors.python import PythonSensor
        with DAG('d', schedule=None):
            PythonSensor(task_id='s', python_callable=print, mode='reschedule', poke_interval=5, timeout=60)
            @task.sensor(mode='reschedule', poke_interval=timedelta(minutes=1))
            def waits(): return True
            waits()
        """
    )
    assert [task["task_id"] for task in spec["tasks"]] == ["s", "waits"]
