"""`@asset`: the DAG that it makes, what its function is given, and what is refused."""

from __future__ import annotations

import pytest

from conftest import Bench, Folder

SDK = "from airflow.sdk import Asset, asset, task\n"


def test_a_function_is_an_asset_with_a_dag_of_one_task(folder: Folder) -> None:
    spec = folder.spec(
        SDK
        + "@asset(schedule='@daily', uri='s3://b/orders', group='sales', tags=['x'])\n"
        + "def orders(self, context, customers, limit=3):\n    pass\n"
    )
    assert (spec["dag_id"], spec["tags"], spec["catchup"]) == ("orders", ["x"], False)
    (only,) = spec["tasks"]
    assert only["task_id"] == "orders"
    assert only["outlets"] == [{"Asset": {"name": "orders", "uri": "s3://b/orders", "group": "sales"}}]
    assert only["inlets"] == [{"Name": {"name": "customers"}}]


def test_it_is_what_others_are_scheduled_on_and_goes_by_a_task_too(folder: Folder) -> None:
    text = (
        SDK
        + "@asset(schedule=None)\ndef first():\n    pass\n"
        + "@asset(schedule=first, name='renamed', dag_id='other')\n@task\ndef second():\n    pass\n"
        + "@asset.multi(schedule=None, outlets=[Asset('a'), Asset('b')])\ndef both():\n    pass\n"
    )
    (answer,) = folder.parse(folder.write("file.py", text))
    assert answer["errors"] == []
    dags = {dag["dag_id"]: dag for dag in answer["dags"]}
    assert set(dags) == {"first", "other", "both"}
    assert dags["other"]["asset_condition"] == {"One": {"of": {"Asset": {"name": "first", "uri": "first"}}}}
    assert dags["other"]["tasks"][0]["outlets"] == [{"Asset": {"name": "renamed", "uri": "renamed"}}]
    assert [one["Asset"]["name"] for one in dags["both"]["tasks"][0]["outlets"]] == ["a", "b"]


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ("@asset(schedule=None)\ndef f(*args):\n    pass\n", "wildcard '*args'"),
        ("@asset(schedule=None)\ndef f(**rest):\n    pass\n", "wildcard '**rest'"),
        ("@asset(schedule=None)\ndef f(a, /):\n    pass\n", "positional-only argument 'a'"),
        ("@asset()\ndef f():\n    pass\n", "needs `schedule`"),
        ("@asset(schedule=None, colour='red')\ndef f():\n    pass\n", "no argument colour"),
        ("@asset.multi(schedule=None, outlets=[])\ndef f():\n    pass\n", "no outlets provided"),
        ("def outer():\n    @asset(schedule=None)\n    def f():\n        pass\nouter()\n", "nested function"),
        ("@asset(schedule=None)\n@task(outlets=[])\ndef f():\n    pass\n", "with 'outlets'"),
    ],
)
def test_what_is_refused(folder: Folder, said: str, why: str) -> None:
    assert why in folder.error(SDK + said)["message"]


def test_the_function_is_given_its_asset_the_context_and_what_it_reads(bench: Bench) -> None:
    bench.load(
        SDK
        + "@asset(schedule=None, uri='file:///in')\ndef read():\n    pass\n"
        + "@asset(schedule=None, uri='file:///out')\n"
        + "def made(self, context, outlet_events, read, limit=3):\n"
        + "    outlet_events[self].extra['rows'] = limit\n"
        + "    print(self.uri, context['ti'].task_id, read.uri)\n"
    )
    result = bench.run("made", dag_id="made")
    assert result.state == "success", result
    assert "file:///out made file:///in" in result.stdout
