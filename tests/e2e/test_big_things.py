"""What is large lies on an object store: XComs, code, logs of tasks. Looked at from outside with boto3."""

import hashlib
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import boto3
import httpx
import pytest
from apart import Apart
from harness import Cli, Standalone, free_port, standalone, wait_until, write_dag
from moto.server import ThreadedMotoServer

DAG = """
import hashlib
from datetime import datetime

from airflow.decorators import dag, task


@dag(schedule=None, start_date=datetime(2026, 1, 1), catchup=False)
def big():
    @task
    def makes(dag_run=None):
        for line in range(2_000):
            print(f"line {line} of {dag_run.run_id}", flush=line % 100 == 0)
        return dag_run.run_id + "x" * 5_000_000

    @task
    def takes(value):
        return [len(value), hashlib.sha256(value.encode()).hexdigest()]

    takes(makes())


big()
"""

KEYS = {"aws_access_key_id": "AKIDEXAMPLE", "aws_secret_access_key": "wJalr/K7+x=", "region_name": "eu-north-1"}
SOON = {"DAGBOK__BLOBS__MOVE_AFTER": "1s", "DAGBOK__RETENTION__EVERY": "1s"}


class Bucket:
    """A bucket of moto's, on a port of its own; what it holds outlives the server."""

    def __init__(self) -> None:
        """Starts the server and makes the bucket."""
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.server = self.start()
        self.s3 = boto3.client("s3", endpoint_url=self.url, **KEYS)
        place = {"LocationConstraint": KEYS["region_name"]}
        self.s3.create_bucket(Bucket="big", CreateBucketConfiguration=place)

    def start(self) -> ThreadedMotoServer:
        """The server, on its port."""
        self.server = ThreadedMotoServer(ip_address="127.0.0.1", port=self.port, verbose=False)
        self.server.start()
        return self.server

    def env(self, prefix: str) -> dict[str, str]:
        """What services are told of it by Dagbok's own settings."""
        return {
            "DAGBOK__BLOBS__URL": f"s3://big/{prefix}",
            "DAGBOK__BLOBS__ENDPOINT": self.url,
            "AWS_REGION": KEYS["region_name"],
            "AWS_ACCESS_KEY_ID": KEYS["aws_access_key_id"],
            "AWS_SECRET_ACCESS_KEY": KEYS["aws_secret_access_key"],
        }

    def airflows_env(self, prefix: str) -> dict[str, str]:
        """The same by Airflow's."""
        extra = {"endpoint_url": self.url, "region_name": KEYS["region_name"]}
        login, word = KEYS["aws_access_key_id"], KEYS["aws_secret_access_key"]
        connection = {"conn_type": "aws", "login": login, "password": word, "extra": extra}
        return {
            "AIRFLOW__LOGGING__REMOTE_LOGGING": "True",
            "AIRFLOW__LOGGING__REMOTE_BASE_LOG_FOLDER": f"s3://big/{prefix}",
            "AIRFLOW__LOGGING__REMOTE_LOG_CONN_ID": "my_s3",
            "AIRFLOW__LOGGING__DELETE_LOCAL_LOGS": "True",
            "AIRFLOW_CONN_MY_S3": json.dumps(connection),
        }

    def objects(self, prefix: str) -> dict[str, int]:
        """Blobs there, each with its size."""
        pages = self.s3.get_paginator("list_objects_v2").paginate(Bucket="big", Prefix=f"{prefix}/default/")
        found = [it for page in pages for it in page.get("Contents", [])]
        return {it["Key"].rsplit("/", 1)[1]: it["Size"] for it in found if not it["Key"].endswith("/owner")}

    def age(self, prefix: str) -> float:
        """Seconds since anything was put there."""
        found = self.s3.list_objects_v2(Bucket="big", Prefix=f"{prefix}/default/")["Contents"]
        return (datetime.now(UTC) - max(it["LastModified"] for it in found)).total_seconds()

    def read(self, prefix: str, digest: str) -> bytes:
        """One blob."""
        key = f"{prefix}/default/{digest[:2]}/{digest}"
        body: bytes = self.s3.get_object(Bucket="big", Key=key)["Body"].read()
        return body


@pytest.fixture(scope="module")
def bucket() -> Iterator[Bucket]:
    """One for all tests of this file, each below a prefix of its own."""
    it = Bucket()
    yield it
    it.server.stop()


