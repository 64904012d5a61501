"""Tasks ask about other runs and DAGs: over the broker, answered by whoever serves the API."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import boto3
import pytest
from apart import Apart
from harness import Cli, Standalone, standalone, wait_until, write_dag
from moto.server import ThreadedMotoServer

LOOKS = """
from datetime import datetime, timedelta
from airflow import DAG
from airflow.decorators import task
from airflow.models import DagRun, TaskInstance
from airflow.operators.empty import EmptyOperator
from airflow.operators.python import PythonOperator
from airflow.operators.trigger_dagrun import TriggerDagRunOperator
from airflow.sensors.external_task import ExternalTaskSensor

def works(dag_run):
    if not dag_run.conf["ok"]:
        raise ValueError("asked to fail")
    return [1]

with DAG("before", schedule=None, start_date=datetime(2024, 1, 1)):
    EmptyOperator(task_id="a") >> PythonOperator(task_id="b", python_callable=works)

def look(ti, dag_run, prev_data_interval_end_success=None, **context):
    found = DagRun.find(dag_id="before", state="success")
    last = dag_run.get_previous_dagrun()
    return {
        "found": [run.run_id for run in found],
        "conf": [run.conf for run in found],
        "by_date": [run.run_id for run in DagRun.find("before", execution_date=datetime(2024, 1, 2))],
        "none": [DagRun.find("before", state="queued"), DagRun.find("nobody")],
        "previous": last and last.run_id,
        "success": [str(prev_data_interval_end_success), str(context["prev_start_date_success"])[:2]],
        "previous_ti": ti.get_previous_ti() and ti.get_previous_ti().state,
        "counts": [
            ti.get_dr_count("before"), ti.get_dr_count("before", states=["failed"]),
            ti.get_ti_count("before", states=["success"]), TaskInstance.get_ti_count("before", run_ids=["r1"]),
        ],
        "states": ti.get_task_states("before", run_ids=["r2"]),
        "state": ti.get_dagrun_state("before", "r2"),
        "own": [dag_run.get_task_instance("look").state, len(dag_run.get_task_instances())],
        "earlier": ti.xcom_pull(task_ids="pushes", include_prior_dates=True, default="none"),
        "other": ti.xcom_pull(task_ids="b", dag_id="before", run_id="r1"),
    }

def push(dag_run):
    return dag_run.conf.get("push")

with DAG("looks", schedule=None, start_date=datetime(2024, 1, 1)):
    PythonOperator(task_id="pushes", python_callable=push) >> PythonOperator(task_id="look", python_callable=look)

with DAG("waits", schedule=None, start_date=datetime(2024, 1, 1)):
    how = {"poke_interval": 0.2, "mode": "reschedule", "timeout": 60, "external_dag_id": "before"}
    ExternalTaskSensor(task_id="run", **how)
    ExternalTaskSensor(task_id="task", external_task_id="b", check_existence=True, **how)
    ExternalTaskSensor(task_id="failed", external_task_id="b", failed_states=["success"], allowed_states=["failed"],
                       **how)

with DAG("triggers", schedule=None, start_date=datetime(2024, 1, 1)):
    one = TriggerDagRunOperator(task_id="one", trigger_dag_id="before", trigger_run_id="made", conf={"ok": True},
                                wait_for_completion=True, poke_interval=0.2)
    taken = TriggerDagRunOperator(task_id="taken", trigger_dag_id="before", trigger_run_id="made")
    skips = TriggerDagRunOperator(task_id="skips", trigger_dag_id="before", trigger_run_id="made",
                                  skip_when_already_exists=True)
    nobody = TriggerDagRunOperator(task_id="nobody", trigger_dag_id="nobody")
    one >> [taken, skips, nobody]
