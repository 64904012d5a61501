"""Graphs whose shape Airflow itself was asked about."""

from datetime import datetime

from airflow import DAG
from airflow.decorators import dag, task, task_group
from airflow.models.baseoperator import chain, cross_downstream
from airflow.operators.bash import BashOperator
from airflow.operators.empty import EmptyOperator
from airflow.utils.edgemodifier import Label
from airflow.utils.task_group import TaskGroup

START = datetime(2024, 1, 1)

with DAG("edges", schedule=None, start_date=START) as edges:
    a, b, c, d, e, f, g, h = [EmptyOperator(task_id=name) for name in "abcdefgh"]
    chain(a, [b, c], [d, e], f)
    cross_downstream([a, b], [g, h])
    f >> Label("then") >> [g, h]

with DAG("groups", schedule=None, start_date=START, default_args={"retries": 1, "owner": "me"}) as groups:
    start = EmptyOperator(task_id="start")
    with TaskGroup("one") as one:
        x = BashOperator(task_id="x", bash_command="true", trigger_rule="all_done")
        with TaskGroup("inner"):
            y = EmptyOperator(task_id="y", priority_weight=3)
            z = EmptyOperator(task_id="z", retries=4)
            y >> z
        x >> y
    with TaskGroup("flat", prefix_group_id=False, default_args={"retries": 7}) as flat:
        EmptyOperator(task_id="p")
        EmptyOperator(task_id="q", weight_rule="absolute")
    end = EmptyOperator(task_id="end", weight_rule="upstream")
    start >> one >> flat >> end


@dag(schedule=None, start_date=START)
def flow():
    @task
    def make() -> dict:
        """Makes something."""
        return {"a": 1}

    @task(multiple_outputs=True)
    def use(value, other=None):
        return {"b": value, "c": other}

    @task_group
    def part(value):
        return use(use(value))

    first = make()
    second = use(first["a"], other=[first, {"deep": use.override(task_id="named")(1)}])
    part(second["b"])
    part(make())


flow()