def run(it: Standalone | Apart, run_id: str) -> None:
    assert it.api.post("/dags/big/dagRuns", {"dag_run_id": run_id, "logical_date": None}).status_code == 200
    assert it.api.wait_run("big", run_id, 60.0) == "success"


def xcom(it: Standalone | Apart, run_id: str, task: str) -> Any:
    path = f"/dags/big/dagRuns/{run_id}/taskInstances/{task}/xcomEntries/return_value"
    return it.api.get(path, deserialize="true")["value"]


def digest_of_log(it: Standalone | Apart, run_id: str) -> str:
    path = f"/dags/big/dagRuns/{run_id}/taskInstances/makes/tries/1"
    found: str = it.api.get(path)["dagbok"]["log"]["digest"]
    return found


def check_log(it: Standalone | Apart, run_id: str) -> None:
    """All of it, a stretch of it, and what is sought in it."""
    said = [line["event"] for line in it.cli.lines("tasks", "logs", "big", run_id, "makes", "--try", "1")]
    lines = [f"line {n} of {run_id}" for n in range(2_000)]
    assert [line for line in said if line.startswith("line ")] == lines
    path = f"/dagbok/ui/logs/big/{run_id}/makes/1"
    around = it.api.get(path, line=700)
    assert any(line["m"] == lines[700] for line in around["lines"])
    later = it.api.get(path, **{"from": around["to"]})
    assert later["from"] == around["to"]
    assert later["lines"]
    sought = it.api.get(path, grep="LINE 777 OF")
    assert [line["m"] for line in sought["lines"]] == [lines[777]]


def check_value(it: Standalone | Apart, run_id: str) -> None:
    value = run_id + "x" * 5_000_000
    assert xcom(it, run_id, "takes") == [len(value), hashlib.sha256(value.encode()).hexdigest()]
    assert xcom(it, run_id, "makes") == value


def near(it: Standalone) -> list[Path]:
    return [file for file in (it.home / "blobs").glob("??/*") if file.parent.name != "new"]


def left(it: Standalone) -> list[Path]:
    """What is still to move: code stays near, for executors that others wrote."""
    code = it.api.get("/dags/big")["bundle_version"]
    return [file for file in near(it) if file.parent.name + file.name != code]


@contextmanager
def installed(tmp_path: Path, dags: Path, env: dict[str, str]) -> Iterator[Standalone]:
    write_dag(dags, "big.py", DAG)
    with standalone(tmp_path, dags, env=env) as it:
        it.wait_dag("big")
        # Until then everything is kept near.
        place = it.home / "blobs.place"
        wait_until("the place is claimed", lambda: place.exists() and '"is_made":true' in place.read_text())
        yield it


def test_a_value_goes_there_at_once_and_a_log_once_it_is_old(bucket: Bucket, tmp_path: Path, dags: Path) -> None:
    with installed(tmp_path, dags, {**bucket.env("one"), "DAGBOK__RETENTION__EVERY": "1s"}) as it:
        run(it, "r1")
        kept, log = bucket.objects("one"), digest_of_log(it, "r1")
        assert [size for size in kept.values() if size > 5_000_000], "the value is there"
        assert log not in kept, "the log is new"
        it.process.stop()
        it.process.env.update(SOON)
        it.process.start()
        it.wait_ready()
        wait_until("all has moved", lambda: not left(it))
        kept = bucket.objects("one")
        assert log in kept
        for digest, size in kept.items():
            body = bucket.read("one", digest)
            assert (len(body), hashlib.sha256(body).hexdigest()) == (size, digest)
        shutil.rmtree(it.home / "executor")
        check_log(it, "r1")
        check_value(it, "r1")
        # A home that is only read finds it there too.
        it.process.stop()
        env = {**it.process.env, "DAGBOK_HOME": str(it.home)}
        cli = Cli(["--home", str(it.home)], env)
        lines = cli.lines("tasks", "logs", "big", "r1", "makes", "--try", "1")
        assert any(line["event"] == "line 1999 of r1" for line in lines)
        # What moved is neither in a backup nor missing from it.
        assert "are not in it" in cli.ok("backup", str(tmp_path / "backup"))
        assert "it is whole" in cli.ok("backup", "verify", str(tmp_path / "backup"))
        empty = Cli(cli.args, env | bucket.env("elsewhere")).run("backup", "verify", str(tmp_path / "backup"))
        assert empty.returncode == 9
        assert "are not in it, and were gone before" in empty.stdout


