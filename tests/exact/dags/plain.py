"""What exact mode is tried on: each DAG is one story."""

from __future__ import annotations

import datetime as dt
import logging
import os
import time

from airflow.exceptions import AirflowFailException, AirflowSkipException
from airflow.providers.standard.operators.bash import BashOperator
from airflow.providers.standard.operators.python import PythonOperator
from airflow.providers.standard.sensors.date_time import DateTimeSensorAsync
from airflow.sdk import DAG, Asset, AssetAlias, BaseHook, Param, Variable, get_current_context, task, task_group
from airflow.sdk.bases.sensor import PokeReturnValue

START = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
log = logging.getLogger(__name__)


with DAG("values", schedule=None, start_date=START, params={"name": Param("ann", type="string")}):

    @task(multiple_outputs=True)
    def made() -> dict[str, object]:
        return {"numbers": [1, 2, 3], "when": dt.datetime(2026, 1, 2, tzinfo=dt.UTC)}

    @task
    def read(numbers: list[int], when: dt.datetime) -> str:
        context = get_current_context()
        ti = context["ti"]
        ti.xcom_push("own", {"a": (1, 2)})
        assert isinstance(when, dt.datetime), when
        return f"{sum(numbers)} {when.date()} {ti.try_number} {context['params']['name']} {context['run_id'][:6]}"

    values = made()
    told = read(values["numbers"], values["when"])
    told >> BashOperator(
        task_id="templates",
        bash_command="echo '{{ dag.dag_id }} {{ ti.task_id }} {{ params.name }} {{ ti.xcom_pull(\"read\") }}'",
    )

with DAG("mapped", schedule=None, start_date=START):

    @task
    def numbers() -> list[int]:
        return [1, 2, 3]

    @task
    def double(n: int, plus: int) -> int:
        return 2 * n + plus

    @task
    def total(values: list[int]) -> int:
        return sum(values)

    @task_group
    def pair(n: int) -> object:
        return double.override(task_id="again")(double.override(task_id="once")(n, 0), 0)

    total(double.partial(plus=1).expand(n=numbers()))
    total.override(task_id="of_groups")(pair.expand(n=[1, 2]))

with DAG("branches", schedule=None, start_date=START):

    @task.branch
    def choose() -> str:
        return "left"

    @task
    def left() -> None:
        raise AirflowSkipException("not today")

    @task
    def right() -> None:
        print("never")

    @task.short_circuit
    def stop() -> bool:
        return False

    @task
    def after() -> None:
        print("never")

    @task(trigger_rule="none_failed")
    def at_last() -> str:
        return "done"

    choose() >> [left(), right()] >> at_last()
    stop() >> after()

with DAG("retried", schedule=None, start_date=START):

    def _fails_once(ti: object) -> int:
        log.warning("try %s", ti.try_number)
        if ti.try_number == 1:
            raise RuntimeError("the first time")
        return ti.try_number

    @task
    def for_good() -> None:
        raise AirflowFailException("no retry helps")

    PythonOperator(task_id="again", python_callable=_fails_once, retries=2, retry_delay=dt.timedelta(0))
    for_good.override(retries=3)()

with DAG("waits", schedule=None, start_date=START):

    @task.sensor(poke_interval=0.2, timeout=60, mode="reschedule")
    def looked_at() -> PokeReturnValue:
        ti = get_current_context()["ti"]
        path = f"/tmp/{os.environ['EXACT_MARK']}-{ti.run_id}".replace(":", "")
        there = os.path.exists(path)
        open(path, "w").close()
        return PokeReturnValue(is_done=there, xcom_value="there")

    until = DateTimeSensorAsync(task_id="deferred", target_time=dt.datetime(2026, 1, 1, tzinfo=dt.UTC))
    looked_at() >> until

with DAG("asks", schedule=None, start_date=START):

    @task
    def connections() -> str:
        found = BaseHook.get_connection("things")
        print("password", found.password)
        return f"{found.host} {found.login} {found.extra_dejson['region']}"

    @task
    def variables() -> str:
        Variable.set("written", "by a task")
        return f"{Variable.get('greeting')} {Variable.get('nothing', default='none')} {Variable.get('written')}"

    @task(trigger_rule="all_done")
    def missing() -> None:
        BaseHook.get_connection("nowhere")

    connections() >> variables() >> missing()

with DAG("killed", schedule=None, start_date=START):

    @task
    def slow() -> None:
        with open(os.environ["EXACT_MARK"], "w") as file:
            file.write(str(os.getpid()))
        time.sleep(600)

    slow()


def _mark(word: str):
    def mark(context: object) -> None:
        with open(os.environ["EXACT_MARK"], "a") as file:
            file.write(f"{word}\n")

    return mark


with DAG("called", schedule=None, start_date=START, on_failure_callback=_mark("of_dag")):
    BashOperator(task_id="good", bash_command="true", on_success_callback=_mark("success"))
    BashOperator(task_id="bad", bash_command="false", on_failure_callback=_mark("failed"))

with DAG("assets", schedule=None, start_date=START):
    things = Asset("s3://things/a")

    @task(outlets=[things])
    def bring(*, outlet_events: object) -> None:
        outlet_events[things].extra = {"rows": 3}

    bring()


with DAG("refused", schedule=None, start_date=START):
    BashOperator(task_id="as_nobody", bash_command="true", run_as_user="nobody", retries=1, retry_delay=dt.timedelta(0))

    @task
    def asks_a_person() -> None:
        from airflow.sdk.execution_time import comms, task_runner

        ti = get_current_context()["ti"]
        task_runner.SUPERVISOR_COMMS.send(comms.GetHITLDetailResponse(ti_id=ti.id))

    asks_a_person()


with DAG("named_assets", schedule=None, start_date=START):
    known, alias = Asset("known", uri="s3://known/1"), AssetAlias("latest")

    @task(outlets=[alias])
    def by_alias(*, outlet_events: object) -> None:
        outlet_events[alias].add(known, extra={"rows": 3})

    @task(outlets=[known])
    def brings() -> None:
        pass

    @task(inlets=[Asset.ref(name="known"), Asset.ref(uri="s3://known/1")])
    def reads(*, inlet_events: object) -> list:
        return [len(inlet_events[Asset.ref(name="known")]), len(inlet_events[Asset.ref(uri="s3://known/1")])]

    @task(inlets=[Asset.ref(name="nobodys")])
    def of_nobody(*, inlet_events: object) -> int:
        return len(inlet_events[Asset.ref(name="nobodys")])

    [by_alias(), brings()] >> reads() >> of_nobody()
