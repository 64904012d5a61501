"""Graphs and arguments, without a process."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from conftest import Folder
from dagbok import (
    DAG,
    BaseOperator,
    EmptyOperator,
    Label,
    TaskGroup,
    chain,
    cross_downstream,
    dag,
    task,
    task_group,
)
from dagbok.authoring.edges import chain_linear
from dagbok.exceptions import AirflowException, DuplicateTaskIdFound, ParamValidationError, TaskNotFound
from dagbok.models.connection import Connection


def edges(graph: DAG) -> set[str]:
    return {f"{one.task_id}>{other}" for one in graph.tasks for other in one.downstream_task_ids}


def some(*names: str) -> list[EmptyOperator]:
    return [EmptyOperator(task_id=name) for name in names]


def test_every_way_to_draw_an_edge() -> None:
    with DAG("d", schedule=None) as d:
        a, b, c, e, f, g = some("a", "b", "c", "e", "f", "g")
        a >> [b, c] >> e
        [f, g] << e
        a.set_downstream(g)
        f.set_upstream([b])
    assert edges(d) == {"a>b", "a>c", "b>e", "c>e", "e>f", "e>g", "a>g", "b>f"}
    assert [t.task_id for t in d.roots] == ["a"]
    assert [t.task_id for t in d.leaves] == ["f", "g"]
    assert b.get_flat_relative_ids() == {"e", "f", "g"}


def test_chain_cross_and_labels() -> None:
    with DAG("d", schedule=None) as d:
        a, b, c, e, f, g = some("a", "b", "c", "e", "f", "g")
        chain(a, [b, c], [e, f], g)
    assert edges(d) == {"a>b", "a>c", "b>e", "c>f", "e>g", "f>g"}
    with DAG("d", schedule=None) as d:
        a, b, c, e = some("a", "b", "c", "e")
        cross_downstream([a, b], [c, e])
    assert edges(d) == {"a>c", "a>e", "b>c", "b>e"}
    with DAG("d", schedule=None) as d:
        a, b, c, e = some("a", "b", "c", "e")
        a >> Label("x") >> [b, c]
        e << Label("y") << b
        chain_linear(a, Label("z"), e)
    assert edges(d) == {"a>b", "a>c", "b>e", "a>e"}
    with DAG("d", schedule=None):
        a, b, c = some("a", "b", "c")
        with pytest.raises(AirflowException, match="same length"):
            chain([a, b], [c])
        with pytest.raises(AirflowException, match="not int"):
            a >> 5


def test_groups_prefix_ids_and_stand_for_their_members() -> None:
    with DAG("d", schedule=None, default_args={"retries": 1}) as d:
        start = EmptyOperator(task_id="start")
        with TaskGroup("g", default_args={"retries": 2}) as g:
            a, b = some("a", "b")
            a >> b
            with TaskGroup("plain", prefix_group_id=False):
                c = EmptyOperator(task_id="c", retries=3)
        end = EmptyOperator(task_id="end")
        start >> g >> end
    assert d.task_ids == ["start", "g.a", "g.b", "g.c", "end"]
    assert edges(d) == {"start>g.a", "start>g.c", "g.a>g.b", "g.b>end", "g.c>end"}
    assert [t.retries for t in d.tasks] == [1, 2, 2, 3, 1]
    assert c.task_group is not None
    assert c.task_group.path == "g.plain"


def test_a_group_and_a_task_can_not_share_an_id() -> None:
    with DAG("d", schedule=None):
        EmptyOperator(task_id="x")
        with pytest.raises(DuplicateTaskIdFound):
            TaskGroup("x")


def test_task_group_functions_get_numbers_and_hand_on_results() -> None:
    @dag(schedule=None)
    def d() -> None:
        @task
        def one(x: Any = 0) -> int:
            return 1

        @task_group
        def part(x: Any) -> Any:
            return one(one(x))

        part(part(0))

    made = d()
    assert made.task_ids == ["part.one", "part.one__1", "part__1.one", "part__1.one__1"]
    assert edges(made) == {"part.one>part.one__1", "part.one__1>part__1.one", "part__1.one>part__1.one__1"}


def test_default_args_reach_every_class_of_the_mro() -> None:
    class Base(BaseOperator):
        def __init__(self, *, flavour: str, **kwargs: Any) -> None:
            super().__init__(**kwargs)
            self.flavour = flavour

    class Narrow(Base):
        def __init__(self, task_id: str) -> None:  # takes neither `retries` nor `flavour`
            super().__init__(task_id=task_id)

    with DAG("d", schedule=None, default_args={"flavour": "salt", "retries": 4, "unknown": 1}):
        narrow = Narrow(task_id="n")
        wide = Base(task_id="w", flavour="sweet", default_args={"retries": 5})
    assert (narrow.flavour, narrow.retries) == ("salt", 4)
    assert (wide.flavour, wide.retries) == ("sweet", 5)
    with pytest.raises(AirflowException, match="`flavour`"):
        Base(task_id="x")


def test_wrong_arguments_say_which() -> None:
    with pytest.raises(TypeError, match="`retires`"):
        EmptyOperator(task_id="t", retires=1)
    with pytest.raises(AirflowException, match="keyword"):
        EmptyOperator("t")
    with pytest.raises(AirflowException, match="task_id"):
        EmptyOperator()
    with pytest.raises(AirflowException, match="none of"):
        EmptyOperator(task_id="t", trigger_rule="some_success")
    with pytest.raises(ValueError, match="timedelta"):
        EmptyOperator(task_id="t", execution_timeout=5)
    with pytest.raises(AirflowException, match="retries"):
        EmptyOperator(task_id="t", retries=-1)
    assert EmptyOperator(task_id="t", retry_delay=5).retry_delay == timedelta(seconds=5)
    assert (
        EmptyOperator(task_id="t", trigger_rule="none_failed_or_skipped").trigger_rule
        == "none_failed_min_one_success"
    )


def test_a_task_called_wrongly_fails_where_it_is_written() -> None:
    with DAG("d", schedule=None):

        @task
        def f(a: int, ti: Any = None, *, b: int) -> None: ...

        with pytest.raises(TypeError, match="task `f`.*'b'"):
            f(1)
        f(1, b=2)

    with pytest.raises(AirflowException, match="outside a DAG"):
        f(1, b=2)


def test_results_can_not_be_looped_over_and_say_why() -> None:
    with DAG("d", schedule=None):

        @task
        def f() -> list[int]:
            return [1]

        with pytest.raises(TypeError, match="inside a task"):
            list(f())


def test_a_dags_arguments_become_params() -> None:
    @dag(schedule=None)
    def d(size: int = 3) -> None:
        @task
        def f(size: int) -> int:
            return size

        f(size)

    assert d().params.dump() == {"size": 3}
    assert d(size=5).params.dump() == {"size": 5}


def test_params_hold_their_schema() -> None:
    from dagbok.authoring.params import Param, ParamsDict

    params = ParamsDict(
        {"n": Param(1, type="integer", minimum=0), "s": Param(None, type=["null", "string"], maxLength=3)}
    )
    assert params.overlaid({"n": 5, "extra": 1}).validate() == {"n": 5, "s": None, "extra": 1}
    for wrong in ({"n": -1}, {"n": "1"}, {"n": True}, {"s": "long text"}, {"s": 5}):
        with pytest.raises(ParamValidationError, match="`[ns]`"):
            params.overlaid(wrong).validate()
    with pytest.raises(ParamValidationError, match="no default"):
        ParamsDict({"x": Param(type="string")}).validate()


def test_a_missing_task_is_an_error() -> None:
    with pytest.raises(TaskNotFound, match="`x`"):
        DAG("d", schedule=None).get_task("x")


@pytest.mark.parametrize(
    "uri",
    [
        "postgres://u:p%2Fw@host:5432/db?sslmode=require",
        "http://host",
        "my-kind://",
        "s3://key:secret@/?region=x",
    ],
)
def test_connection_uris_round_trip(uri: str) -> None:
    one = Connection(conn_id="c", uri=uri)
    other = Connection(conn_id="c", uri=one.get_uri())
    assert one.__dict__ == other.__dict__


@pytest.mark.parametrize("raw", [".", ".."])
def test_an_id_is_no_folder(raw: str) -> None:
    with pytest.raises(AirflowException, match="folder"):
        DAG(raw, schedule=None)
    with DAG("d", schedule=None), pytest.raises(AirflowException, match="folder"):
        EmptyOperator(task_id=raw)


def test_a_group_says_what_it_is_in_the_graph(folder: Folder) -> None:
    spec = folder.spec("""
        with DAG("d", schedule=None) as dag:
            a, z = EmptyOperator(task_id="a"), EmptyOperator(task_id="z")
            with TaskGroup("g") as g:
                y, x = EmptyOperator(task_id="y"), EmptyOperator(task_id="x")
                with TaskGroup("inner") as inner:
                    EmptyOperator(task_id="t")
                x >> inner >> y
            a >> g >> z
        assert (g.dag_id, g.node_id, inner.node_id, g.task_group) == ("d", "g", "g.inner", dag.task_group)
        assert g.has_dag() and g.dag is dag and g.get_dag() is dag
        assert (g.upstream_task_ids, g.downstream_task_ids) == ({"a"}, {"z"})
        assert (g.upstream_list, g.downstream_list) == ([a], [z])
        assert (inner.get_direct_relatives(upstream=True), inner.get_direct_relatives()) == ([x], [y])
        assert g.topological_sort() == [x, inner, y]
        assert g.hierarchical_alphabetical_sort() == [inner, x, y]
        assert set(dag.task_group.get_task_group_dict()) == {None, "g", "g.inner"}
    """)
    assert len(spec["tasks"]) == 5


def test_a_part_of_a_dag_is_a_dag_of_its_own() -> None:
    with DAG("d", schedule=None) as graph:
        a, z = EmptyOperator(task_id="a"), EmptyOperator(task_id="z")
        with TaskGroup("g"):
            x, y = EmptyOperator(task_id="x"), EmptyOperator(task_id="y")
            with TaskGroup("inner"):
                t = EmptyOperator(task_id="t")
        with TaskGroup("other"):
            EmptyOperator(task_id="o")
        a >> x >> t >> z
        a >> y >> z
    part = graph.partial_subset("t$")
    assert (set(part.task_ids), edges(part)) == ({"a", "g.x", "g.inner.t"}, {"a>g.x", "g.x>g.inner.t"})
    assert (part.partial, graph.partial, set(part.task_group_dict)) == (True, False, {"g", "g.inner"})
    assert part.get_task("g.x").dag is part
    assert part.get_task("g.x").task_group is part.task_group_dict["g"]
    assert [task.task_id for task in part.task_group_dict["g"].iter_tasks()] == ["g.x", "g.inner.t"]
    direct = graph.partial_subset(["z"], include_upstream=False, include_direct_upstream=True)
    assert set(direct.task_ids) == {"g.inner.t", "g.y", "z"}
    below = graph.partial_subset(
        task_ids_or_regex=[x.task_id], include_upstream=False, include_downstream=True
    )
    assert set(below.task_ids) == {"g.x", "g.inner.t", "z"}
    assert (len(graph.tasks), x.dag) == (6, graph)
    assert edges(graph) >= {"a>g.y", "g.y>z", "a>g.x"}
    assert (t.upstream_task_ids, z.upstream_task_ids) == ({"g.x"}, {"g.inner.t", "g.y"})