def test_by_airflows_settings_over_a_broker(bucket: Bucket, tmp_path: Path) -> None:
    it = Apart(tmp_path)
    for service in it.services.values():
        service.env.update(bucket.airflows_env("two") | {"DAGBOK__RETENTION__EVERY": "1s"})
    with it:
        write_dag(it.dags, "big.py", DAG)
        wait_until("the DAG", lambda: it.api.get("/dags/big"))
        run(it, "r1")
        log = digest_of_log(it, "r1")
        wait_until("the log has moved", lambda: log in bucket.objects("two"))
        # Nothing of the machine that ran it is left.
        for executor in it.of("executor"):
            executor.stop()
            shutil.rmtree(tmp_path / executor.name)
        check_log(it, "r1")
        check_value(it, "r1")
        for executor in it.of("executor"):
            executor.start()
        run(it, "r2")
        check_value(it, "r2")


def test_a_store_that_is_away_holds_up_no_task_and_loses_nothing(bucket: Bucket, tmp_path: Path, dags: Path) -> None:
    with installed(tmp_path, dags, bucket.env("three") | SOON) as it:
        run(it, "r1")
        wait_until("all has moved", lambda: not left(it))
        bucket.server.stop()
        try:
            run(it, "r2")
            check_log(it, "r2")
            answer = httpx.get(f"{it.api.url}/api/v2/dagbok/ui/logs/big/r1/makes/1", timeout=30.0)
            assert answer.status_code == 503, "it is away, not gone"
            assert "can't be reached" in answer.text, answer.text
        finally:
            bucket.start()
        wait_until("what stayed has moved", lambda: not left(it))
        for name in ("r1", "r2"):
            check_log(it, name)
            check_value(it, name)


def test_what_nothing_names_goes_from_there_and_nothing_else(bucket: Bucket, tmp_path: Path, dags: Path) -> None:
    env = bucket.env("four") | SOON | {"DAGBOK__RETENTION__BLOBS": "1s"}
    with installed(tmp_path, dags, env) as it:
        run(it, "r1")
        run(it, "r2")
        log, other = digest_of_log(it, "r1"), digest_of_log(it, "r2")
        wait_until("all has moved", lambda: not left(it))
        assert {log, other} <= set(bucket.objects("four"))
        # What has moved just now is young, and the next sweep by itself is a day away.
        wait_until("all is old", lambda: bucket.age("four") > 4.0)
        it.cli.ok("prune", "--keep-runs", "1", "--yes")
        wait_until("the log is gone", lambda: log not in bucket.objects("four"))
        big = [size for size in bucket.objects("four").values() if size > 5_000_000]
        assert len(big) == 1, "the value of the other run"
        check_log(it, "r2")
        check_value(it, "r2")


def test_the_doctor_says_what_is_wrong_and_a_place_is_of_one_log(bucket: Bucket, tmp_path: Path, dags: Path) -> None:
    env = bucket.env("five")

    def doctor(env: dict[str, str], *args: str) -> dict[str, Any]:
        done = Cli(["--home", str(tmp_path / "home")], env).run("doctor", *args, "--json")
        findings: list[dict[str, Any]] = json.loads(done.stdout)["findings"]
        return next(it for it in findings if it["check"] == "blobs")

    assert doctor(env)["status"] == "ok"
    assert bucket.s3.list_objects_v2(Bucket="big", Prefix="five/").get("KeyCount") == 0, "it only reads"
    found = doctor(env, "--write")
    assert found["status"] == "ok"
    assert "put, read and deleted" in found["message"]
    found = doctor(env | {"DAGBOK__BLOBS__URL": "s3://nowhere"})
    assert found["status"] == "error"
    assert "no such bucket" in found["message"]
    found = doctor(env | {"DAGBOK__BLOBS__ENDPOINT": f"http://127.0.0.1:{free_port()}"})
    assert found["status"] == "error"
    assert "can't be reached" in found["message"]

    found = doctor(env | {"DAGBOK__BLOBS__URL": "wasb://logs"})
    assert found["status"] == "error"
    assert "az://container/prefix" in found["message"]

    with installed(tmp_path, dags, env) as it:
        run(it, "r1")
    (tmp_path / "second").mkdir()
    second = Standalone(tmp_path / "second", dags, env=env)
    second.process.start()
    # Though its log has no name yet: that is known by its first record.
    assert second.process.ends() == 8
    assert "DBK0039" in second.process.log.read_text()