"""

# Without the run that only one of the tests has.
ALONE = LOOKS.replace('ti.get_dagrun_state("before", "r2")', "None")


def ends(api: Any, dag_id: str, run_id: str) -> dict[str, Any]:
    tasks = api.get(f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances")["task_instances"]
    return {task["task_id"]: task["state"] for task in tasks}


def seen(api: Any, run_id: str) -> dict[str, Any]:
    path = f"/dags/looks/dagRuns/{run_id}/taskInstances/look/xcomEntries/return_value"
    value: dict[str, Any] = api.get(path)["value"]
    return value


def test_what_tasks_ask_about_runs_is_answered(tmp_path: Path, dags: Path) -> None:
    write_dag(dags, "looks.py", LOOKS)
    with standalone(tmp_path, dags) as running:
        running.wait_dag("looks")
        for run_id, date, ok in ("r1", "2024-01-01", True), ("r2", "2024-01-02", False), ("r3", "2024-01-03", True):
            running.trigger("before", run_id, logical_date=f"{date}T00:00:00Z", conf={"ok": ok})
            assert running.api.wait_run("before", run_id) == ("success" if ok else "failed")
        run(running, "looks", "first", "2024-01-01", {"push": "pushed"})
        first = seen(running.api, "first")
        assert first == {
            "found": ["r1", "r3"], "conf": [{"ok": True}] * 2, "by_date": ["r2"], "none": [[], []],
            "previous": None, "success": ["None", "No"], "previous_ti": None, "counts": [3, 1, 5, 2],
            "states": {"r2": {"a": "success", "b": "failed"}}, "state": "failed", "own": ["running", 2],
            "earlier": "pushed", "other": [1],
        }  # fmt: skip
        run(running, "looks", "second", "2024-01-02", {})
        second = seen(running.api, "second")
        assert second["previous"] == "first"
        assert second["success"] == ["2024-01-01 00:00:00+00:00", "20"]
        assert (second["previous_ti"], second["earlier"]) == ("success", "pushed")


def run(running: Standalone, dag_id: str, run_id: str, date: str, conf: dict[str, Any]) -> str:
    answer = running.trigger(dag_id, run_id, logical_date=f"{date}T00:00:00Z", conf=conf)
    assert answer.status_code == 200, answer.text
    return running.api.wait_run(dag_id, run_id)


def test_other_dags_are_waited_for_and_triggered(tmp_path: Path, dags: Path) -> None:
    write_dag(dags, "looks.py", LOOKS)
    with standalone(tmp_path, dags) as running:
        running.wait_dag("waits")
        running.trigger("waits", "w", logical_date="2024-01-05T00:00:00Z")

        def is_waiting() -> bool:
            return "up_for_reschedule" in ends(running.api, "waits", "w").values()

        wait_until("a look that found nothing", is_waiting)
        assert run(running, "before", "r5", "2024-01-05", {"ok": True}) == "success"
        assert running.api.wait_run("waits", "w") == "failed"
        assert ends(running.api, "waits", "w") == {"run": "success", "task": "success", "failed": "failed"}
        assert run(running, "triggers", "t", "2024-01-06", {}) == "failed"
        assert ends(running.api, "triggers", "t") == {
            "one": "success", "taken": "failed", "skips": "skipped", "nobody": "failed",
        }  # fmt: skip
        made = running.api.get("/dags/before/dagRuns/made")
        assert (made["state"], made["conf"]) == ("success", {"ok": True})
        assert made["triggering_user_name"] == "task triggers.one"


WIDE = """
import time
from datetime import datetime
from airflow.decorators import dag, task

@dag(schedule=None, start_date=datetime(2024, 1, 1))
def wide():
    @task.short_circuit
    def look(ti=None, run_id=None):
        names = ["look", "last", "nobody"]
        # What is told of its own start may still be under way to whoever answers.
        for _ in range(200):
            states = ti.get_task_states("wide", task_ids=names, run_ids=[run_id])
            if states[run_id]["look"] != "queued":
                break
            time.sleep(0.05)
        ti.xcom_push("seen", [states, ti.get_ti_count("wide", task_ids=names, run_ids=[run_id])])

    @task
    def part(n):
        return n

    @task
    def last():
        return 1

    look() >> part.expand(n=list(range(10_001))) >> last()

