"""The DAG files that must run unmodified, task by task through a real zygote."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import boto3
import pytest

from conftest import Bench
from fake_supervisor import NOW, FakeSupervisor, parse

FOLDER = os.environ.get("DAGBOK_ACCEPTANCE")
needs_folder = pytest.mark.skipif(not FOLDER, reason="DAGBOK_ACCEPTANCE names the acceptance folder")

# file → operators and edges as (upstream, downstream)
GRAPHS = {
    "recommendation_training_pipeline.py": "ingest_data>validate_data>featurize>train_model>evaluate_model>register_model",
    "recommendation_pipeline.py": "ingest_data>validate_data>featurize>train_model>evaluate_and_register featurize>evaluate_and_register",
    "hyperparameter_sweep.py": " ".join(
        f"prepare_data>train_config_{i}>evaluate_config_{i}" for i in range(3)
    ),
    "artifacts_by_path.py": "train_model>evaluate_model",
}


def edges(spec: dict[str, Any]) -> set[tuple[str, str]]:
    tasks = spec["tasks"]
    return {(tasks[up]["task_id"], task["task_id"]) for task in tasks for up in task.get("upstream", [])}


def said(graph: str) -> set[tuple[str, str]]:
    chains = [chain.split(">") for chain in graph.split()]
    return {pair for chain in chains for pair in zip(chain, chain[1:], strict=False)}


@needs_folder
@pytest.mark.parametrize("file", sorted(GRAPHS))
def test_a_file_parses_and_runs(file: str, tmp_path: Path, supervisor: FakeSupervisor) -> None:
    folder = Path(str(FOLDER))
    (answer,) = parse(folder, file)
    assert answer["errors"] == []
    (spec,) = answer["dags"]
    assert edges(spec) == said(GRAPHS[file])
    env = {"ML_STORE": str(tmp_path / "store"), "ML_ARTIFACTS": str(tmp_path / "artifacts")}
    control, ready = supervisor.load(folder, file, env)
    assert ready["type"] == "Ready"
    assert ready["fork_safe"]
    for task in spec["tasks"]:
        result = supervisor.run(control, folder, spec["dag_id"], task["task_id"])
        assert result.state == "success", (task["task_id"], result)
        assert result.exited["exit_code"] == 0
    if file == "recommendation_training_pipeline.py":
        report = supervisor.xcoms[spec["dag_id"], "manual__1", "evaluate_model", "eval_report"]
        assert report["accuracy"] > 0.82
        assert (tmp_path / "store" / "model-2024-03-01.json").is_file()
    if file == "recommendation_pipeline.py":
        # `-> dict` means that every key is an XCom too.
        accuracy = supervisor.xcoms[spec["dag_id"], "manual__1", "train_model", "accuracy"]
        assert accuracy > 0.82


@needs_folder
def test_the_sensors_wait_for_a_key_and_a_run_and_the_result_is_uploaded(
    supervisor: FakeSupervisor, s3: Any
) -> None:
    folder, dag = Path(str(FOLDER)), "sensors_for_ml"
    (answer,) = parse(folder, f"{dag}.py")
    assert [one["dag_id"] for one in answer["dags"]] == [dag, "feature_engineering_pipeline"]
    assert answer["errors"] == []
    endpoint = s3.meta.endpoint_url
    extra = json.dumps({"endpoint_url": endpoint, "region_name": "us-east-1"})
    uri = f"aws://key:s3cr%2Ft-of-mine@/?__extra__={quote(extra)}"
    env = {"AIRFLOW_CONN_AWS_DEFAULT": uri, "AIRFLOW_CONN_AWS_S3_CONN": uri}
    control, ready = supervisor.load(folder, f"{dag}.py", env)
    assert ready["type"] == "Ready", ready
    began = datetime.now(UTC)
    result = supervisor.run(control, folder, dag, "wait_for_raw_data", first_started_at=began)
    (again,) = result.of("RescheduleTask")
    assert timedelta(seconds=290) < again["reschedule_date"] - again["end_date"] < timedelta(seconds=310)
    s3.put_object(Bucket="ml-data-lake", Key="raw/2024-03-01/data.parquet", Body=b"rows")
    assert supervisor.run(control, folder, dag, "wait_for_raw_data").state == "success"
    for state, words in ("running", "RescheduleTask"), ("success", "SucceedTask"):
        run = {"dag_id": "feature_engineering_pipeline", "run_id": "r", "run_type": "manual", "state": state}
        supervisor.answers["FindDagRuns"] = {"dag_runs": [run]}
        result = supervisor.run(control, folder, dag, "wait_for_feature_pipeline", first_started_at=began)
        assert len(result.of(words)) == 1, result.of("TaskError")
        (asked,) = result.of("FindDagRuns")
        assert asked["logical_dates"] == [NOW]
    result = supervisor.run(control, folder, dag, "upload_to_s3")
    assert result.state == "success", result
    assert s3.get_object(Bucket="ml-data-lake", Key="done/2024-03-01")["Body"].read() == b"ok"
    assert "s3cr/t-of-mine" not in str(result.logs) + result.stdout + result.stderr


@pytest.fixture
def s3() -> Iterator[Any]:
    """A client of an S3 server of this test's own, with the bucket in it."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    client = boto3.client(
        "s3",
        endpoint_url=f"http://{host}:{port}",
        region_name="us-east-1",
        aws_access_key_id="key",
        aws_secret_access_key="other",
    )
    client.create_bucket(Bucket="ml-data-lake")
    yield client
    server.stop()


KEYS = """
from airflow.sensors.s3_key_sensor import S3KeySensor
with DAG("d", schedule=None):
    for name, how in {
        "plain": {"bucket_key": "raw/a.csv", "bucket_name": "ml-data-lake"},
        "missing": {"bucket_key": ["s3://ml-data-lake/raw/a.csv", "s3://ml-data-lake/raw/b.csv"]},
        "wild": {"bucket_key": "raw/*.csv", "bucket_name": "ml-data-lake", "wildcard_match": True},
        "regex": {"bucket_key": "raw/[a-c]", "bucket_name": "ml-data-lake", "use_regex": True},
        "large": {"bucket_key": "s3://ml-data-lake/raw/a.csv", "check_fn": lambda files: files[0]["Size"] > 9},
        "small": {"bucket_key": "s3://ml-data-lake/raw/a.csv", "check_fn": lambda files: files[0]["Size"] == 4},
    }.items():
        S3KeySensor(task_id=name, timeout=0, **how)
"""


def test_keys_are_waited_for_in_each_way(bench: Bench, s3: Any) -> None:
    s3.put_object(Bucket="ml-data-lake", Key="raw/a.csv", Body=b"rows")
    extra = json.dumps({"endpoint_url": s3.meta.endpoint_url, "region_name": "us-east-1"})
    bench.supervisor.connections["aws_default"] = {"login": "key", "password": "other", "extra": extra}
    bench.load(KEYS)
    names = ("plain", "missing", "wild", "regex", "large", "small")
    ends = {name: bench.run(name).state for name in names}
    assert ends == {name: "failed" if name in {"missing", "large"} else "success" for name in names}