wide()
"""


def test_a_few_tasks_are_asked_for_beside_very_many(tmp_path: Path, dags: Path) -> None:
    # One question may be about ten thousand tasks.
    write_dag(dags, "wide.py", WIDE)
    with standalone(tmp_path, dags) as running:
        running.wait_dag("wide")
        assert run(running, "wide", "w", "2024-01-01", {}) == "success"
        seen = running.api.get("/dags/wide/dagRuns/w/taskInstances/look/xcomEntries/seen")["value"]
        assert seen == [{"w": {"look": "running", "last": None}}, 2]


def test_an_executor_that_knows_the_broker_alone_is_answered(tmp_path: Path) -> None:
    with Apart(tmp_path) as apart:
        write_dag(apart.dags, "looks.py", ALONE)
        wait_until("the DAG", lambda: any(it["dag_id"] == "looks" for it in apart.api.get("/dags")["dags"]))
        body = {"logical_date": "2024-01-01T00:00:00Z", "conf": {"ok": True, "push": "x" * 20_000}}
        for dag_id, run_id in ("before", "r1"), ("looks", "first"):
            apart.api.post(f"/dags/{dag_id}/dagRuns", {"dag_run_id": run_id, **body})
            wait_until("its end", lambda it=(dag_id, run_id): apart.api.state(*it) == "success")
        # The service that answers is away for a moment: whoever asks waits for it.
        (ui,) = apart.of("ui")
        body = {"logical_date": "2024-01-02T00:00:00Z", "conf": {}}
        apart.api.post("/dags/looks/dagRuns", {"dag_run_id": "second", **body})
        ui.stop()
        ui.start()
        wait_until("the API's first answer", apart.api.healthy)
        wait_until("its end", lambda: apart.api.state("looks", "second") == "success")
        second = seen(apart.api, "second")
        # A value above the inline limit lies beside the log, and is of a run that is over.
        assert (second["found"], second["previous"], len(second["earlier"])) == (["r1"], "first", 20_000)


def test_dags_test_answers_too(tmp_path: Path) -> None:
    file = write_dag(tmp_path, "looks.py", ALONE)
    done = Cli().run("dags", "test", str(file), "--dag", "looks", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    done = Cli().run("dags", "test", str(file), "--dag", "triggers", "--json")
    assert json.loads(done.stdout)["tasks"]["one"]["state"] == "success", done.stdout


@pytest.fixture
def s3() -> Iterator[Any]:
    """A client of an S3 server of this test's own, with the bucket in it."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    keys = {"aws_access_key_id": "key", "aws_secret_access_key": "other", "region_name": "us-east-1"}
    client = boto3.client("s3", endpoint_url=f"http://{host}:{port}", **keys)
    client.create_bucket(Bucket="ml-data-lake")
    yield client
    server.stop()


def test_sensors_for_ml_runs_unmodified(acceptance: Path, tmp_path: Path, dags: Path, s3: Any) -> None:
    text = (acceptance / "sensors_for_ml.py").read_text()
    write_dag(dags, "sensors_for_ml.py", text)
    extra = json.dumps({"endpoint_url": s3.meta.endpoint_url, "region_name": "us-east-1"})
    uri = f"aws://key:s3cr%2Ft-of-mine@/?__extra__={quote(extra)}"
    env = {"AIRFLOW_CONN_AWS_DEFAULT": uri, "AIRFLOW_CONN_AWS_S3_CONN": uri}
    s3.put_object(Bucket="ml-data-lake", Key="raw/2024-03-01/data.parquet", Body=b"rows")
    dag_id, date = "sensors_for_ml", "2024-03-01"
    with standalone(tmp_path, dags, env=env) as running:
        for name in (dag_id, "feature_engineering_pipeline"):
            running.wait_dag(name)
        assert run(running, "feature_engineering_pipeline", "f", date, {}) == "success"
        assert run(running, dag_id, "r", date, {}) == "success"
        # What waits for a key that is not there gives its slot up, for five minutes.
        running.trigger(dag_id, "later", logical_date="2024-03-02T00:00:00Z")

        def waits() -> bool:
            return ends(running.api, dag_id, "later")["wait_for_raw_data"] == "up_for_reschedule"

        wait_until("a look that found nothing", waits)
        assert running.process.stop() == 0
    assert s3.get_object(Bucket="ml-data-lake", Key=f"done/{date}")["Body"].read() == b"ok"
    said = "".join(path.read_text(errors="replace") for path in tmp_path.rglob("*.log"))
    assert "s3cr/t-of-mine" not in said
